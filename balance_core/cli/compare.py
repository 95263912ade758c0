"""`balance compare`: every backend on identical models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.compare.cells import Measured
    from balance_core.compare.engine import Contender, Outcome
    from balance_core.compare.results import Cell
    from balance_core.compare.subjects import Subject
    from balance_core.stages import Progress

ModelsArgument = Annotated[
    list[Path] | None, typer.Argument(help="Models: .onnx, or what a converter reads.", show_default=False)
]
SuiteOption = Annotated[
    str | None, typer.Option(help="Models with samples that come along: mnist, classic ...", show_default=False)
]
BackendsOption = Annotated[
    list[str] | None,
    typer.Option("--backend", "-b", help="A proof system; repeatable. By default all installed.", show_default=False),
]
InputsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--input",
        "-i",
        help="Inputs: .npy, .npz, .json or .csv; one for all models, or one for each, in their order. By default "
        "the file of the model's name beside it.",
        show_default=False,
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        metavar="BACKEND.KEY=VALUE",
        help="A setting of one backend, or of the converter: converter.KEY. Repeatable.",
        show_default=False,
    ),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help="A .toml or .json file with settings for each backend; of a list, each entry is a cell.",
        show_default=False,
    ),
]
ResultsOption = Annotated[Path, typer.Option("--results", "-r", help="The folder of results; it is continued.")]
_MAX_SETTINGS_BYTES = 2**20


def add_commands(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog="Example: balance compare model.onnx --backend ezkl --backend zkml_halo2 --input x.npz")(
        compare
    )


def compare(
    models: ModelsArgument = None,
    *,
    suite: SuiteOption = None,
    backends: BackendsOption = None,
    inputs: InputsOption = None,
    samples: given.SamplesOption = None,
    setting: SettingOption = None,
    settings: SettingsOption = None,
    results: ResultsOption = Path("results"),
    machine: Annotated[
        str | None, typer.Option(help="The name of this machine's folder; made of its hardware otherwise.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="Rounds through all backends.")] = 3,
    repeat_below: Annotated[
        float, typer.Option(min=0, help="Seconds; a stage that takes longer is measured once.")
    ] = 60.0,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds that each stage may take.")] = 3600.0,
    memory: given.MemoryOption = None,
    threads: given.ThreadsOption = None,
    weights: Annotated[
        str, typer.Option(help="public or private: asked of each backend that can hide weights.")
    ] = "public",
    seed: Annotated[int, typer.Option(min=0, help="Of the order, and of what is proven and altered.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="One round and fewer checks: a first look.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Measure again what did not end well.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Measure all again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be measured, and stop.")] = False,
    share: Annotated[
        bool, typer.Option("--share", help="Run beside another comparison; every result tells.")
    ] = False,
    dim: given.DimensionOption = None,
    trust_pickle: given.TrustPickleOption = False,
    json: given.JsonOption = False,
) -> None:
    """Measure backends on the same models and inputs, and keep one result a cell; what is there is not done again."""
    from balance_core.compare import engine
    from balance_core.errors import ConfigError
    from balance_core.workspace import Workspace

    if weights not in {"public", "private"}:
        raise ConfigError(f"weights are public or private, not {weights!r}")
    tables = _tables(setting)
    converter = tables.pop("converter", {}) | ({"trust_pickle": True} if trust_pickle else {})
    contenders = _contenders(backends or [], tables, settings)
    chosen = engine.Options(
        results=results,
        machine=_machine(machine),
        timeout_seconds=timeout,
        memory_bytes=given.size(memory) if memory else None,
        threads=threads,
        repeats=repeat,
        repeat_below_seconds=repeat_below,
        seed=seed,
        weights=weights,
        quick=quick,
        force=force,
        retry_failed=retry_failed,
        dry_run=dry_run,
        shared=share,
    )
    show = _Lines(quiet=json)
    with Workspace.default().scratch() as folder:
        found = _subjects(models or [], inputs or [], samples, given.dimensions(dim), converter)
        found += _suite(suite, folder)
        if not found:
            raise ConfigError("there is nothing to compare", hint="give models, or --suite smoke")
        try:
            outcome = engine.compare(found, contenders, chosen, show)
        finally:
            show.close()
    _report(outcome, results, dry_run=dry_run, json=json)


def _tables(setting: list[str] | None) -> dict[str, dict[str, Any]]:
    """Sort `-o` options by backend; raises ConfigError for one that names none."""
    from balance_core.errors import ConfigError
    from balance_core.settings import read_options

    tables = read_options(setting or [])
    if "backend" in tables:
        name = min(tables["backend"])
        raise ConfigError(f"setting {name!r} names no backend", hint=f"write -o BACKEND.{name}=VALUE")
    return tables


def _contenders(backends: Sequence[str], tables: dict[str, dict[str, Any]], settings: Path | None) -> list[Contender]:
    """Return the backends with their settings: those named, or all that are installed but the reference."""
    from balance_core import registry
    from balance_core.compare.engine import Contender
    from balance_core.errors import ConfigError
    from balance_core.session import REFERENCE_BACKEND

    names = list(dict.fromkeys(backends)) or [
        name for name in registry.names("backends") if name != REFERENCE_BACKEND
    ]
    if not names:
        raise ConfigError("no proof system is installed", hint="pip install balance-ezkl")
    filed = _settings_file(settings) if settings else {}
    for name in (*tables, *filed):
        if name not in names:
            raise ConfigError(f"there are settings for {name!r}, which is not compared", hint=f"add --backend {name}")
    return [
        Contender(name, {**variant, **tables.get(name, {})}) for name in names for variant in filed.get(name) or [{}]
    ]


def _settings_file(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Read settings by backend; raises ConfigError."""
    import tomllib

    from balance_core import canonical
    from balance_core.errors import ConfigError
    from balance_core.files import read_limited

    data = read_limited(path, max_size=_MAX_SETTINGS_BYTES, what="settings file")
    if path.suffix.lower() == ".toml":
        try:
            value: Any = tomllib.loads(data.decode())
        except ValueError as error:
            raise ConfigError(f"{str(path)!r} is no TOML: {error}") from error
    else:
        value = canonical.decode(data, max_size=_MAX_SETTINGS_BYTES, what=str(path))
    found: dict[str, list[dict[str, Any]]] = {}
    for name, variants in value.items() if isinstance(value, dict) else ():
        found[name] = [variants] if isinstance(variants, dict) else variants
        if not isinstance(found[name], list) or not all(isinstance(one, dict) for one in found[name]):
            raise ConfigError(f"{str(path)!r}: {name} is neither a table nor a list of tables")
    if not found:
        raise ConfigError(
            f"{str(path)!r} holds no settings", hint="for example, in TOML: [[ezkl]] and input_scale = 7"
        )
    return found


def _subjects(
    models: Sequence[Path],
    inputs: Sequence[Path],
    samples: Path | None,
    dimensions: dict[str, int],
    converter: dict[str, Any],
) -> list[Subject]:
    """Join models and inputs; raises ConfigError where it is not clear which inputs are whose."""
    from balance_core.compare.subjects import Subject
    from balance_core.errors import ConfigError

    if len(inputs) not in {0, 1, len(models)}:
        raise ConfigError(
            f"{len(models)} models and {len(inputs)} files of inputs do not go together",
            hint="give one --input for all models, or one for each, in their order",
        )
    files = list(inputs) if len(inputs) == len(models) else [*inputs, None][:1] * len(models)
    return [
        Subject(model=model, inputs=file, samples=samples, dimensions=dimensions, converter_settings=converter)
        for model, file in zip(models, files, strict=True)
    ]


def _suite(name: str | None, folder: Path) -> list[Subject]:
    """Return the models of a suite; those made from a seed are written into the folder."""
    if name is None:
        return []
    from balance_core.compare import suites
    from balance_core.compare.subjects import Subject

    return [
        Subject(model=one.path, inputs=one.inputs, name=one.name, suite=name, family=one.family)
        for one in suites.load(name, folder)
    ]


def _machine(name: str | None) -> str | None:
    import re

    from balance_core.errors import ConfigError

    if name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise ConfigError(f"{name!r} is no name of a machine", hint="use small letters, digits, dots and dashes")
    return name


def _report(outcome: Outcome, results: Path, *, dry_run: bool, json: bool) -> None:
    """Say what was done, and show all results that the folder holds."""
    import json as writer

    cells = {
        "measured": [cell.path for cell in outcome.measured],
        "kept": [cell.path for cell in outcome.kept],
        "planned": list(outcome.planned),
    }
    if json:
        typer.echo(writer.dumps(cells))
        return
    if dry_run:
        for path in outcome.planned:
            typer.echo(path)
        typer.echo(f"{len(outcome.planned)} cells to measure, {len(outcome.kept)} are there already", err=True)
        return
    from balance_core.cli.report import report

    report([results])
    typer.echo(f"{len(outcome.measured)} cells measured, {len(outcome.kept)} were there already: {results}", err=True)
    typer.echo(f"next: balance report {results} -o page.html", err=True)


class _Lines:
    """Tells of a comparison on standard error: plain lines, and on a terminal a live one below them."""

    def __init__(self, *, quiet: bool) -> None:
        from balance_core.cli.display import Display

        self._quiet = quiet
        self._display = Display(quiet=quiet)

    def watch(self, progress: Progress) -> None:
        """Redraw the live line."""
        self._display.watch(progress)

    def coverage(self, cells: Sequence[Measured]) -> None:
        """Say what is not covered, before anything is timed."""
        for cell in cells:
            self._say(f"  {cell.choice.subject.record.name} on {cell.choice.backend.record.name}: {_covered(cell)}")
            for problem in cell.problems:
                mend = f" ({problem.mend})" if problem.mend else ""
                self._say(f"    {problem.node} [{problem.operator}]: {problem.reason}{mend}")

    def step(self, done: int, total: int, cell: Measured, what: str) -> None:
        """Name the cell that is measured now."""
        from balance_core.cli.interrupts import raise_if_lost

        raise_if_lost()
        name = f"{cell.choice.subject.record.name} on {cell.choice.backend.record.name}"
        self._say(f"[{done + 1}/{total}] {name}, {what}")

    def ended(self, cell: Cell) -> None:
        """Say how a cell ended."""
        why = f": {cell.reason}" if cell.reason else ""
        self._say(f"  {cell.model.name} on {cell.backend.name}: {cell.status}{why}")

    def close(self) -> None:
        """Clear the live line."""
        self._display.close()

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._display.close()
            typer.echo(line, err=True)


def _covered(cell: Measured) -> str:
    """Return how a cell stands before anything is timed, in words."""
    from balance_core.cli.display import memory

    if not cell.alive:
        count = len(cell.problems)
        return f"{count} nodes are not covered" if count else f"{cell.status}: {cell.reason}"
    cost = cell.support.estimate if cell.support else None
    expected = []
    if cost is not None and cost.prove_seconds is not None:
        expected.append(f"about {cost.prove_seconds:.0f} s to prove")
    if cost is not None and cost.memory_bytes is not None:
        expected.append(f"about {memory(cost.memory_bytes).strip()}")
    return "covered" + (f", {', '.join(expected)}" if expected else "")
