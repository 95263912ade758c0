"""Comparing: which cells there are, in which order they are measured, and what is kept at any moment."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from balance_core import measure
from balance_core.compare import machine as machines
from balance_core.compare import subjects
from balance_core.compare.cells import Choice, Measured
from balance_core.compare.describing import describe
from balance_core.compare.loading import read_cell, write_record
from balance_core.compare.results import Conditions, Status, settings_id
from balance_core.compare.stages import Course
from balance_core.errors import ConfigError
from balance_core.stages import Limits
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from balance_core.compare.results import Cell
    from balance_core.compare.subjects import Prepared, Subject
    from balance_core.stages import Progress

REPEATS = 3
REPEAT_BELOW_SECONDS = 60.0
TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True)
class Contender:
    """A backend with one choice of settings; several may be of one backend."""

    backend: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How to compare."""

    results: Path
    machine: str | None = None
    timeout_seconds: float | None = TIMEOUT_SECONDS
    """Of each stage."""
    memory_bytes: int | None = None
    threads: int | None = None
    repeats: int = REPEATS
    repeat_below_seconds: float | None = REPEAT_BELOW_SECONDS
    seed: int = 0
    weights: str = "public"
    """public or private: asked of each backend that can hide them."""
    quick: bool = False
    """One round, fewer inputs, fewer alterations: for a first look."""
    force: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    shared: bool = False
    """Run beside another harness; every cell tells."""


class Show(Protocol):
    """Who is told of a comparison while it runs."""

    @property
    def watch(self) -> Callable[[Progress], None] | None:
        """What is called with the running stage's progress, from another thread."""

    def coverage(self, cells: Sequence[Measured]) -> None:
        """What each backend does not cover, and expects to need: told before anything is timed."""

    def step(self, done: int, total: int, cell: Measured, what: str) -> None:
        """A cell is about to be measured."""

    def ended(self, cell: Cell) -> None:
        """A cell was written."""


class Silent:
    """Tells nobody."""

    watch: Callable[[Progress], None] | None = None

    def coverage(self, cells: Sequence[Measured]) -> None:
        """Tell nobody."""

    def step(self, done: int, total: int, cell: Measured, what: str) -> None:
        """Tell nobody."""

    def ended(self, cell: Cell) -> None:
        """Tell nobody."""


@dataclass(frozen=True)
class Outcome:
    """What a comparison did: cells measured now, and those that were there and stayed."""

    measured: tuple[Cell, ...]
    kept: tuple[Cell, ...]
    planned: tuple[str, ...] = ()
    """Paths of the cells that a dry run would measure, in order."""


def compare(
    given: Iterable[Subject], contenders: Sequence[Contender], options: Options, show: Show | None = None
) -> Outcome:
    """Measure every model on every backend, and leave one file for each; what is there already is kept.

    Cells that failed are kept too, unless `retry_failed`; `force` measures all anew. A cell's file is written when it
    is complete, so a comparison that is killed and started again ends with the same cells. Raises ConfigError and
    UnsupportedModel for what cannot be compared at all: unreadable models and inputs, unknown backends and settings.
    """
    show = show or Silent()
    with ExitStack() as held:
        crowded = held.enter_context(machines.alone(shared=options.shared)) if not options.dry_run else False
        machine = machines.describe(options.machine) if options.dry_run else machines.this_machine(
            options.results, options.machine
        )  # fmt: skip
        home = Workspace.default()
        folder = held.enter_context(home.scratch())
        backends = [describe(one.backend, one.settings, weights=options.weights) for one in contenders]
        home.srs.mkdir(parents=True, exist_ok=True)
        groups: dict[str, list[Measured]] = {}
        kept: dict[str, Cell] = {}
        for number, subject in enumerate(given):
            workspace = Workspace(folder / f"model-{number}")
            workspace.root.mkdir()
            prepared = subjects.prepare(subject, workspace, quick=options.quick)
            for backend in backends:
                choice = Choice(machine.name, prepared, backend, _conditions(options, prepared), options.seed)
                path = _path(choice)
                found = _existing(options.results / path, path)
                if found is not None and _stays(found, options):
                    kept[path] = found
                    continue
                course = Course(
                    backend=backend.record.name,
                    settings=backend.settings,
                    limits=_limits(options),
                    folder=folder / f"cell-{number}-{_order(0, path)}",
                    strings=home.srs,
                    watch=show.watch,
                )
                cells = groups.setdefault(prepared.record.folder, [])
                if all(_path(cell.choice) != path for cell in cells):
                    cells.append(Measured(choice, course, shared=crowded))
        ordered = _ordered(groups, options.seed)
        if options.dry_run:
            return Outcome((), tuple(kept.values()), tuple(_path(cell.choice) for cells in ordered for cell in cells))
        return Outcome(tuple(_measure(ordered, options, show)), tuple(kept.values()))


def _measure(groups: Sequence[Sequence[Measured]], options: Options, show: Show) -> Iterable[Cell]:
    """Measure groups of cells, one model after the other; within one, rounds go through all backends in turn."""
    cells = [cell for group in groups for cell in group]
    for cell in cells:
        cell.check()
    show.coverage(cells)
    done = 0
    repeats = 1 if options.quick else options.repeats
    for group in groups:
        left = list(group)
        for repeat in range(repeats):
            for cell in list(left):
                show.step(done, len(cells), cell, f"round {repeat + 1} of {repeats}")
                cell.round(repeat)
                if repeat == repeats - 1:
                    cell.finish()
                if repeat == repeats - 1 or not cell.alive:
                    left.remove(cell)
                    done += 1
                    yield _written(cell, options.results, show)


def _written(cell: Measured, results: Path, show: Show) -> Cell:
    record = cell.record()
    write_record(results / record.path, record)
    cell.close()
    show.ended(record)
    return record


def _conditions(options: Options, subject: Prepared) -> Conditions:
    return Conditions(
        threads=options.threads or measure.processors(),
        visibility={"inputs": "public", "outputs": "public", "weights": options.weights},
        inputs=subject.input_digest,
        input_count=subject.count,
        samples=subject.sample_digest,
        sample_count=subject.sample_count,
        timeout_seconds=options.timeout_seconds,
        memory_bytes=options.memory_bytes,
        repeats=1 if options.quick else options.repeats,
        repeat_below_seconds=options.repeat_below_seconds,
        quick=options.quick,
    )


def _limits(options: Options) -> Limits:
    return Limits(
        seconds=options.timeout_seconds,
        memory_bytes=options.memory_bytes,
        threads=options.threads or measure.processors(),
    )


def _path(choice: Choice) -> str:
    """Return the path of a cell below the folder of results."""
    digits = settings_id(choice.backend.record, choice.backend.settings, choice.conditions)
    return f"{choice.machine}/{choice.subject.record.folder}/{choice.backend.record.name}-{digits}.json"


def _existing(path: Path, key: str) -> Cell | None:
    """Return the cell that was measured before; one that cannot be read is measured again."""
    if not path.exists():
        return None
    try:
        return read_cell(path, key)
    except ConfigError:
        return None


def _stays(found: Cell, options: Options) -> bool:
    if options.force or found.conditions.repeats < (1 if options.quick else options.repeats):
        return False
    return found.status is Status.OK or not options.retry_failed


def _ordered(groups: dict[str, list[Measured]], seed: int) -> list[list[Measured]]:
    """Shuffle models, and backends within a model, by the seed; an order does not depend on what else is there."""
    models = sorted(groups, key=lambda name: _order(seed, name))
    return [sorted(groups[name], key=lambda cell: _order(seed, _path(cell.choice))) for name in models]


def _order(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()[:16]
