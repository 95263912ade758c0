"""The cheapest arguments under which ezkl still answers as the float model does.

A circuit's cost is its columns times its 2^k rows, and both follow from how the graph is laid out: how often values
are cut back to the scale they started from (`multiplier`), and into how many digits they are split for it (`legs`).
Within one layout precision is free, up to the range that the digits span. So layouts are tried from the cheapest up,
each with the largest scale whose values fit its range, and the first that agrees with the float model is taken.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from itertools import count
from math import floor
from typing import TYPE_CHECKING

from balance_core.errors import UnsupportedModel
from balance_ezkl import cost
from balance_ezkl.plans import Choice, plans

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_ezkl.circuit import Arguments
    from balance_ezkl.plans import Plan
    from balance_ezkl.trial import Tally, Trial

MIN_SCALE = 5
"""The smallest scale chosen: a statement holds inputs as they were rounded; with fewer bits it says too little."""
NEARLY_AS_CHEAP = 1.2
"""How much dearer a circuit may be that agrees on all samples, if the cheapest one agrees on enough of them only."""


class Search:
    """One search over the samples of one model; `choose` runs it."""

    def __init__(self, trial: Trial, progress: Callable[[str], None]) -> None:
        self.trial, self.options, self.progress = trial, trial.options, progress
        self.allowed = floor(len(trial.everything) * (1 - self.options.min_agreement) + 1e-9)
        self.tried = 0
        self._queue: list[tuple[float, int, Plan]] = []
        self._numbers = count()
        self._partial: list[Plan] = []
        """Plans with a wrong answer among the hardest samples, cheapest first: perhaps good enough."""
        self._ceiling: dict[int, int] = {}
        """For each multiplier the largest scale that gave a wrong answer."""
        self._best: tuple[tuple[int, int], Arguments] | None = None

    def choose(self) -> Choice:
        """Return the cheapest choice that agrees well enough; raises UnsupportedModel that says the best found.

        One that agrees on every sample is preferred while it is nearly as cheap.
        """
        for plan in sorted(plans(self.trial.layout, self.options), key=lambda plan: plan.price):
            self._push(plan)
        while self._queue:
            price, _, plan = heapq.heappop(self._queue)
            choice = self._settle(price / NEARLY_AS_CHEAP)
            if choice is not None:
                return choice
            if not plan.fitted:
                self._fit(plan)
                continue
            choice = self._try(plan)
            if choice is not None:
                return self._settle(price / NEARLY_AS_CHEAP) or choice
        choice = self._settle(float("inf"))
        if choice is None:
            raise self._nothing_found()
        return choice

    def _push(self, plan: Plan) -> None:
        # The number keeps the order of equals, and plans from being compared.
        heapq.heappush(self._queue, (plan.price, next(self._numbers), plan))

    def _fit(self, plan: Plan) -> None:
        """Give a plan the largest scale that the probes fit, and queue it again at what it costs then."""
        arguments, fixed = plan.arguments, self.options.input_scale
        low = max(MIN_SCALE if fixed is None else fixed, self._ceiling.get(arguments.multiplier, -1) + 1)
        scaled = self._largest(arguments, low, plan.high if fixed is None else min(fixed, plan.high))
        shape = None if scaled is None else cost.shape(self.trial.layout(scaled), scaled)
        if scaled is not None and shape is not None:
            self._push(replace(plan, arguments=scaled, price=shape.price, high=scaled.input_scale, fitted=True))

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

    def _try(self, plan: Plan) -> Choice | None:
        """Return the plan as the choice if it answers the hardest samples as the float model does."""
        arguments = plan.arguments
        if arguments.input_scale <= self._ceiling.get(arguments.multiplier, -1):
            return None
        self.tried += 1
        tally = self.trial.count(arguments, self.trial.picked, most=0)
        if tally is None:  # a sample that was no probe leaves the range
            self._fit(replace(plan, high=arguments.input_scale - 1))
            return None
        self._remember(tally, arguments)
        if tally.wrong == 0:
            return self._choice(arguments, tally)
        self._ceiling[arguments.multiplier] = arguments.input_scale
        self._partial.append(plan)
        return None

    def _settle(self, price: float) -> Choice | None:
        """Return the first plan below a price that answers enough samples rightly."""
        while self._partial and self._partial[0].price < price:
            arguments = self._partial.pop(0).arguments
            everything = self.trial.everything
            tally = self.trial.count(arguments, everything, most=self.allowed) if self.allowed else None
            if tally is not None:
                self._remember(tally, arguments)
                if tally.wrong <= self.allowed:
                    return self._choice(arguments, tally)
        return None

    def _choice(self, arguments: Arguments, tally: Tally) -> Choice:
        return Choice(self.trial.layout(arguments), tally.share, tally.done, self.tried)

    def _remember(self, tally: Tally, arguments: Arguments) -> None:
        self.progress(
            f"scale {arguments.input_scale}, 2^{arguments.logrows} rows: {tally.wrong} of {tally.done} answers differ"
        )
        # The samples come hardest first: what fails later is better.
        if self._best is None or (tally.done, -tally.wrong) > self._best[0]:
            self._best = ((tally.done, -tally.wrong), arguments)

    def _nothing_found(self) -> UnsupportedModel:
        if self._best is None:
            return UnsupportedModel(
                "no ezkl circuit within the settings holds the values that the samples lead to",
                hint="leave scales, decomp_base, decomp_legs and logrows to the search, or scale the model's inputs",
            )
        arguments = self._best[1]
        tally = self.trial.count(arguments, self.trial.everything)
        share = tally.share if tally is not None else 0.0
        return UnsupportedModel(
            f"the best ezkl circuit found agrees with the float model on {share:.1%} of {len(self.trial.everything)} "
            f"samples, not on {self.options.min_agreement:.1%} (input_scale={arguments.input_scale}, "
            f"scale_rebase_multiplier={arguments.multiplier}, logrows={arguments.logrows})",
            hint=f"accept it with -o min_agreement={floor(share * 1000) / 1000:g}, or free settings that you fixed",
        )
