"""Samples as files: the arrays that go in and the float model's answers, in one .npz that holds no pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.contracts import Samples

if TYPE_CHECKING:
    from pathlib import Path

_INPUT = "inputs/"
_OUTPUT = "outputs/"


def write_samples(path: Path, samples: Samples) -> None:
    """Write samples; equal samples give equal bytes."""
    import numpy as np

    named = {_INPUT + name: array for name, array in samples.inputs.items()}
    named |= {_OUTPUT + name: array for name, array in samples.outputs.items()}
    np.savez(path, **named)  # type: ignore[arg-type]


def read_samples(path: Path) -> Samples:
    """Read what `write_samples` wrote."""
    import numpy as np

    with np.load(path, allow_pickle=False) as stored:
        return Samples(
            {name.removeprefix(_INPUT): stored[name] for name in stored.files if name.startswith(_INPUT)},
            {name.removeprefix(_OUTPUT): stored[name] for name in stored.files if name.startswith(_OUTPUT)},
        )
