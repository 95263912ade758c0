"""The cheapest arguments under which ezkl still answers as the float model does.

A circuit's cost is its columns times its 2^k rows, and both follow from how the graph is laid out: how often values
are cut back to the scale they started from (`multiplier`), and into how many digits they are split for it (`legs`).
Within one layout precision is free, up to the range that the digits span. So layouts are tried from the cheapest up,
each with the largest scale whose values fit its range, and the first that agrees with the float model is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor, inf
from typing import TYPE_CHECKING

from balance_core.errors import UnsupportedModel
from balance_ezkl import cost
from balance_ezkl.circuit import Arguments, Layout
from balance_ezkl.key import MAX_BITS, MIN_LOGROWS
from balance_ezkl.tool import EzklFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from balance_ezkl.trial import Trial

MULTIPLIERS = (1, 2, 3, 4, 6)
LEGS = (2, 3, 4)
INNER = (2, 1)
MIN_SCALE, MAX_SCALE = 5, 14
"""Scales that are looked at. A statement holds the inputs as they were rounded: with fewer bits they say too little."""
NEARLY_AS_CHEAP = 1.2
"""How much dearer a circuit may be that agrees on every sample, if the cheapest one agrees on enough of them only."""
FEWER = 3
"""How much below the k of one block of columns is looked at; more and shorter columns are cheaper for a while."""
TRIED_LOGROWS = 15
"""Up to this k more rows than the layout needs are considered, for the wider digits that they allow."""


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


@dataclass(frozen=True)
class Plan:
    """One layout at one k, at no scale yet, with what it would cost."""

    arguments: Arguments
    price: float


class Search:
    """One search over the samples of one model; `choose` runs it."""

    def __init__(
        self,
        trial: Trial,
        progress: Callable[[str], None],
    ) -> None:
        self.trial, self.options, self.progress = trial, trial.options, progress
        self.tried = 0
        self._ceiling: dict[int, int] = {}
        """For each multiplier the largest scale that was fully tried and did not agree."""
        self._best: tuple[float, Arguments] | None = None

    def choose(self) -> Choice:
        """Return the cheapest choice that agrees well enough; raises UnsupportedModel that says the best found."""
        enough: Choice | None = None
        dearest = inf
        for plan in self._plans():
            if plan.price > dearest:
                break
            choice = self._try(plan.arguments)
            if choice is not None and choice.agreement == 1:
                return choice
            if choice is not None and enough is None:
                enough, dearest = choice, plan.price * NEARLY_AS_CHEAP
        if enough is None:
            raise self._nothing_found()
        return replace(enough, tried=self.tried)

    def _plans(self) -> list[Plan]:
        """Return all layouts at all sensible k, cheapest first; raises EzklFailed where ezkl takes no layout."""
        options = self.options
        plans: list[Plan] = []
        failure: EzklFailed | None = None
        seen: set[tuple[object, ...]] = set()
        for multiplier in _fixed_or(options.scale_rebase_multiplier, MULTIPLIERS):
            for legs in _fixed_or(options.decomp_legs, LEGS):
                for inner in _fixed_or(options.num_inner_cols, INNER):
                    sketch = Arguments(
                        input_scale=_fixed_or(options.input_scale, (7,))[0],
                        param_scale=_fixed_or(options.param_scale, (7,))[0],
                        multiplier=multiplier,
                        base=2**10,
                        legs=legs,
                        inner=inner,
                    )
                    try:
                        layout = self.trial.layout(sketch)
                    except EzklFailed as error:
                        failure = failure or error
                        continue
                    # Once nothing is left to cut back, a higher multiplier changes nothing.
                    same = (legs, inner, layout.cells, *layout.settings["model_output_scales"])
                    if same not in seen:
                        seen.add(same)
                        plans += self._sizes(layout)
        if not plans and failure is not None:
            raise failure
        return sorted(plans, key=lambda plan: (plan.price, plan.arguments.multiplier, plan.arguments.legs))

    def _sizes(self, layout: Layout) -> list[Plan]:
        options = self.options
        least = cost.least_logrows(layout)
        sizes = range(max(MIN_LOGROWS, least - FEWER), min(options.max_logrows, max(least + 1, TRIED_LOGROWS)) + 1)
        plans = []
        for k in _fixed_or(options.logrows, sizes):
            base = options.decomp_base or 1 << min(k - 1, MAX_BITS // layout.arguments.legs)
            arguments = replace(layout.arguments, logrows=k, base=base, lookup_range=(-1, 1))
            shape = cost.shape(layout, arguments)
            if shape is not None:
                plans.append(Plan(arguments, shape.price))
        return plans

    def _try(self, arguments: Arguments) -> Choice | None:
        """Return the choice of the largest scale that fits and agrees, or None where these arguments have none."""
        fixed = self.options.input_scale
        floor_scale = max(MIN_SCALE, self._ceiling.get(arguments.multiplier, MIN_SCALE - 1) + 1)
        low, high = (floor_scale, MAX_SCALE) if fixed is None else (fixed, fixed)
        while low <= high:
            scaled = self._largest(arguments, low, high)
            if scaled is None:
                return None
            self.tried += 1
            share = self.trial.agreement(scaled)
            if share is None:  # a sample that was no probe leaves the range
                high = scaled.input_scale - 1
                continue
            self.progress(f"scale {scaled.input_scale}, 2^{scaled.logrows} rows: {share:.1%} agree")
            if self._best is None or share > self._best[0]:
                self._best = (share, scaled)
            if share < 1:
                self._ceiling[arguments.multiplier] = scaled.input_scale
            if share < self.options.min_agreement:
                return None
            return Choice(self.trial.layout(scaled), share, len(self.trial.picked), self.tried)
        return None

    def _largest(self, arguments: Arguments, low: int, high: int) -> Arguments | None:
        """Return the arguments at the largest scale in [low, high] whose values fit, by bisection over the probes."""
        found = None
        while low <= high:
            middle = (low + high + 1) // 2
            fitting = self.trial.fit(arguments, middle)
            if fitting is None:
                high = middle - 1
            else:
                found, low = fitting, middle + 1
        return found

    def _nothing_found(self) -> UnsupportedModel:
        if self._best is None:
            return UnsupportedModel(
                "no ezkl circuit within the settings holds the values that the samples lead to",
                hint="leave scales, decomp_base, decomp_legs and logrows to the search, or scale the model's inputs",
            )
        arguments = self._best[1]
        share = self.trial.agreement(arguments, to_the_end=True) or 0.0
        return UnsupportedModel(
            f"the best ezkl circuit found agrees with the float model on {share:.1%} of {len(self.trial.picked)} "
            f"samples, not on {self.options.min_agreement:.1%} (input_scale={arguments.input_scale}, "
            f"scale_rebase_multiplier={arguments.multiplier}, logrows={arguments.logrows})",
            hint=f"accept it with -o min_agreement={floor(share * 1000) / 1000:g}, or free settings that you fixed",
        )


def _fixed_or(value: int | None, choices: Sequence[int]) -> Sequence[int]:
    return choices if value is None else (value,)
