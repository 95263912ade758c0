"""What the page says, worked out before any markup is written."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from balance_core.compare.calibration import fit
from balance_core.compare.facts import FACTS, SECURITY
from balance_core.compare.metrics import BY_NAME, MAIN
from balance_core.compare.report.numbers import DASH, ratio, show
from balance_core.compare.table import differing, unique

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from balance_core.compare.metrics import Metric
    from balance_core.compare.table import Row, Table, Value

LEADING = ("prove_seconds", "setup_seconds", "verify_seconds", "memory_bytes", "proof_bytes", "top1_agreement")
"""By what backends are set against each other, one figure at a time."""
LEAST_OTHERS = 2
STATUS = {
    "ok": ("measured", "good"),
    "unsupported": ("not covered", ""),
    "failed": ("failed", "bad"),
    "timeout": ("out of time", "bad"),
    "out_of_memory": ("out of memory", "bad"),
    "refused": ("refused", "bad"),
}
"""A status in words, and the style of its chip."""


@dataclass(frozen=True)
class Leader:
    """The best row of a group by one metric, and how far the next one is behind."""

    row: Row
    value: str
    ahead: str


@dataclass(frozen=True)
class Badge:
    """A short word about a row's security."""

    text: str
    means: str
    style: str = ""


@dataclass(frozen=True)
class Score:
    """How well one backend's estimates of one metric were."""

    backend: str
    metric: Metric
    errors: tuple[float, ...]
    fitted: tuple[float, ...]
    """The errors of the same estimates after a fit to the machine's other models; none where there are too few."""

    @property
    def median(self) -> float:
        """The median of the errors, each as a share of the measured value."""
        return median(self.errors)

    @property
    def fitted_median(self) -> float | None:
        """The median of the errors after a fit."""
        return median(self.fitted) if self.fitted else None


def best(rows: Sequence[Row], metric: Metric) -> tuple[Row, ...]:
    """Return the rows that lead in a metric; nobody where there is nothing to compare, or no better."""
    known = [(value, row) for row in rows if (value := row.get(metric.name)) is not None]
    if len(known) < 2 or not metric.better or len({value for value, _ in known}) < 2:
        return ()
    top = min(value for value, _ in known) if metric.better == "less" else max(value for value, _ in known)
    return tuple(row for value, row in known if value == top)


def leaders(rows: Sequence[Row]) -> Iterator[Leader | None]:
    """Yield the leader of each of the figures of LEADING; None where all do the same or there is one row only."""
    for name in LEADING:
        metric = BY_NAME[name]
        top = best(rows, metric)
        if len(top) != 1:
            yield None
            continue
        row = top[0]
        own = row.values[name].middle
        others = [value for other in rows if other is not row and (value := other.get(name)) is not None]
        next_best = min(others) if metric.better == "less" else max(others)
        if metric.unit == "share":
            ahead = f"next {show(next_best, metric.unit)}"
        else:
            ahead = f"next {ratio(next_best / own)}" if own > 0 else ""
        yield Leader(row, show(own, metric.unit), ahead)


def differences(rows: Sequence[Row]) -> str:
    """Return the labels of the properties in which rows' proofs differ."""
    labels = {fact.name: fact.label.lower() for fact in FACTS}
    return ", ".join(labels[name] for name in differing(rows, SECURITY))


def badges(row: Row) -> list[Badge]:
    """Return a row's security in a few words; what calls for care is marked."""
    facts = row.facts
    found = [] if row.sound else [Badge("unsound", "Its proofs prove nothing.", "bad")]
    bits = facts.get("security", "").split(" bits")[0]
    if bits.isdecimal() and bits != "0":
        found.append(Badge(f"{bits} bits", facts["security"]))
    trust = facts.get("setup_trust", "")
    if trust == "test only":
        found.append(Badge("test setup", "Whoever made its parameters could forge proofs.", "warn"))
    elif trust in {"ceremony", "transparent"}:
        found.append(Badge(trust, "Where its public parameters come from."))
    if facts.get("zero_knowledge") == "yes":
        found.append(Badge("ZK", "A proof tells nothing beyond its statement."))
    if facts.get("post_quantum") == "yes":
        found.append(Badge("PQ", "Soundness does without discrete logarithms and pairings."))
    if facts.get("private", "nothing") != "nothing":
        found.append(Badge(f"hides {facts['private']}", "What neither proof nor key tells."))
    accepted = row.tampered[1] - row.tampered[0]
    if accepted > 0:
        found.append(Badge(f"{accepted} forgeries accepted", "Altered proofs that its verifier took.", "bad"))
    return found


def coverage(table: Table) -> list[tuple[str, list[tuple[str, str, str] | None]]]:
    """Return for each model and backend a word, its style, and which operators are missing."""
    lines = []
    for model in table.models:
        cells: list[tuple[str, str, str] | None] = []
        for backend in table.backends:
            rows = [row for row in table.rows if row.model == model and row.backend == backend]
            cells.append(_covered(rows))
        lines.append((model, cells))
    return lines


def _covered(rows: Sequence[Row]) -> tuple[str, str, str] | None:
    if not rows:
        return None
    row = min(rows, key=lambda row: (not row.ok, row.status))
    holes = unique(hole.operator for hole in row.uncovered)
    if row.status == "unsupported":
        more = f" and {len(holes) - 4} more" if len(holes) > 4 else ""
        return "no", "bad", ", ".join(holes[:4]) + more or row.reason
    if row.ok:
        return "yes", "good", ""
    return "covered", "", f"{STATUS[row.status][0]} at {row.stage}" if row.stage else STATUS[row.status][0]


def spread(value: Value, metric: Metric) -> str:
    """Return the smallest and the largest sample, where they differ as they are shown."""
    low, high = show(value.low, metric.unit), show(value.high, metric.unit)
    if low == high:
        return ""
    number, _, unit = low.partition(" ")
    return f"{number}…{high}" if unit == high.partition(" ")[2] else f"{low}…{high}"


def worth(table: Table) -> list[tuple[str, str, list[str]]]:
    """Return each fact's label and meaning, and what it is for each backend, all that its rows say."""
    lines = []
    for fact in FACTS:
        if fact.name == "conditions":  # they are the models', and stand with the rows
            continue
        texts = []
        for backend in table.backends:
            said = unique(row.facts.get(fact.name, "") for row in table.rows if row.backend == backend and row.ok)
            said = said or unique(row.facts.get(fact.name, "") for row in table.rows if row.backend == backend)
            texts.append(" / ".join(said[:4]) or DASH)
        lines.append((fact.label, fact.means, texts))
    return lines


def scores(table: Table) -> list[Score]:
    """Return how far each backend's estimates were from what was measured."""
    found = []
    for backend in table.backends:
        for name in ("setup_seconds", "prove_seconds", "memory_bytes"):
            rows = [row for row in table.ranked
                    if row.backend == backend and name in row.predicted and row.get(name)]  # fmt: skip
            errors = tuple(abs(row.predicted[name] / row.values[name].middle - 1) for row in rows)
            if errors:
                found.append(Score(backend, BY_NAME[name], errors, tuple(_fitted(rows, name))))
    return found


def _fitted(rows: Sequence[Row], name: str) -> Iterator[float]:
    """Yield each row's error after a fit to the same machine's rows of other models, of which it takes two."""
    for row in rows:
        others = [(other.predicted[name], other.values[name].middle) for other in rows
                  if other.machine == row.machine and other.model != row.model]  # fmt: skip
        line = fit(others, adds=name == "memory_bytes") if len(others) >= LEAST_OTHERS else None
        if line is not None:
            yield abs((line[0] + line[1] * row.predicted[name]) / row.values[name].middle - 1)


def main_metrics(table: Table) -> list[Metric]:
    """Return the figures of a narrow table that at least one row has."""
    return [BY_NAME[name] for name in MAIN if any(name in row.values for row in table.rows)]
