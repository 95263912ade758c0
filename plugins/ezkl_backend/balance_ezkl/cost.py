"""What a circuit costs to prove: columns and rows from its layout, seconds and bytes by a fitted model."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING

from balance_ezkl.key import MAX_LOGROWS, MAX_TABLE_COLUMNS, MIN_LOGROWS

if TYPE_CHECKING:
    from balance_ezkl.circuit import Arguments, Layout

RESERVED_ROWS = 10
"""Rows of each column that ezkl keeps for blinding."""


@dataclass(frozen=True)
class Shape:
    """What proving time depends on."""

    logrows: int
    advice: int
    """Columns of witness."""
    lookups: int
    """Lookup arguments: tables and range checks, once for each column that they are used in."""
    fixed: int
    """Columns of constants and tables."""


def least_logrows(layout: Layout) -> int:
    """Return the k at which the computation takes one block of columns."""
    return max(MIN_LOGROWS, ceil(log2(max(layout.rows, 1) + RESERVED_ROWS)))


def shape(layout: Layout, arguments: Arguments) -> Shape | None:
    """Return the shape of a circuit, or None where ezkl could not build it at this k."""
    settings, inner = layout.settings, arguments.inner
    usable = (1 << arguments.logrows) - RESERVED_ROWS
    blocks = layout.cells // (usable * inner) + 1
    if not MIN_LOGROWS <= arguments.logrows <= MAX_LOGROWS:
        return None
    instances = sum(_size(dims) for dims in settings["model_instance_shapes"])
    if instances > usable or arguments.base > usable * MAX_TABLE_COLUMNS:
        return None
    spread = ceil(arguments.base / usable)
    low, high = arguments.lookup_range
    tables = ceil((high - low) / usable)
    dynamic = 3 * ceil((settings["total_dynamic_col_size"] + settings["total_shuffle_col_size"]) / usable)
    arguments_of_lookups = layout.lookups * tables + len(settings["required_range_checks"]) - 1 + spread
    extra = (settings["num_dynamic_lookups"] > 0) + (settings["num_shuffles"] > 0)
    return Shape(
        logrows=arguments.logrows,
        advice=3 * blocks * inner + dynamic,
        lookups=blocks * inner * (arguments_of_lookups + extra * dynamic // 3),
        fixed=ceil(settings["total_const_size"] / usable) + layout.lookups * 2 * tables + 2 + spread,
    )


def price(circuit: Shape | None) -> float | None:
    """Return seconds of proving by the fitted model; None for a circuit that cannot be built."""
    if circuit is None:
        return None
    return 1e-6 * (1 << circuit.logrows) * (10 + 2 * circuit.advice + 4 * circuit.lookups)


def _size(dims: list[int]) -> int:
    size = 1
    for extent in dims:
        size *= extent
    return size
