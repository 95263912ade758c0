"""Refuse, before onnx's C++ code sees them, nodes that are known to make it hang or read outside its memory.

A list cannot be complete: models of strangers are to be loaded in a process of their own, as the pipeline does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from balance_core.errors import ConfigError
from balance_core.model.graph import domain, label, operator, printable
from balance_core.model.ml import attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import NodeProto

MOST_AXES = 64
"""Most axes that any tensor has: numpy's own limit."""

_EQUATION = re.compile(rb"[A-Za-z., ]*(-> *[A-Za-z. ]*)?")


def check(node: NodeProto, ranks: Sequence[int | None]) -> None:
    """Raise ConfigError for an Einsum that is no equation, and an axis that no tensor has.

    `ranks` holds the number of axes of each input where it is known.
    """
    given = attributes(node)
    if node.op_type == "Einsum" and not _EQUATION.fullmatch(given.get("equation", b"")):
        raise ConfigError(f"node {label(node)!r} [Einsum] has no equation of letters, commas and an arrow")
    limit = MOST_AXES
    if node.op_type in _STRICT and not domain(node.domain) and ranks and ranks[0] is not None:
        limit = max(ranks[0], 1)
    for name, value in given.items():
        if name not in _AXES:
            continue
        axes = value if isinstance(value, list) else [value]
        if any(not isinstance(axis, int) or not -limit <= axis < limit for axis in axes):
            raise ConfigError(f"node {label(node)!r} [{printable(operator(node))}] has no {name} {str(value)[:40]}")


_AXES = frozenset({"axes", "axis", "batch_axis", "batch_dims", "concat_axis", "perm", "seq_axis", "time_axis"})
"""Attributes that number axes."""
_STRICT = frozenset({"LayerNormalization", "RMSNormalization"})
"""Operators whose inference looks up the axis without asking whether the input has it."""
