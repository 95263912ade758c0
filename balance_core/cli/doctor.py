"""`balance doctor`: what is installed, what is missing, and what to type."""

from __future__ import annotations

import typer


def add_commands(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog="Example: balance doctor")(doctor)


def doctor() -> None:
    """Say what is installed, what is missing, and what to type."""
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
