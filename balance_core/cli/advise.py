"""`balance advise`: which backend to use for a model, and why not the others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from balance_core.compare.advice import Advice, Needs, Option
    from balance_core.compare.table import Row

_UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def add_commands(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog="Example: balance advise model.onnx --max-prove 10s --max-memory 4G --needs onchain")(advise)


def advise(
    model: Annotated[Path, typer.Argument(help="The model: .onnx, or what a converter reads.", show_default=False)],
    *,
    inputs: given.InputOption = None,
    max_setup: Annotated[
        str | None, typer.Option(help="What the setup may take, as 90s, 5min or 2h.", show_default=False)
    ] = None,
    max_prove: Annotated[
        str | None, typer.Option(help="What a proof may take, as 500ms, 10s or 2min.", show_default=False)
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="The memory that may be used, as 4G or 500M.", show_default=False)
    ] = None,
    needs: Annotated[
        str | None,
        typer.Option(
            help="Properties that proofs must have, by commas: zero_knowledge,onchain,...", show_default=False
        ),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(help="Stored results to go by; by default ./results, where there is one.", show_default=False),
    ] = None,
    machine: Annotated[
        str | None, typer.Option(help="What this machine is called in the results.", show_default=False)
    ] = None,
    dim: given.DimensionOption = None,
    trust_pickle: given.TrustPickleOption = False,
    json: given.JsonOption = False,
) -> None:
    """Rank the installed backends for a model by what they cost here, and say why the others are ruled out."""
    from balance_core.compare.advice import Counsel, Needs

    asked = Needs(
        setup_seconds=duration(max_setup),
        prove_seconds=duration(max_prove),
        memory_bytes=given.size(max_memory) if max_memory else None,
        properties=tuple(word.strip() for word in (needs or "").split(",") if word.strip()),
    )
    rows, name = _stored(results, machine)
    counsel = Counsel(
        model,
        asked,
        rows,
        name,
        dimensions=given.dimensions(dim),
        converter_settings={"trust_pickle": True} if trust_pickle else {},
    )
    found = counsel.advise()
    if json:
        _show_json(found, model, inputs, asked)
    else:
        _show(found, model, inputs, asked)
    if not found.options:
        raise typer.Exit(4)


def duration(text: str | None) -> float | None:
    """Read a duration such as 500ms, 10s, 2min or 1h; raises ConfigError."""
    from balance_core.errors import ConfigError

    if text is None:
        return None
    read = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]*)", text.strip().lower())
    if read is None or read[2] not in _UNITS or float(read[1]) == 0:
        raise ConfigError(f"{text!r} is not a duration", hint="for example: --max-prove 10s")
    return float(read[1]) * _UNITS[read[2]]


def _stored(folders: list[Path] | None, machine: str | None) -> tuple[tuple[Row, ...], str]:
    """Return the rows of stored results, and what this machine is called in them."""
    if folders is None:
        folders = [Path("results")] if Path("results").is_dir() else []
    if not folders:
        return (), ""
    from balance_core.compare import loading, rows
    from balance_core.compare.machine import describe

    return rows.table(loading.load(*folders)).rows, machine or describe().name


def _show(found: Advice, model: Path, inputs: Path | None, asked: Needs) -> None:
    from balance_core.cli.display import field

    for place, option in enumerate(found.options, 1):
        field(f"{place}.", f"{option.backend} {option.settings}".rstrip() + f": {_costs(option)} ({option.basis})")
        for note in option.notes:
            field("", f"note: {note}")
    for dropped in found.dropped:
        name = f"{dropped.backend} {dropped.settings}".rstrip()
        for place, reason in enumerate(dropped.reasons):
            field("dropped" if place == 0 else "", f"{name}: {reason}")
    if not found.options:
        typer.echo("no installed backend does what is asked", err=True)
        typer.echo("hint: ask for less, or install another: `balance plugins list` shows what is there", err=True)
        return
    typer.echo(f"next: {found.options[0].command(str(model), str(inputs) if inputs else None, asked)}")
    if any(option.basis == "estimated" for option in found.options):
        typer.echo("hint: balance doctor --calibrate fits estimates to this machine; balance compare measures")


def _costs(option: Option) -> str:
    from balance_core.compare.report.numbers import show

    parts = [
        f"{words} {show(option.costs[name], unit)}"
        for name, words, unit in (
            ("prove_seconds", "proof", "s"),
            ("setup_seconds", "setup", "s"),
            ("memory_bytes", "memory", "B"),
            ("top1_agreement", "decides as the float model on", "share"),
        )
        if name in option.costs
    ]
    return ", ".join(parts) or "costs are not known"


def _show_json(found: Advice, model: Path, inputs: Path | None, asked: Needs) -> None:
    import json as writer

    value = {
        "options": [
            {
                "backend": option.backend,
                "settings": option.settings,
                "basis": option.basis,
                "costs": dict(option.costs),
                "notes": list(option.notes),
                "command": option.command(str(model), str(inputs) if inputs else None, asked),
            }
            for option in found.options
        ],
        "dropped": [
            {"backend": dropped.backend, "settings": dropped.settings, "reasons": list(dropped.reasons)}
            for dropped in found.dropped
        ],
    }
    typer.echo(writer.dumps(value))
