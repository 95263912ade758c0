"""Whether something became slower: two sets of results of the same cells, and changes seen against their noise."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from balance_core.compare.metrics import BY_NAME

if TYPE_CHECKING:
    from balance_core.compare.metrics import Metric
    from balance_core.compare.table import Row, Table, Value

WATCHED = ("setup_seconds", "prove_seconds", "verify_seconds", "memory_bytes", "proof_bytes", "bundle_bytes",
           "verify_gas", "top1_agreement", "largest_error")  # fmt: skip
"""Figures by which a change is judged."""
DEFAULT_THRESHOLD = 0.1
"""How much worse a figure may become, as a share of what it was."""
_AGREEMENT_ROOM = 0.005
"""How much agreement may be lost, in absolute terms: one answer in two hundred."""


@dataclass(frozen=True)
class Change:
    """One figure of one cell, before and after."""

    row: Row
    metric: Metric
    old: Value
    new: Value
    threshold: float

    @property
    def ratio(self) -> float:
        """After over before; infinite where there was nothing before."""
        if self.old.middle == 0:
            return 1.0 if self.new.middle == 0 else float("inf")
        return self.new.middle / self.old.middle

    @property
    def noise(self) -> float:
        """How far samples of one side lie apart, as a share of their median: the noisier of the two sides."""
        return max((value.high - value.low) / value.middle if value.middle else 0.0 for value in (self.old, self.new))

    @property
    def worse(self) -> bool:
        """Whether it became worse by more than the threshold, and by more than its samples' spread explains."""
        if self.metric.unit == "share":
            return self.old.middle - self.new.middle > _AGREEMENT_ROOM
        sign = 1 if self.metric.better == "less" else -1
        if sign * (self.ratio - 1) <= self.threshold:
            return False
        return self.new.low > self.old.high if sign > 0 else self.new.high < self.old.low

    @property
    def better(self) -> bool:
        """Whether it became better by as much."""
        return Change(self.row, self.metric, self.new, self.old, self.threshold).worse

    @property
    def verdict(self) -> str:
        """The judgement in a word; a change within its noise is none."""
        if self.worse:
            return "worse"
        if self.better:
            return "better"
        return "within noise" if abs(self.ratio - 1) > self.threshold else "same"


@dataclass(frozen=True)
class Comparison:
    """All changes between two sets of results, and the cells that only one of them has."""

    changes: tuple[Change, ...]
    broken: tuple[tuple[Row, Row], ...]
    """Cells that ended well before and do not now."""
    mended: tuple[tuple[Row, Row], ...]
    missing: tuple[Row, ...]
    """Cells that were measured before and are not there now."""
    added: tuple[Row, ...]
    drift: tuple[tuple[str, float], ...]
    """For each machine the median change of all its times: a machine that is slower as a whole shows here."""

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The changes for the worse."""
        return tuple(change for change in self.changes if change.worse)

    @property
    def ok(self) -> bool:
        """Whether nothing became worse; a cell that was not run again cannot be judged, and is only named."""
        return not self.regressions and not self.broken


def compare(old: Table, new: Table, *, threshold: float = DEFAULT_THRESHOLD) -> Comparison:
    """Set the same cells of two tables against each other: same machine, model, backend and settings.

    A backend's other version is the same cell here: to see what it changed is what a baseline is for.
    """
    before, after = _index(old), _index(new)
    both = [(before[key], after[key]) for key in before if key in after]
    changes = tuple(
        Change(now, BY_NAME[name], was.values[name], now.values[name], threshold)
        for was, now in both
        if was.ok and now.ok
        for name in WATCHED
        if name in was.values and name in now.values
    )
    machines = dict.fromkeys(change.row.machine for change in changes)
    return Comparison(
        changes=changes,
        broken=tuple((was, now) for was, now in both if was.ok and not now.ok),
        mended=tuple((was, now) for was, now in both if now.ok and not was.ok),
        missing=tuple(before[key] for key in before if key not in after),
        added=tuple(after[key] for key in after if key not in before),
        drift=tuple((machine, _drift(changes, machine)) for machine in machines),
    )


def _drift(changes: tuple[Change, ...], machine: str) -> float:
    ratios = [change.ratio for change in changes
              if change.row.machine == machine and change.metric.unit == "s" and change.old.middle > 0]  # fmt: skip
    return median(ratios) if ratios else 1.0


def _index(table: Table) -> dict[tuple[str, ...], Row]:
    """Return the rows by what makes them the same cell; of several versions the last counts."""
    return {(row.machine, row.group, row.backend, row.settings): row for row in table.rows}
