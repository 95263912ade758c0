"""From stored results to the table that every report shows."""

from __future__ import annotations

import shlex
import unicodedata
from typing import TYPE_CHECKING

from balance_core.compare import facts, metrics
from balance_core.compare.table import Machine, Row, Table, Uncovered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from balance_core.compare.loading import Results
    from balance_core.compare.results import Cell
    from balance_core.compare.results import Machine as MachineRecord

MAX_TEXT = 2000
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that no report needs: control codes, marks that turn the writing direction, surrogates."""


def table(results: Results, *, price: metrics.Price | None = None) -> Table:
    """Return all cells as rows, with the figures that follow from them; `price` adds those of money."""
    rows = []
    for cell in results.cells:
        group = _group(cell)
        peers = tuple(
            other for other in results.cells if other is not cell and other.ranked and _group(other) == group
        )
        rows.append(_row(cell, metrics.View(cell, peers if cell.ranked else (), price)))
    notes = [f"{plain(file.path)} was left out: {plain(file.reason)}" for file in results.unreadable]
    notes += [note for machine in results.machines.values() for note in _busy(machine, results.cells)]
    if price is not None:
        notes.append(f"costs are at {price.hour:g} {plain(price.currency)} for an hour of the proving machine")
    return Table(
        rows=tuple(sorted(rows, key=lambda row: (row.machine, row.size or 0, row.model, row.backend, row.settings))),
        machines=tuple(_machine(machine, results.cells) for machine in results.machines.values()),
        notes=tuple(notes),
        currency=plain(price.currency, 12) if price is not None else "",
    )


def plain(text: str, limit: int = MAX_TEXT) -> str:
    """Return a text on one line, without characters that a terminal or a page would act upon."""
    shown = "".join(" " if character in "\n\r\t" else character
                    for character in text[: 2 * limit]
                    if character in "\n\r\t" or unicodedata.category(character) not in _UNSEEN)  # fmt: skip
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _group(cell: Cell) -> tuple[object, ...]:
    """Return what cells must share for their figures to be set beside each other."""
    given = cell.conditions
    return (cell.machine, cell.model.model_id, given.threads, given.inputs, given.samples, given.quick,
            tuple(sorted(given.visibility.items())))  # fmt: skip


def typed(settings: Mapping[str, Any]) -> str:
    """Return settings as they are typed on the command line, safe to type: results can be a stranger's."""
    words = (shlex.quote(f"{plain(key, 60)}={plain(_text(value), 60)}") for key, value in sorted(settings.items()))
    return " ".join(f"-o {word}" for word in words)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _row(cell: Cell, view: metrics.View) -> Row:
    return Row(
        machine=cell.machine,
        model=cell.model.name,
        model_id=cell.model.model_id,
        backend=cell.backend.name,
        settings=typed(cell.settings),
        version=plain(cell.backend.version),
        sound=cell.backend.capabilities.sound,
        status=str(cell.status.value),
        reason=plain(cell.reason),
        stage=cell.stopped_at or "",
        values=metrics.values(view),
        facts={fact.name: plain(fact.function(cell)) for fact in facts.FACTS},
        predicted=metrics.predicted(cell),
        uncovered=tuple(
            Uncovered(plain(p.node, 120), plain(p.operator, 60), plain(p.reason), plain(p.mend) if p.mend else None)
            for p in cell.problems
        ),
        family=cell.model.family or "",
        size=float(cell.model.macs) if cell.model.macs else None,
        key=cell.path,
        group=repr(_group(cell)),
        tampered=_tampered(cell),
        hidden=tuple(cell.hidden),
        notes=tuple(plain(note) for note in cell.notes),
    )


def _busy(machine: MachineRecord, cells: tuple[Cell, ...]) -> Iterator[str]:
    """Yield a warning where other work ran; the harness itself makes a load of about one for each processor."""
    loads = [cell.environment.load_average for cell in cells if cell.machine == machine.name]
    busy = [load for load in loads if load > machine.processors + 1]
    if busy:
        yield (
            f"{machine.name} was busy with other work for {len(busy)} of {len(loads)} cells (load average up to "
            f"{max(busy):.1f} on {machine.processors} processors): an idle machine takes less time"
        )


def _tampered(cell: Cell) -> tuple[int, int]:
    """Return how many attempts on the cell's own proof were rejected, and how many there were."""
    return sum(attempt.rejected for attempt in cell.tamperings), len(cell.tamperings)


def _machine(machine: MachineRecord, cells: tuple[Cell, ...]) -> Machine:
    own = [cell for cell in cells if cell.machine == machine.name]
    loads = sorted(cell.environment.load_average for cell in own)
    software: dict[str, set[str]] = {}
    for cell in own:
        for name, version in cell.environment.versions.items():
            software.setdefault(name, set()).add(version)
    cores = f", {machine.physical_cores} cores" if machine.physical_cores else ""
    told = (
        ("processor", f"{machine.processor} ({machine.architecture})"),
        ("processors", f"{machine.processors} usable{cores}"),
        ("instruction sets", ", ".join(machine.processor_features) or "not known"),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("system", f"{machine.operating_system}, kernel {machine.kernel}, {machine.libc or 'libc not known'}"),
        ("software", f"Python {machine.python}, balance-core {machine.balance_core}"),
        ("libraries", ", ".join(f"{name} {'/'.join(sorted(found))}" for name, found in sorted(software.items()))),
        ("memory is read", machine.memory_method),
        ("CPU time is read", machine.cpu_method),
        ("load average at the start of cells", f"{loads[0]:.2f} to {loads[-1]:.2f}" if loads else "no cells"),
        ("seeds", ", ".join(str(seed) for seed in sorted({cell.seed for cell in own})) or "none"),
        ("measured", f"{min(c.started for c in own)} to {max(c.ended for c in own)}" if own else "nothing"),
        ("beside other measurements", "some cells" if any(cell.environment.shared for cell in own) else "no"),
    )  # fmt: skip
    return Machine(machine.name, tuple((name, plain(text)) for name, text in told if text))
