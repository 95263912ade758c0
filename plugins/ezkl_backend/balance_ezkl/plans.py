"""Which layouts and sizes of circuit there are to choose from, and what the search makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from balance_ezkl import cost
from balance_ezkl.circuit import Arguments, Layout
from balance_ezkl.key import MAX_BITS, MIN_LOGROWS
from balance_ezkl.tool import EzklFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from balance_ezkl.settings import EzklSettings

MULTIPLIERS = (1, 2, 3, 4)
LEGS = (2, 3)
SMALL_LEGS = (2, 3, 4)
"""In small circuits the digits are small, so that it takes more of them."""
SMALL_ROWS = 2**11
INNER = (2, 1)
"""Three columns side by side and more double the domain of the quotient, which is never worth it."""
MAX_SCALE = 14
LIKELY_SCALE, LIKELY_BITS, TABLE_BITS = 7, 4, 3
LARGE_ROWS = 2**15
TABLE_COLUMNS = 4
"""How many columns a lookup table may spread over: with more, its selector has the highest degree of all gates."""
FEWER = 3
"""How much below the k of one block of columns is looked at; more and shorter columns are cheaper for a while."""
TRIED_LOGROWS = 15
"""Up to this k more rows than the layout needs are considered, for the wider digits and tables that they allow."""


@dataclass(frozen=True)
class Plan:
    """A layout at one k, with what it would cost at least; once `fitted`, at a scale and with tables that fit."""

    layout: Layout
    """As ezkl laid the graph out at a nominal scale."""
    arguments: Arguments
    price: float
    high: int = MAX_SCALE
    """The largest scale that may fit it."""
    fitted: bool = False


@dataclass(frozen=True)
class Choice:
    """What the search settled on."""

    layout: Layout
    agreement: float | None = None
    samples: int = 0
    tried: int = 0

    @property
    def facts(self) -> dict[str, int | float | str | bool]:
        """What people may want to know about the circuit."""
        arguments = self.layout.arguments
        facts: dict[str, int | float | str | bool] = {
            "k": arguments.logrows,
            "rows": self.layout.rows,
            "cells": self.layout.cells,
            "columns": arguments.inner,
            "input_scale": arguments.input_scale,
            "param_scale": arguments.param_scale,
            "scale_rebase_multiplier": arguments.multiplier,
            "decomp_base": arguments.base,
            "decomp_legs": arguments.legs,
        }
        if self.agreement is not None:
            facts |= {"agreement": self.agreement, "samples": self.samples, "candidates": self.tried}
        return facts


def plans(lay_out: Callable[[Arguments], Layout], options: EzklSettings, *, thorough: bool = True) -> list[Plan]:
    """Return the layouts at all sensible k, or the likely ones only; raises EzklFailed if ezkl has none."""
    found: list[Plan] = []
    failure: EzklFailed | None = None
    rows = 0
    seen: set[tuple[object, ...]] = set()
    for sketch in sketches(options, thorough=thorough):
        if sketch.legs not in LEGS and rows > SMALL_ROWS and options.decomp_legs is None:
            continue
        try:
            layout = lay_out(sketch)
        except EzklFailed as error:
            failure = failure or error
            continue
        rows = max(rows, layout.rows)
        # Once nothing is left to cut back, a higher multiplier changes nothing.
        same = (sketch.legs, sketch.inner, layout.cells, *layout.settings["model_output_scales"])
        if same not in seen:
            seen.add(same)
            found += _sizes(layout, options)
    if not found and failure is not None:
        raise failure
    return found


def likely(found: Sequence[Plan], options: EzklSettings) -> Plan:
    """Guess which plan a search will settle on, without samples to search with.

    A value that has not been cut back has as many bits behind the binary point as the multiplier says, and is mostly
    below 2^LIKELY_BITS; the scale is mostly LIKELY_SCALE where bits are scarce.
    """
    fitting = []
    for plan in found:
        arguments = plan.arguments
        bits = LIKELY_SCALE * (arguments.multiplier + 1) + LIKELY_BITS
        if arguments.with_room(options.headroom_bits).limit < 1 << bits:
            continue
        if plan.layout.lookups and options.lookup_range is None:
            half = 1 << (LIKELY_SCALE * arguments.multiplier + TABLE_BITS)
            arguments = replace(arguments, lookup_range=(-half, half))
        low, high = arguments.lookup_range
        shape = cost.shape(plan.layout, arguments)
        if shape is not None and high - low < TABLE_COLUMNS << arguments.logrows:
            fitting.append(replace(plan, arguments=arguments, price=shape.price))
    cheapest = min(fitting or found, key=lambda plan: plan.price)
    if cheapest.layout.lookups == 0 or cheapest.layout.rows < LARGE_ROWS:
        return cheapest
    # Where softmax and normalisation round again and again, cutting back at once has cost too much precision.
    later = [plan for plan in fitting if plan.arguments.multiplier > cheapest.arguments.multiplier]
    return min(later, key=lambda plan: plan.price, default=cheapest)


def sketches(options: EzklSettings, *, thorough: bool) -> list[Arguments]:
    """Return what makes layouts differ: a nominal scale and base stand for all."""
    sketch = Arguments(
        input_scale=7 if options.input_scale is None else options.input_scale,
        param_scale=7 if options.param_scale is None else options.param_scale,
        base=2**10,
    )
    return [
        replace(sketch, multiplier=multiplier, legs=legs, inner=inner)
        for multiplier in _given_or(options.scale_rebase_multiplier, MULTIPLIERS)
        for legs in _given_or(options.decomp_legs, SMALL_LEGS if thorough else LEGS[:1])
        for inner in _given_or(options.num_inner_cols, INNER if thorough else INNER[:1])
    ]


def _sizes(layout: Layout, options: EzklSettings) -> list[Plan]:
    least = cost.least_logrows(layout)
    sizes = range(max(MIN_LOGROWS, least - FEWER), min(options.max_logrows, max(least + 1, TRIED_LOGROWS)) + 1)
    found = []
    for k in _given_or(options.logrows, sizes):
        base = options.decomp_base or 1 << min(k - 1, MAX_BITS // layout.arguments.legs)
        arguments = replace(layout.arguments, logrows=k, base=base, lookup_range=(-1, 1))
        shape = cost.shape(layout, arguments)
        if shape is not None:
            found.append(Plan(layout, arguments, shape.price))
    return found


def _given_or(value: int | None, choices: Sequence[int]) -> Sequence[int]:
    return choices if value is None else (value,)
