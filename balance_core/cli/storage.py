"""`balance storage`: content by its address, in any store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from balance_core.contracts import Storage

app = typer.Typer(
    help="Content by its address: put, get, list, and copy from store to store.",
    no_args_is_help=True,
    epilog="Example: balance storage put proof.balance --storage ipfs",
)

StoreOption = Annotated[str, typer.Option("--storage", "-s", help="Which store.")]
SizeOption = Annotated[str, typer.Option("--max-size", help="The most to take of one content, as 4G or 500M.")]
AddressArgument = Annotated[str, typer.Argument(help="The content's address.", show_default=False)]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("-o", metavar="KEY=VALUE", help="A setting of the store. Repeatable.", show_default=False),
]
_LARGEST = "4G"


def _store(name: str, options: list[str] | None) -> Storage:
    """Open a store with its options, which may carry the prefix that other commands want."""
    from balance_core import registry
    from balance_core.errors import ConfigError
    from balance_core.settings import read_options

    tables = read_options(options or [])
    unknown = set(tables) - {"backend", "storage"}
    if unknown:
        raise ConfigError(
            f"no option here has the prefix {min(unknown)!r}", hint="a store's own options need no prefix"
        )
    store: Storage = registry.create("storage", name, {**tables.get("backend", {}), **tables.get("storage", {})})
    return store


@app.command(epilog="Example: balance storage put proof.balance --storage ipfs")
def put(
    path: Annotated[Path, typer.Argument(help="The file, or - for standard input.", show_default=False)],
    storage: StoreOption = "local",
    option: SettingOption = None,
) -> None:
    """Store and pin a file's content, and print its address."""
    from balance_core.errors import ConfigError

    store = _store(storage, option)
    if str(path) == "-":
        typer.echo(store.put(sys.stdin.buffer))
        return
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error.strerror}", hint="check the path") from error
    with stream:
        typer.echo(store.put(stream))


@app.command(epilog="Example: balance storage get bafkrei... --out proof.balance --storage ipfs")
def get(
    cid: AddressArgument,
    out: Annotated[Path, typer.Option("--out", help="The file to write, or - for standard output.")] = Path("-"),
    max_size: SizeOption = _LARGEST,
    storage: StoreOption = "local",
    option: SettingOption = None,
) -> None:
    """Fetch content, every byte of it checked against its address."""
    from balance_core.files import output_file

    with _store(storage, option).open(cid, max_size=given.size(max_size)) as stream:
        if str(out) == "-":
            _copy(stream, sys.stdout.buffer)
            sys.stdout.flush()
            return
        with output_file(out) as target:
            _copy(stream, target)
    typer.echo(f"written to {out}")


def _copy(stream: BinaryIO, target: BinaryIO) -> None:
    from balance_core.cid import chunks_of

    target.writelines(chunks_of(stream))


@app.command(epilog="Example: balance storage pin bafkrei... --storage ipfs")
def pin(cid: AddressArgument, storage: StoreOption = "local", option: SettingOption = None) -> None:
    """Keep content until it is unpinned."""
    _store(storage, option).pin(cid)
    typer.echo(f"pinned {cid}")


@app.command(epilog="Example: balance storage unpin bafkrei... --storage ipfs")
def unpin(cid: AddressArgument, storage: StoreOption = "local", option: SettingOption = None) -> None:
    """Allow the store to forget content."""
    _store(storage, option).unpin(cid)
    typer.echo(f"unpinned {cid}")


@app.command("ls", epilog="Example: balance storage ls --storage ipfs")
def show(storage: StoreOption = "local", option: SettingOption = None) -> None:
    """List the addresses of all pinned content."""
    for address in _pinned(_store(storage, option), storage):
        typer.echo(address)


def _pinned(store: Storage, name: str) -> Iterable[str]:
    from balance_core.contracts import ListsContent
    from balance_core.errors import ConfigError

    if not isinstance(store, ListsContent):
        raise ConfigError(f"the store {name!r} cannot say what it keeps", hint="name the addresses that you want")
    return store.pinned()


@app.command(epilog="Example: balance storage doctor --storage ipfs -o gateways=https://gateway.example")
def doctor(storage: StoreOption = "local", option: SettingOption = None) -> None:
    """Try what a store depends on, change nothing, and say what to type where something is missing."""
    from balance_core.cli.display import field
    from balance_core.contracts import Diagnoses
    from balance_core.errors import StorageError

    store = _store(storage, option)
    if not isinstance(store, Diagnoses):
        field(storage, "ready: it depends on nothing that could be tried")
        return
    wrong = []
    for finding in store.diagnose():
        field(finding.subject, finding.found if finding.hint is None else f"wrong: {finding.found}")
        if finding.hint is not None:
            wrong.append(finding)
    if wrong:
        count = f"{len(wrong)} things are" if len(wrong) > 1 else f"{wrong[0].subject} is"
        raise StorageError(f"the store {storage!r} cannot be relied on: {count} wrong", hint=wrong[0].hint)


@app.command(epilog="Example: balance storage mirror --from local --to ipfs -o to.rpc_url=http://127.0.0.1:5001")
def mirror(
    source: Annotated[str, typer.Option("--from", help="The store to copy from.", show_default=False)],
    target: Annotated[str, typer.Option("--to", help="The store to copy to.", show_default=False)],
    cid: Annotated[
        list[str] | None, typer.Argument(help="Addresses; by default all pinned.", show_default=False)
    ] = None,
    max_size: SizeOption = _LARGEST,
    option: Annotated[
        list[str] | None,
        typer.Option("-o", metavar="KEY=VALUE", help="from.KEY or to.KEY. Repeatable.", show_default=False),
    ] = None,
) -> None:
    """Copy content that the target does not hold yet; what was copied stays, so it can be run again."""
    from balance_core import mirroring, registry
    from balance_core.errors import ConfigError, StorageError
    from balance_core.settings import read_options

    tables: dict[str, dict[str, Any]] = read_options(option or [])
    unknown = set(tables) - {"from", "to"}
    if unknown:
        raise ConfigError("an option is of one of the two stores", hint="for example: -o to.rpc_url=URL")
    first: Storage = registry.create("storage", source, tables.get("from"))
    second: Storage = registry.create("storage", target, tables.get("to"))
    counts = dict.fromkeys(mirroring.Outcome, 0)
    for step in mirroring.mirror(first, second, cid or _pinned(first, source), max_size=given.size(max_size)):
        counts[step.outcome] += 1
        if step.outcome is not mirroring.Outcome.PRESENT:
            typer.echo(f"{step.outcome:<8} {step.address}{f'  {step.why}' if step.why else ''}")
    copied, present, failed = (counts[outcome] for outcome in mirroring.Outcome)
    typer.echo(f"{copied} copied, {present} there already, {failed} failed")
    if failed:
        raise StorageError(f"{failed} could not be copied", hint="run it again: what was copied stays")
