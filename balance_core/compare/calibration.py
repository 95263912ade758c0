"""Estimates fitted to this machine: what a few small models cost here, against what `check` expected of them.

A backend's estimate counts the work of its proof system, with seconds from its author's machine. What it leaves out
is about the same for every model (starting, reading, checking), and what it rates wrongly is about in proportion; so
a line through a few measured models mends most of both.
"""

from __future__ import annotations

import contextlib
import platform
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from balance_core import measure
from balance_core.errors import ConfigError
from balance_core.files import read_limited
from balance_core.records import Label, Name, Record
from balance_core.stages import Estimate, NonNegative

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from balance_core.stages import Support
    from balance_core.workspace import Workspace

_PULL = 0.05
"""How strongly a line is drawn towards mere proportion, against one measured model: it settles what is left open by
models of nearly the same cost."""
_ROUNDS = 20
_CLOSE = 0.02
"""Relative errors below this count alike."""
_MAX_BYTES = 2**16
_NUMBERS = ("setup_seconds", "prove_seconds", "memory_bytes")

Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Line(Record):
    """measured = base + slope * predicted."""

    kind: ClassVar[str] = "calibration-line"
    of: Literal["setup_seconds", "prove_seconds", "memory_bytes"]
    """The estimate that it starts from; of a backend that expects nothing of its setup, that of proving."""
    base: Finite
    slope: Finite

    def at(self, predicted: float) -> float:
        """Return what to expect on this machine."""
        return self.base + self.slope * predicted


class Calibration(Record):
    """How one backend's estimates become this machine's."""

    kind: ClassVar[str] = "calibration"
    backend: Name
    version: Label
    """Another version estimates otherwise."""
    machine: Label
    """What was fitted to; a data folder can move."""
    created: str
    load_average: NonNegative
    """Over one minute, before anything was measured: a busy machine gives times that an idle one does not take."""
    models: Annotated[int, Field(ge=1)]
    lines: dict[Literal["setup_seconds", "prove_seconds", "memory_bytes"], Line]

    @property
    def was_busy(self) -> bool:
        """Whether other work slowed what was measured."""
        return self.load_average > 0.5 * measure.processors()


@dataclass(frozen=True)
class Point:
    """One model: what was predicted, None where nothing was, and what came."""

    predicted: Estimate
    measured: dict[str, float]


def fit(pairs: Sequence[tuple[float, float]], *, adds: bool = False) -> tuple[float, float] | None:
    """Return base and slope, neither below 0, of the line with the least relative errors; None without points.

    Pairs are (predicted, measured). Minimises the sum of |base + slope * p - m| / m, by least squares that are
    weighted anew by what is left over, so that one odd model does not bend the line; and pulls the slope gently
    towards the median of m / p. Where what an estimate leaves out `adds` to it, as the memory of libraries does, the
    slope is not pulled above 1.
    """
    pairs = [(p, m) for p, m in pairs if p > 0 and m > 0]
    if not pairs:
        return None
    usual = median(m / p for p, m in pairs)
    usual = min(usual, 1.0) if adds else usual
    rows = [(1 / m, p / m) for p, m in pairs] + [(0.0, 1 / usual)]
    weights = [1.0] * len(pairs)
    line = (0.0, usual)
    for _ in range(_ROUNDS):
        line = _least_squares(rows, [*weights, _PULL**2 * median(weights)])
        weights = [1 / max(abs(line[0] * b + line[1] * s - 1), _CLOSE) for b, s in rows[:-1]]
    return line


def _least_squares(rows: Sequence[tuple[float, float]], weights: Sequence[float]) -> tuple[float, float]:
    """Return base and slope, neither below 0, that bring base * b + slope * s nearest to 1 over all rows (b, s)."""
    pairs = list(zip(rows, weights, strict=True))
    bb, bs, ss = (sum(w * row[i] * row[j] for row, w in pairs) for i, j in ((0, 0), (0, 1), (1, 1)))
    b1, s1 = (sum(w * row[i] for row, w in pairs) for i in (0, 1))
    determinant = bb * ss - bs * bs
    if determinant > 1e-12 * bb * ss:
        base, slope = (b1 * ss - s1 * bs) / determinant, (bb * s1 - bs * b1) / determinant
        if base >= 0 and slope >= 0:
            return base, slope
    alone = (0.0, s1 / ss), (b1 / bb, 0.0)
    return min(alone, key=lambda line: sum(w * (line[0] * b + line[1] * s - 1) ** 2 for (b, s), w in pairs))


def lines(points: Sequence[Point]) -> dict[str, Line]:
    """Fit a line for each number that can be predicted from the points."""
    found: dict[str, Line] = {}
    for name in _NUMBERS:
        source = _source(name, points)
        pairs = [(float(value), point.measured[name]) for point in points
                 if (value := getattr(point.predicted, source)) is not None and name in point.measured]  # fmt: skip
        line = fit(pairs, adds=name == "memory_bytes")
        if line is not None:
            found[name] = Line.from_value({"of": source, "base": line[0], "slope": line[1]})
    return found


def _source(name: str, points: Sequence[Point]) -> str:
    said = any(getattr(point.predicted, name) is not None for point in points)
    return name if said or name == "memory_bytes" else "prove_seconds"


def apply(fitted: dict[str, Line] | Calibration | None, estimate: Estimate) -> Estimate:
    """Return an estimate as this machine will probably have it; unchanged without a calibration."""
    if fitted is None:
        return estimate
    known = fitted.lines if isinstance(fitted, Calibration) else fitted
    changed: dict[str, float | int] = {}
    for name, line in known.items():
        predicted = getattr(estimate, line.of)
        if predicted is not None:
            value = line.at(float(predicted))
            changed[name] = round(value) if name == "memory_bytes" else value
    return estimate.model_copy(update=changed)


def fitted(workspace: Workspace, backend: str, version: str, support: Support) -> Support:
    """Return a backend's answer with its estimate fitted to this machine, and a note that says so."""
    known = load(workspace, backend, version)
    if known is None or support.estimate == Estimate():
        return support
    note = f"the estimate is fitted to this machine by {known.models} small models, measured {known.created}"
    return support.model_copy(update={"estimate": apply(known, support.estimate), "notes": (*support.notes, note)})


def this_machine() -> str:
    """Return what a calibration is good for: the processor's kind and how many of them may be used."""
    return f"{platform.machine()} {_processor()} x{measure.processors()}"[:256]


def _processor() -> str:
    from balance_core.compare.machine import describe

    return describe().processor or "processor"


def path(workspace: Workspace, backend: str) -> Path:
    """Return the file of a backend's calibration."""
    return workspace.root / "calibration" / f"{backend}.json"


def load(workspace: Workspace, backend: str, version: str) -> Calibration | None:
    """Return the calibration of a backend, if there is one for this version and this machine."""
    with contextlib.suppress(ConfigError):
        data = read_limited(path(workspace, backend), max_size=_MAX_BYTES, what="calibration")
        found = Calibration.from_json(data)
        if found.version == version and found.machine == this_machine():
            return found
    return None
