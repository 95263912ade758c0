"""What a circuit costs: columns from its layout, seconds and bytes from them by a fitted model.

The coefficients are least squares over 27 circuits of 2^7 to 2^17 rows (multilayer perceptrons, a convolutional
network, max pooling, softmax) made and proven with ezkl 23.0.5 on two busy cores; above 2^12 rows no time was off by
more than a quarter, and hardly a peak of memory by more than a tenth.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import TYPE_CHECKING

from balance_ezkl.key import MAX_LOGROWS, MAX_TABLE_COLUMNS, MIN_LOGROWS

if TYPE_CHECKING:
    from balance_ezkl.circuit import Arguments, Layout

RESERVED_ROWS = 10
"""Rows of each column that ezkl keeps for blinding."""
PARALLEL_SHARE = 0.87
"""Share of the work that more threads divide (Amdahl), from wall and CPU seconds on two cores."""
EXTRA_BLOCK = 0.08
"""How much dearer each further block of columns is rated than its time alone: proofs and keys grow with it."""


@dataclass(frozen=True)
class Shape:
    """What costs depend on: rows, columns, and whether a gate's degree doubles the domain of the quotient."""

    rows: int
    blocks: int
    advice: int
    lookups: int
    wide: bool

    def linear(self, advice: float, lookups: float, wide: float, base: float) -> float:
        """Return a cost that is so much for each row and column."""
        each = advice * self.advice + lookups * self.lookups + wide * self.wide * (self.advice + self.lookups) + base
        return each * self.rows

    @property
    def prove_cpu_seconds(self) -> float:
        """CPU time of proving."""
        return 1e-6 * self.linear(18.5, 19.1, 6.4, 47.8)

    @property
    def setup_cpu_seconds(self) -> float:
        """CPU time of making the keys."""
        return 1e-6 * self.linear(15.1, 8.2, 3.9, 46.7)

    @property
    def memory_bytes(self) -> int:
        """Peak of proving, which is above that of the setup."""
        return int(70 * 2**20 + self.linear(425, 926, 568, 3023))

    @property
    def price(self) -> float:
        """What the search compares."""
        return self.prove_cpu_seconds * (1 + EXTRA_BLOCK * (self.blocks - 1))


def least_logrows(layout: Layout) -> int:
    """Return the k at which the computation takes one block of columns."""
    return max(MIN_LOGROWS, ceil(log2(max(layout.rows, 1) + RESERVED_ROWS)))


def shape(layout: Layout, arguments: Arguments) -> Shape | None:
    """Return the shape of a circuit, or None where ezkl could not build it at this k."""
    if not MIN_LOGROWS <= arguments.logrows <= MAX_LOGROWS:
        return None
    settings, inner, rows = layout.settings, arguments.inner, 1 << arguments.logrows
    usable = rows - RESERVED_ROWS
    instances = sum(map(prod, settings["model_instance_shapes"]))
    low, high = arguments.lookup_range
    tables, digits = ceil((high - low + 1) / usable), ceil(arguments.base / usable)
    if instances > usable or max(tables, digits) > MAX_TABLE_COLUMNS:
        return None
    blocks = layout.cells // (usable * inner) + 1
    dynamic = ceil((settings["total_dynamic_col_size"] + settings["total_shuffle_col_size"]) / usable)
    contractions = ceil(settings["einsum_params"]["total_einsum_col_size"] / (usable * inner))
    # Each table and range check is looked up in each column of witness; -1 to 1 is the range check of signs.
    arguments_each = layout.lookups * tables + len(settings["required_range_checks"]) - 1 + digits + dynamic
    return Shape(
        rows=rows,
        blocks=blocks,
        advice=3 * blocks * inner + 3 * dynamic + 4 * inner * contractions,
        lookups=blocks * inner * arguments_each,
        wide=inner > 2 or dynamic > 0 or contractions > 0,
    )


def wall_seconds(cpu_seconds: float, threads: int | None = None) -> float:
    """Return how long work takes on so many threads, or on all of this machine's."""
    count = threads or len(os.sched_getaffinity(0))
    return cpu_seconds * (1 - PARALLEL_SHARE + PARALLEL_SHARE / count)
