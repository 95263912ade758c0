"""`balance plugins`: what is installed, what it takes, whether it is right, and how to start one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from balance_core.registry import PluginInfo

app = typer.Typer(
    help="Plugins: proof systems, formats, stores and chains.",
    no_args_is_help=True,
    epilog="Example: balance plugins show ezkl",
)

NameArgument = Annotated[str, typer.Argument(help="The plugin's name.", show_default=False)]
KindOption = Annotated[
    str | None,
    typer.Option("--kind", help="backends, verifiers, converters, storage, chains or executors.", show_default=False),
]


@app.command("list", epilog="Example: balance plugins list")
def show_all() -> None:
    """List the installed plugins."""
    from balance_core import registry

    for kind in registry.KINDS:
        for plugin in registry.describe(kind):
            typer.echo(f"{kind:<11} {plugin.name:<16} {plugin.distribution} {plugin.version}")


@app.command(epilog="Example: balance plugins show ezkl")
def show(name: NameArgument, kind: KindOption = None, setting: given.SettingOption = None) -> None:
    """Show what a plugin promises under its settings, and the settings that `-o KEY=VALUE` takes."""
    from balance_core import registry
    from balance_core.cli.display import field

    plugin = _find(name, kind)
    loaded = registry.load(plugin.kind, name)
    field("plugin", f"{name} ({plugin.kind}) from {plugin.distribution} {plugin.version}")
    field("about", (loaded.__doc__ or "").strip().partition("\n")[0])
    capabilities = getattr(loaded, "capabilities", None)
    settings = given.plugin_settings(setting)["settings"]
    if capabilities is not None:
        promised = registry.create(plugin.kind, name, settings).promises.model_dump(exclude={"schema_version"})
        for promise, possible in capabilities.model_dump(exclude={"schema_version"}).items():
            value = promised[promise]
            shown = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
            field(promise.replace("_", " "), shown if value == possible else f"{shown}, unless other settings say so")
    fields = loaded.settings_class.model_fields
    typer.echo("settings:" if fields else "it has no settings")
    for named, described in fields.items():
        typer.echo(f"  {named}={_shown(described.default)}\n      {described.description}")


def _shown(value: object) -> str:
    return "(chosen)" if value is None else str(value)


def _find(name: str, kind: str | None) -> PluginInfo:
    """Return the plugin of that name: of the kind asked for, or of the first kind that has one."""
    from balance_core import registry
    from balance_core.errors import ConfigError

    if kind is not None and kind not in registry.KINDS:
        raise ConfigError(f"there is no kind {kind!r} of plugins", hint=f"kinds are {', '.join(registry.KINDS)}")
    kinds = [kind] if kind else list(registry.KINDS)
    found = next((one for one in kinds if name in registry.names(one)), kinds[0])
    return registry.info(found, name)


@app.command(epilog="Example: balance plugins check ezkl")
def check(name: NameArgument, kind: KindOption = None) -> None:
    """Run the conformance kit over an installed plugin."""
    from balance_core import testing

    code = testing.check(_find(name, kind).kind, name)
    raise typer.Exit(code)


@app.command(epilog="Example: balance plugins new mine --kind backends")
def new(
    name: NameArgument,
    kind: Annotated[str, typer.Option("--kind", help="backends, storage, chains or converters.")] = "backends",
    folder: Annotated[Path, typer.Option("--folder", help="Where to write it.")] = Path(),
) -> None:
    """Write the skeleton of a plugin that installs, runs and passes the kit, for you to fill in."""
    from balance_core.scaffold import write_plugin

    written = write_plugin(name, kind, folder)
    for path in written:
        typer.echo(path)
    typer.echo(f"next: pip install -e {written[0].parent} && balance plugins check {name}")
