"""`balance doctor`: what is installed, what is missing, and what to type."""

from __future__ import annotations

from typing import Annotated

import typer


def add_commands(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog="Example: balance doctor")(doctor)


def doctor(
    *,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure small models with each backend, and fit estimates to it.")
    ] = False,
) -> None:
    """Say what is installed, what is missing, and what to type."""
    if calibrate:
        _calibrate()
        return
    import platform
    from importlib import metadata

    from balance_core import measure, registry
    from balance_core.cli.display import field, memory
    from balance_core.keys import KeyStore
    from balance_core.srs import SrsStore
    from balance_core.workspace import Workspace

    workspace = Workspace.default()
    field("balance-core", metadata.version("balance-core"))
    field("python", platform.python_version())
    field("processors", measure.processors())
    field("free memory", memory(measure.available_memory()).strip())
    field("data folder", workspace.root)
    advice: list[str] = []
    for kind in registry.KINDS:
        for name in registry.names(kind):
            field(kind, f"{name}: {_condition(kind, name, advice)}")
    if not registry.names("backends"):
        advice.append("install a proof system: pip install balance-ezkl")
    strings = SrsStore(workspace.srs).all()
    trusted = [srs for srs in strings if not srs.setup_trust.is_test_only]
    field("srs", f"{len(strings)} in the store, {len(trusted)} from a ceremony")
    if not trusted:
        advice.append("proofs for others need a ceremony's parameters: balance srs import FILE (see docs/srs.md)")
    field("keys", ", ".join(KeyStore(workspace.keys).names()) or "none yet: the first registration makes one")
    for line in advice:
        typer.echo(f"hint: {line}")


def _condition(kind: str, name: str, advice: list[str]) -> str:
    """Say whether a plugin loads, and add to the advice if it does not."""
    from balance_core import registry
    from balance_core.errors import PluginError

    try:
        plugin = registry.info(kind, name)
        registry.load(kind, name)
    except PluginError as error:
        if error.hint:
            advice.append(error.hint)
        return f"broken: {error}"
    return f"ready ({plugin.distribution} {plugin.version})"


def _calibrate() -> None:
    """Fit the estimates of every sound backend to this machine, in under a minute."""
    from balance_core import registry
    from balance_core.cli.display import field
    from balance_core.compare import calibration, trial
    from balance_core.errors import BalanceError, PluginError, ToolFailed
    from balance_core.workspace import Workspace

    backends = []
    for name in registry.names("backends"):
        try:
            if registry.load("backends", name).capabilities.sound:
                backends.append(name)
        except PluginError as error:
            field(name, f"broken: {error}")
    workspace = Workspace.default()
    found = trial.calibrate(workspace, backends, tell=lambda line: typer.echo(line, err=True))
    for name, made in found.items():
        if isinstance(made, BalanceError):
            field(name, f"could not be measured: {made}")
            continue
        field(name, f"{made.models} models, kept in {calibration.path(workspace, name)}")
        for figure, line in sorted(made.lines.items()):
            base = f"{line.base / 2**20:.0f} MiB" if figure == "memory_bytes" else f"{line.base:.2f} s"
            field(
                "",
                f"{figure.split('_')[0]}: {base} and {line.slope:.2f} times the estimate of {line.of.split('_')[0]}",
            )
    busy = [made for made in found.values() if not isinstance(made, BalanceError) and made.was_busy]
    if busy:
        typer.echo(
            f"hint: other work ran (load average {max(made.load_average for made in busy):.1f}); on an idle machine "
            "the same command gives times that hold"
        )
    if not backends or all(isinstance(made, BalanceError) for made in found.values()):
        raise ToolFailed("no backend could be measured", hint="`balance doctor` says what is missing")
