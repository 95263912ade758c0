"""`balance report`: tables and a page from stored results, and what changed since others."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from balance_core.compare.table import Table


class Format(StrEnum):
    """The forms of a report."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


class Part(StrEnum):
    """The tables of a Markdown report."""

    SUPPORT = "support"
    SECURITY = "security"
    FIGURES = "figures"


_BY_ENDING = {".csv": Format.CSV, ".htm": Format.HTML, ".html": Format.HTML, ".json": Format.JSON,
              ".markdown": Format.MARKDOWN, ".md": Format.MARKDOWN}  # fmt: skip


def add_commands(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog="Example: balance report results/ -o page.html")(report)


def report(
    results: Annotated[
        list[Path],
        typer.Argument(help="Folders of results, as `balance compare` makes them; merged.", show_default=False),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write; its ending chooses the form.", show_default=False),
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", "-f", help="The form, where the file's ending does not say.")
    ] = None,
    part: Annotated[
        Part | None, typer.Option(help="One table of the Markdown form only.", show_default=False)
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Earlier results: show what changed since them.", show_default=False)
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, help="Percent by which a figure may become worse before this exits with 1.")
    ] = 10,
    price: Annotated[
        float | None,
        typer.Option(
            min=0, help="What an hour of the proving machine costs, for costs in money.", show_default=False
        ),
    ] = None,
    currency: Annotated[str, typer.Option(help="The currency of the price.")] = "USD",
    title: Annotated[str | None, typer.Option(help="The page's title.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Show stored results as tables or as one page that needs nothing else; compare them with earlier ones."""
    from balance_core.compare import loading, metrics, rows
    from balance_core.errors import ConfigError

    chosen = Format.JSON if json else form or (_BY_ENDING.get(out.suffix.lower()) if out else None) or Format.TABLE
    if out is not None and chosen is Format.TABLE:
        raise ConfigError(f"the ending of {out.name!r} names no form", hint="use .html, .md, .csv or .json")
    if not all(math.isfinite(number) for number in (price or 0, threshold)):
        raise ConfigError("a price and a threshold are numbers", hint="for example: --price 0.08 --threshold 10")
    rate = metrics.Price(price, currency) if price is not None else None
    if baseline is not None:
        _show_changes(baseline, results, threshold / 100, json=chosen is Format.JSON)
        return
    table = rows.table(loading.load(*results), price=rate)
    if chosen is Format.TABLE:
        _print_table(table)
        return
    text = _text(table, chosen, part, title)
    if out is None:
        typer.echo(text, nl=False)
        return
    from balance_core.files import write_output

    write_output(out, text.encode())
    typer.echo(f"written: {out}", err=True)


def _text(table: Table, form: Format, part: Part | None, title: str | None) -> str:
    from balance_core.compare.report import text

    if form is Format.HTML:
        from balance_core.compare.report.page import TITLE, page

        return page(table, title=title or TITLE)
    if form is Format.MARKDOWN:
        whole = {Part.SUPPORT: text.support, Part.SECURITY: text.security, Part.FIGURES: text.figures}
        return whole[part](table) if part else text.markdown(table)
    return text.csv_text(table) if form is Format.CSV else text.json_text(table)


def _print_table(table: Table) -> None:
    from rich.console import Console

    from balance_core.compare.report.terminal import show_table

    console = Console(highlight=False)
    if not console.is_terminal:  # what reads a pipe folds lines for itself
        console = Console(highlight=False, width=200)
    show_table(table, console)


def _show_changes(old: Path, new: list[Path], threshold: float, *, json: bool) -> None:
    from balance_core.compare import baseline, loading, rows
    from balance_core.compare.report import changes
    from balance_core.errors import ConfigError

    found = baseline.compare(rows.table(loading.load(old)), rows.table(loading.load(*new)), threshold=threshold)
    if not found.changes and not found.broken and not found.mended:
        raise ConfigError(
            "no cell of the baseline was measured again",
            hint="cells are the same if machine, model, backend, settings and conditions are",
        )
    if json:
        typer.echo(changes.as_json(found), nl=False)
    else:
        for line in changes.lines(found):
            typer.echo(line)
    if not found.ok:
        raise typer.Exit(1)
