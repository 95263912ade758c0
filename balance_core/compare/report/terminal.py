"""A comparison on a terminal: coverage first, then figures with what each proof is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.compare.report import view
from balance_core.compare.report.numbers import show

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table as RichTable

    from balance_core.compare.table import Row, Table

_COLUMNS = ("setup_seconds", "prove_seconds", "verify_seconds", "memory_bytes", "proof_bytes", "top1_agreement")


def show_table(table: Table, console: Console) -> None:
    """Print coverage, figures, failures and what is not sound; no text of a result is taken as markup."""
    for part in _parts(table):
        console.print(part)


def _parts(table: Table) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if any(row.uncovered for row in table.rows):
        parts.append(coverage(table))
    parts += [_figures(table, machine, model, rows) for machine, model, rows in table.groups()]
    if table.failures:
        parts.append(_failures("did not work", table.failures))
    if table.unranked:
        parts.append(_failures("not sound: proves nothing, ranked nowhere", table.unranked))
    parts += [_plain(f"note: {note}") for note in table.notes]
    return parts


def _plain(text: str) -> RenderableType:
    from rich.text import Text

    return Text(text)


def _frame(title: str, heads: list[tuple[str, bool]]) -> RichTable:
    from rich import box
    from rich.table import Table as Frame
    from rich.text import Text

    frame = Frame(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, title_style="bold")
    for head, right in heads:
        frame.add_column(Text(head), justify="right" if right else "left", overflow="fold")
    return frame


def coverage(table: Table) -> RenderableType:
    """Return which model each backend takes, and which operators it does not cover."""
    frame = _frame("covered", [("model", False), *((backend, False) for backend in table.backends)])
    for model, cells in view.coverage(table):
        words = [f"{cell[0]} ({cell[2]})" if cell and cell[2] else cell[0] if cell else "not run" for cell in cells]
        frame.add_row(_plain(model), *map(_plain, words))
    return frame


def _figures(table: Table, machine: str, model: str, rows: tuple[Row, ...]) -> RenderableType:
    metrics = [metric for metric in view.main_metrics(table) if metric.name in _COLUMNS]
    title = model + (f" on {machine}" if len(table.machines) > 1 else "")
    frame = _frame(
        title, [("backend", False), *((metric.label.lower(), True) for metric in metrics), ("worth", False)]
    )
    leading = {metric.name: {row.key for row in view.best(rows, metric)} for metric in metrics}
    for row in sorted(rows, key=lambda row: row.get("prove_seconds") or 0):
        cells = [show(row.get(metric.name), metric.unit) + (" *" if row.key in leading[metric.name] else "  ")
                 for metric in metrics]  # fmt: skip
        worth = ", ".join(badge.text for badge in view.badges(row))
        frame.add_row(_plain(row.label), *map(_plain, cells), _plain(worth))
    return frame


def _failures(title: str, rows: tuple[Row, ...]) -> RenderableType:
    frame = _frame(title, [("model", False), ("backend", False), ("status", False), ("why", False)])
    for row in rows:
        at = f" at {row.stage}" if row.stage else ""
        frame.add_row(*map(_plain, (row.model, row.label, view.STATUS[row.status][0] + at, row.reason)))
    return frame
