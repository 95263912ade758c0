"""`balance ledger`: the embedded chain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from balance_core.builtin.ledger import Ledger
    from balance_core.builtin.ledger_entry import LedgerHead, SignedHead
    from balance_core.chain import ChainEvent

app = typer.Typer(
    help="The embedded ledger: signed entries in order, in one file.",
    no_args_is_help=True,
    epilog="Example: balance ledger head --out head.json",
)

LedgerOption = Annotated[Path | None, typer.Option("--ledger", help="Another ledger's file.", show_default=False)]
KeyOption = Annotated[str, typer.Option("--key", help="The signing key's name.")]


def _open(path: Path | None, *, read_only: bool = True, key: str = "default") -> Ledger:
    from balance_core.builtin.ledger import Ledger, LedgerSettings
    from balance_core.errors import ConfigError

    ledger = Ledger(LedgerSettings(path=path, key=key, read_only=read_only))
    if read_only and not ledger.path.exists():
        raise ConfigError(f"there is no ledger at {str(ledger.path)!r}", hint="`balance run` starts one")
    return ledger


@app.command("list", epilog="Example: balance ledger list")
def show(ledger: LedgerOption = None, json: given.JsonOption = False) -> None:
    """List the entries, oldest first."""
    for event in _open(ledger).events():
        if json:
            typer.echo(event.to_json().decode())
        else:
            typer.echo(f"{event.ref.entry:>5}  {event.type:<10} by {event.signer[:16]}  {_about(event)}")


def _about(event: ChainEvent) -> str:
    """Return what identifies an entry's record."""
    from balance_core.chain import RECORD_KINDS

    record = RECORD_KINDS[event.record_kind].from_value(event.record)
    named = getattr(record, "name", "")
    version = f" version {record.version}" if hasattr(record, "version") else ""
    for attribute in ("proof_id", "registration_id"):
        if hasattr(record, attribute):
            return f"{named}{version} {attribute.removesuffix('_id')} {getattr(record, attribute)}".strip()
    return str(named)


@app.command(epilog="Example: balance ledger head --out head.json")
def head(
    ledger: LedgerOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write it to a file.", show_default=False)] = None,
    sign: Annotated[bool, typer.Option("--sign", help="Countersign it with your key.")] = False,
    key: KeyOption = "default",
) -> None:
    """Show the newest entry's hash, to hand to others: against it, a rewrite or a cut tail is found."""
    from balance_core.files import write_whole
    from balance_core.keys import DEFAULT_KEY, KeyStore
    from balance_core.workspace import Workspace

    opened = _open(ledger)
    newest = opened.head()
    record = newest.to_json()
    if sign:
        store = KeyStore(Workspace.default().keys)
        record = opened.countersign(newest, store.default() if key == DEFAULT_KEY else store.load(key)).to_json()
    if out is not None:
        write_whole(out, record)
        typer.echo(f"written to {out}: entry {newest.length}, hash {newest.hash}")
    else:
        typer.echo(record.decode())


@app.command(epilog="Example: balance ledger verify --head head.json")
def verify(
    ledger: LedgerOption = None,
    head: Annotated[
        Path | None, typer.Option("--head", help="A head that was handed out before.", show_default=False)
    ] = None,
) -> None:
    """Check every entry, its signature and its place, and that a head handed out before still stands."""
    report = _open(ledger).verify(_read_head(head) if head else None)
    typer.echo(f"the ledger is whole: {report.head.length} entries, head {report.head.hash}")
    if head is None:
        typer.echo("by itself it cannot show that its owner did not rewrite it: check a kept head with --head")


def _read_head(path: Path) -> LedgerHead | SignedHead:
    from balance_core.builtin.ledger_entry import LedgerHead, SignedHead
    from balance_core.errors import ConfigError
    from balance_core.files import read_limited

    data = read_limited(path, max_size=10_000, what="head").strip()
    try:
        return LedgerHead.from_json(data)
    except ConfigError:
        return SignedHead.from_json(data)


@app.command(epilog="Example: balance ledger revoke 3f2a... --reason 'wrong weights'")
def revoke(
    registration: Annotated[str, typer.Argument(help="The registration's id or name.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, for everybody to read.")] = "",
    ledger: LedgerOption = None,
    key: KeyOption = "default",
) -> None:
    """Withdraw a registration of yours; proofs under it are then no longer vouched for."""
    from balance_core import registering
    from balance_core.chain import Revocation
    from balance_core.workspace import Workspace

    found = registering.find(Workspace.default(), registration).registration
    revocation = Revocation(registration_id=found.registration_id, reason=reason)
    reference = _open(ledger, read_only=False, key=key).revoke(revocation, key=f"revoke/{found.registration_id}")
    typer.echo(f"revoked {found.name} version {found.version} in entry {reference.entry}")
