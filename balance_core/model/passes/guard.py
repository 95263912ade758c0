"""Refuse, before onnx's C++ code sees them, nodes that are known to make it hang or read outside its memory.

A list cannot be complete: models of strangers are to be loaded in a process of their own, as the pipeline does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onnx import IR_VERSION, checker

from balance_core.errors import ConfigError
from balance_core.model.graph import domain, label, operator, printable
from balance_core.model.ml import attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import NodeProto

MOST_AXES = 64
"""Most axes that any tensor has: numpy's own limit."""

_AXES = frozenset({"axes", "axis", "batch_axis", "batch_dims", "concat_axis", "perm", "seq_axis", "time_axis"})
"""Attributes that number axes."""
_STRICT = frozenset({"LayerNormalization", "RMSNormalization"})
"""Operators whose inference looks up the axis without asking whether the input has it."""
_EQUATION = re.compile(rb"[A-Za-z., ]*(-> *[A-Za-z. ]*)?")


class Guard:
    """The checks that a node passes before its types are inferred."""

    def __init__(self, versions: Mapping[str, int]) -> None:
        self._context = checker.C.CheckerContext()
        self._context.ir_version, self._context.opset_imports = IR_VERSION, dict(versions)

    def check(self, node: NodeProto, rank: int | None) -> None:
        """Raise ConfigError for other inputs and attributes than are defined, and axes or equations that cannot be.

        `rank` is the number of axes of the first input, where it is known.
        """
        try:
            checker.check_node(node, self._context)
        except checker.ValidationError as error:
            raise _invalid(node, str(error).splitlines()[0]) from error
        given = attributes(node)
        if node.op_type == "Einsum" and not _EQUATION.fullmatch(given.get("equation", b"")):
            raise _invalid(node, "it has no equation of letters, commas and an arrow")
        strict = node.op_type in _STRICT and not domain(node.domain) and rank is not None
        limit = max(rank or 0, 1) if strict else MOST_AXES
        for name in _AXES & given.keys():
            axes = given[name] if isinstance(given[name], list) else [given[name]]
            if any(not isinstance(axis, int) or not -limit <= axis < limit for axis in axes):
                raise _invalid(node, f"its {name} cannot be {str(given[name])[:40]}")


def _invalid(node: NodeProto, reason: str) -> ConfigError:
    return ConfigError(f"node {label(node)!r} [{printable(operator(node))}] is not valid: {printable(reason)}")
