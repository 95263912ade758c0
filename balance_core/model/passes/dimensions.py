"""Give every symbolic dimension of the inputs a fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.errors import ConfigError, NodeIssue, UnsupportedModel
from balance_core.model.graph import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.model.draft import Draft

BATCH_SYMBOLS = frozenset({"n", "b", "bs", "batch", "batch_size", "batchsize", "batch_dim", "none", "?"})
"""Symbols that mean the batch when they name an input's first dimension, in lower case."""


def fix(draft: Draft, sizes: Mapping[str, int]) -> None:
    """Write sizes in place of symbols: those given, and 1 for the batch.

    The batch is what a usual word for it names; where no word does, it is every open first dimension. An unnamed
    dimension goes by `INPUT.AXIS`. Raises UnsupportedModel that names every other dimension left open, ConfigError
    for sizes below 1 and for names that the model does not have.
    """
    open_ones = [
        (name, axis, dimension)
        for name, kind in draft.inputs.items()
        for axis, dimension in enumerate(kind.tensor_type.shape.dim)
        if dimension.dim_value < 1
    ]
    says_batch = any(dimension.dim_param.lower() in BATCH_SYMBOLS for _, _, dimension in open_ones)
    known = set()
    issues = []
    for name, axis, dimension in open_ones:
        symbol = dimension.dim_param or f"{name}.{axis}"
        known.add(symbol)
        is_batch = symbol.lower() in BATCH_SYMBOLS or (axis == 0 and not (says_batch and dimension.dim_param))
        if symbol in sizes:
            dimension.dim_value = _positive(symbol, sizes[symbol])
        elif is_batch:
            dimension.dim_value = 1
        else:
            reason = f"its dimension {axis} ({printable(symbol)}) has no fixed size"
            issues.append(NodeIssue(printable(name), "input", reason, f"--dim {printable(symbol)}=NUMBER"))
    unknown = sorted(sizes.keys() - known)
    if unknown:
        names = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"the model has no open dimension {unknown[0]!r}", hint=f"its open dimensions: {names}")
    if issues:
        hint = "give each a size: " + " ".join(sorted({str(item.mend) for item in issues}))
        raise UnsupportedModel("some dimensions of the inputs are open", issues=issues, hint=hint)


def _positive(symbol: str, size: int) -> int:
    if not 0 < size < 2**31:
        raise ConfigError(f"dimension {symbol!r} cannot be {size}", hint=f"--dim {symbol}=1, or a larger number")
    return size
