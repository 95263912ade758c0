"""`balance ipfs`: archives of content, for carrying it from node to node and for keeping it without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from balance_ipfs.storage import IpfsStorage

app = typer.Typer(
    help="IPFS archives (CAR files); content itself is put and got with `balance storage`.",
    add_completion=False,
    no_args_is_help=True,
    epilog="Example: balance ipfs pack proof.balance proof.car",
)

ArchiveArgument = Annotated[Path, typer.Argument(help="A CAR file.", show_default=False)]
TargetArgument = Annotated[Path, typer.Argument(help="The file to write.", show_default=False)]
AddressArgument = Annotated[str, typer.Argument(help="The content's address.", show_default=False)]
RootOption = Annotated[
    str | None, typer.Option("--cid", help="The address expected; by default the archive's root.", show_default=False)
]
SizeOption = Annotated[str, typer.Option("--max-size", help="The most content to take, as 4G or 500M.")]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("-o", metavar="KEY=VALUE", help="A setting of the storage. Repeatable.", show_default=False),
]


def _storage(given: list[str] | None) -> IpfsStorage:
    from balance_core.settings import read_options
    from balance_ipfs.settings import IpfsSettings
    from balance_ipfs.storage import IpfsStorage

    tables = read_options(given or [])
    values = {**tables.get("backend", {}), **tables.get("storage", {})}
    return IpfsStorage(IpfsSettings.parse(values, owner="ipfs"))


@app.command(epilog="Example: balance ipfs pack proof.balance proof.car")
def pack(
    source: Annotated[Path, typer.Argument(help="The file to pack.", show_default=False)], target: TargetArgument
) -> None:
    """Write a file as an archive, under the address that it has everywhere; needs no node."""
    from balance_ipfs import archive

    typer.echo(archive.pack(source, target))


@app.command(epilog="Example: balance ipfs unpack proof.car proof.balance")
def unpack(
    source: ArchiveArgument, target: TargetArgument, cid: RootOption = None, max_size: SizeOption = "4G"
) -> None:
    """Write the content of an archive to a file, every block checked; needs no node."""
    from balance_core.cli import options
    from balance_ipfs import archive

    typer.echo(archive.unpack(source, target, cid=cid, max_size=options.size(max_size)))


@app.command("import", epilog="Example: balance ipfs import proof.car")
def import_file(
    source: ArchiveArgument, cid: RootOption = None, max_size: SizeOption = "4G", option: SettingOption = None
) -> None:
    """Check an archive and put what it holds onto the node, pinned."""
    from balance_core.cli import options
    from balance_ipfs import archive

    typer.echo(archive.send(_storage(option), source, cid=cid, max_size=options.size(max_size)))


@app.command(epilog="Example: balance ipfs export bafybei... proof.car -o gateways=https://gateway.example")
def export(
    cid: AddressArgument, target: TargetArgument, max_size: SizeOption = "4G", option: SettingOption = None
) -> None:
    """Fetch content from the node or a gateway and write it as an archive, block for block as it is there."""
    from balance_core.cli import options
    from balance_ipfs import archive

    typer.echo(archive.fetch(_storage(option), cid, target, max_size=options.size(max_size)))
