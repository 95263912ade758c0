"""Give every symbolic dimension of the inputs a fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.errors import ConfigError, NodeIssue, UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.model.draft import Draft

BATCH_SYMBOLS = frozenset({"n", "b", "bs", "batch", "batch_size", "batchsize", "batch_dim", "none", "?"})
"""Symbols that mean the batch when they name an input's first dimension, in lower case."""


def fix(draft: Draft, sizes: Mapping[str, int]) -> None:
    """Write sizes in place of symbols: those given, and 1 for a batch.

    A first dimension without a name, or whose symbol is a usual word for batch or stands in first place only, is the
    batch. An unnamed dimension elsewhere goes by `INPUT.AXIS`. Raises UnsupportedModel that names every dimension
    left open, ConfigError for sizes below 1 and names that the model does not have.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"dimension {name!r} cannot be {size}", hint=f"--dim {name}=1, or any larger number")
    elsewhere = {
        dimension.dim_param
        for kind in draft.inputs.values()
        for dimension in kind.tensor_type.shape.dim[1:]
        if dimension.dim_param
    }
    known = set()
    issues = []
    for name, kind in draft.inputs.items():
        for axis, dimension in enumerate(kind.tensor_type.shape.dim):
            if dimension.HasField("dim_value") and dimension.dim_value > 0:
                continue
            names = {dimension.dim_param, f"{name}.{axis}"} - {""}
            known |= names
            symbol = dimension.dim_param or f"{name}.{axis}"
            given = names & sizes.keys()
            is_batch = axis == 0 and (symbol not in elsewhere or symbol.lower() in BATCH_SYMBOLS)
            if given:
                dimension.dim_value = sizes[min(given)]
            elif is_batch or symbol.lower() in BATCH_SYMBOLS:
                dimension.dim_value = 1
            else:
                issues.append(
                    NodeIssue(
                        name, "input", f"dimension {axis} ({symbol}) has no fixed size", f"--dim {symbol}=NUMBER"
                    )
                )
    unknown = sorted(sizes.keys() - known)
    if unknown:
        open_ones = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"the model has no open dimension {unknown[0]!r}", hint=f"its open dimensions: {open_ones}")
    if issues:
        raise UnsupportedModel(
            "some dimensions of the inputs are open",
            issues=issues,
            hint="give each a size: " + " ".join(str(item.mend) for item in issues),
        )
