"""`balance srs`: the store of structured reference strings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from balance_core.contracts import ImportsSrs

app = typer.Typer(
    help="Structured reference strings: the public parameters of KZG provers.",
    no_args_is_help=True,
    epilog="Example: balance srs import kzg17.srs",
)


@app.command("list", epilog="Example: balance srs list")
def show(json: given.JsonOption = False) -> None:
    """List the reference strings of the store, each with the trust that its points deserve."""
    from balance_core.cli.display import memory
    from balance_core.srs import SrsStore
    from balance_core.workspace import Workspace

    found = SrsStore(Workspace.default().srs).all()
    if json:
        from balance_core import canonical

        rows = [
            {"curve": srs.curve, "k": srs.k, "parameters": srs.parameters, "trust": srs.setup_trust.trust.value}
            for srs in found
        ]
        typer.echo(canonical.encode(rows).decode())
        return
    if not found:
        typer.echo("the store is empty; `balance srs import FILE` adds one, and `balance run` makes a test one")
    for srs in found:
        size = memory(srs.path.stat().st_size).strip()
        typer.echo(f"{srs.curve}  k={srs.k:<3} {srs.setup_trust.trust:<14} {size:>10}  {srs.parameters}")


@app.command("import", epilog="Example: balance srs import powersOfTau28_hez_final_15.ptau")
def import_file(
    path: Annotated[
        Path, typer.Argument(help="A ceremony's file (.ptau), or one in the raw KZG format.", show_default=False)
    ],
    k: Annotated[
        int | None, typer.Option("--k", min=1, max=28, help="Take 2^k powers.  [default: all]", show_default=False)
    ] = None,
    backend: given.BackendOption = None,
) -> None:
    """Check a reference string and add it to the store; its trust is told from its points."""
    from balance_core.errors import ToolNotFound
    from balance_core.srs import SrsStore, is_powers_of_tau
    from balance_core.workspace import Workspace

    store = SrsStore(Workspace.default().srs)
    raw_as_it_is = not is_powers_of_tau(path) and k is None
    published: list[str | None] = []
    try:
        importer = _importer(backend)
        added = store.receive(lambda target: published.append(importer.import_srs(path, target, k)))
    except ToolNotFound:
        # The core itself checks single points, not that they belong together (docs/srs.md).
        if not raw_as_it_is or backend is not None:
            raise
        added = store.add(path)
    name = f", published as {published[0]}" if any(published) else ""
    typer.echo(
        f"added {added.curve} k={added.k}, setup trust {added.setup_trust.trust}, parameters {added.parameters}{name}"
    )


def _importer(backend: str | None) -> ImportsSrs:
    """Return the backend named, or the first that can; raises ToolNotFound where there is none."""
    from balance_core import registry
    from balance_core.contracts import ImportsSrs
    from balance_core.errors import ConfigError, PluginError, ToolNotFound

    for name in (backend,) if backend else registry.names("backends"):
        try:
            found = registry.create("backends", name)
        except PluginError:
            if backend:
                raise
            continue  # one that is broken stops no other
        if isinstance(found, ImportsSrs):
            return found
    if backend:
        raise ConfigError(f"the backend {backend} does not import reference strings", hint="leave --backend out")
    raise ToolNotFound(
        "no installed backend reads powers-of-tau files or cuts reference strings", hint="pip install balance-zkml"
    )


@app.command(epilog="Example: balance srs make-test --k 15")
def make_test(
    k: Annotated[int, typer.Option("--k", min=1, max=26, help="The logarithm of its length.", show_default=False)],
    backend: given.BackendOption = None,
) -> None:
    """Make a reference string for tests, whose secret nobody promises to have erased."""
    from functools import partial

    from balance_core import registry
    from balance_core.contracts import ImportsSrs, MakesTestSrs
    from balance_core.errors import ConfigError, ToolNotFound
    from balance_core.srs import CURVE, SrsStore
    from balance_core.workspace import Workspace

    found = [registry.create("backends", name) for name in ((backend,) if backend else registry.names("backends"))]
    makers = [one for one in found if isinstance(one, MakesTestSrs)]
    makers.sort(key=lambda one: not isinstance(one, ImportsSrs))  # these know strings best, and make them fastest
    for maker in makers:
        try:
            made = SrsStore(Workspace.default().srs).make(CURVE, k, partial(maker.make_test_srs, CURVE, k))
        except ToolNotFound:
            if maker is makers[-1]:
                raise
            continue
        typer.echo(f"the store has {made.curve} k={made.k}, setup trust {made.setup_trust.trust}")
        return
    raise ConfigError("no installed backend makes reference strings", hint="pip install balance-zkml")
