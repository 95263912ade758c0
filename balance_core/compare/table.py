"""What a report shows: one row for each cell, its figures, and what decides whether two rows can be compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True)
class Value:
    """A figure: the median of its samples, and how far they spread."""

    middle: float
    low: float
    high: float
    samples: int = 1


@dataclass(frozen=True)
class Uncovered:
    """A node that a backend cannot prove."""

    node: str
    operator: str
    reason: str
    mend: str | None = None


@dataclass(frozen=True)
class Row:
    """One cell as the report shows it; every text is already harmless to print."""

    machine: str
    model: str
    model_id: str
    backend: str
    settings: str
    """As they are typed: `-o bits=8`, or nothing."""
    version: str
    sound: bool
    status: str
    reason: str = ""
    stage: str = ""
    """Where it ended, if it did not end well."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """By the name of the metric; what was not measured is absent."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """By the name of the fact: what rows must share to be compared by their figures alone."""
    predicted: Mapping[str, float] = field(default_factory=dict)
    """What `check` expected, by the name of the metric that it expected."""
    uncovered: tuple[Uncovered, ...] = ()
    family: str = ""
    """What the sizes of one ladder of models share."""
    size: float | None = None
    """Multiply-adds of one answer."""
    key: str = ""
    """Where the cell's file is, within the results."""
    group: str = ""
    """Rows of one group were measured under the same conditions, on the same machine and model."""
    tampered: tuple[int, int] = (0, 0)
    """How many attempts on the cell's own proof the verifier rejected, and how many there were."""
    hidden: tuple[str, ...] = ()
    """What its proofs do not tell: `inputs`, `weights`."""
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the cell was measured to its end."""
        return self.status == "ok"

    @property
    def label(self) -> str:
        """The backend with its settings."""
        return f"{self.backend} {self.settings}".rstrip()

    def get(self, metric: str) -> float | None:
        """Return a metric's median, or None."""
        value = self.values.get(metric)
        return value.middle if value is not None else None


@dataclass(frozen=True)
class Machine:
    """Where rows were measured, as pairs of a name and a text."""

    name: str
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Table:
    """All rows of some results, in a stable order."""

    rows: tuple[Row, ...]
    machines: tuple[Machine, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know of how the results came about."""
    currency: str = ""
    """What figures of money are counted in."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models' names, smallest first."""
        sizes: dict[str, float] = {}
        for row in self.rows:
            sizes[row.model] = max(sizes.get(row.model, 0.0), row.size or 0.0)
        return tuple(sorted(sizes, key=lambda name: (sizes[name], name)))

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends' names: sound ones first."""
        unsound = {row.backend for row in self.rows} - {row.backend for row in self.rows if row.sound}
        return tuple(sorted({row.backend for row in self.rows}, key=lambda name: (name in unsound, name)))

    @property
    def series(self) -> tuple[str, ...]:
        """Labels that tell backends and their settings apart, sound ones first."""
        return unique(row.label for row in sorted(self.rows, key=lambda row: (not row.sound, row.label)))

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows that may be set beside each other: measured to the end, by a sound backend."""
        return tuple(row for row in self.rows if row.ok and row.sound)

    @property
    def unranked(self) -> tuple[Row, ...]:
        """What unsound backends did: shown, never ranked."""
        return tuple(row for row in self.rows if not row.sound)

    @property
    def failures(self) -> tuple[Row, ...]:
        """The sound backends' rows that did not end well."""
        return tuple(row for row in self.rows if row.sound and not row.ok)

    def groups(self) -> Iterator[tuple[str, str, tuple[Row, ...]]]:
        """Yield machine, model and ranked rows of each set that was measured under the same conditions."""
        found: dict[str, list[Row]] = {}
        for row in self.ranked:
            found.setdefault(row.group, []).append(row)
        order = {model: place for place, model in enumerate(self.models)}
        for rows in sorted(found.values(), key=lambda rows: (rows[0].machine, order[rows[0].model])):
            yield rows[0].machine, rows[0].model, tuple(rows)


def unique(items: Iterable[str]) -> tuple[str, ...]:
    """Return each item once, in order of appearance."""
    return tuple(dict.fromkeys(items))


def differing(rows: Sequence[Row], facts: Iterable[str]) -> tuple[str, ...]:
    """Return the facts in which rows differ, so that their figures alone do not say which is better."""
    return tuple(name for name in facts if len({row.facts.get(name, "") for row in rows}) > 1)
