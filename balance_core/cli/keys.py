"""`balance keys`: the user's signing keys."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="Signing keys: who stands behind a registration.",
    no_args_is_help=True,
    epilog="Example: balance keys new work",
)


@app.command("list", epilog="Example: balance keys list")
def show() -> None:
    """List the keys by name, with their public halves."""
    from balance_core.keys import KeyStore
    from balance_core.workspace import Workspace

    store = KeyStore(Workspace.default().keys)
    names = store.names()
    if not names:
        typer.echo("there is no key yet; `balance keys new NAME` makes one, and so does the first registration")
    for name in names:
        typer.echo(f"{name:<20} {store.public(name)}")


@app.command(epilog="Example: balance keys new work")
def new(name: Annotated[str, typer.Argument(help="The key's name.", show_default=False)]) -> None:
    """Make a key; only you can read its file."""
    from balance_core.keys import KeyStore
    from balance_core.workspace import Workspace

    key = KeyStore(Workspace.default().keys).create(name)
    typer.echo(f"made {name}, public half {key.public}")
