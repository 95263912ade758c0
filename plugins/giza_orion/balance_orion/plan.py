"""What proving needs of a program beside its words, as one file: the plan of the witness."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError
from balance_orion.emitter import Source
from balance_orion.program import Program

if TYPE_CHECKING:
    from pathlib import Path


def to_bytes(program: Program) -> bytes:
    """Return the plan of a program; its words are published apart."""
    head = {
        "main": program.main,
        "data": program.data,
        "inputs": program.inputs,
        "outputs": program.outputs,
        "sources": [[source.node, source.name, list(source.parameters)] for source in program.sources],
    }
    target = io.BytesIO()
    np.savez_compressed(
        target,
        head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8),
        check_sources=program.check_sources.astype(np.int32),
        check_elements=program.check_elements.astype(np.int32),
    )
    return target.getvalue()


def read(path: Path) -> Program:
    """Read a plan as a program without words and layers; raises ConfigError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            empty = Program((), head["main"], head["data"], (), np.zeros(0), np.zeros(0), 0, 0, (), {})
            return replace(
                empty,
                inputs=head["inputs"],
                outputs=head["outputs"],
                sources=tuple(Source(node, name, tuple(parameters)) for node, name, parameters in head["sources"]),
                check_sources=arrays["check_sources"],
                check_elements=arrays["check_elements"],
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "the circuit's witness plan cannot be read", hint="set the model up again in this workspace"
        ) from error
