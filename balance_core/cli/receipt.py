"""`balance receipt`: what providers signed, and what shows that it is false."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from balance_core.service.client.evidence import Judgement

app = typer.Typer(
    help="Receipts: a provider's signed answers, and evidence against false ones.",
    no_args_is_help=True,
    epilog="Example: balance receipt check receipt.json --bundle proof.balance",
)

_WORDS = {
    "signed": "the provider signed it; a proof would show whether it is true",
    "borne-out": "true: the proof shows the same",
    "refuted": "FALSE: the proof shows another output for the same input; this is evidence against that key",
    "equivocal": "FALSE: the provider signed two outputs for one request; this is evidence against its key",
}


@app.command(epilog="Example: balance receipt check receipt.json --bundle proof.balance")
def check(
    receipt: Annotated[Path, typer.Argument(help="The receipt's file.", show_default=False)],
    *,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="A proof to compare it with.", show_default=False)
    ] = None,
    other: Annotated[
        Path | None, typer.Option("--other", help="Another receipt of the same request.", show_default=False)
    ] = None,
    timeout: given.TimeoutOption = None,
    memory: given.MemoryOption = None,
    json: given.JsonOption = False,
) -> None:
    """Say what a receipt is worth, offline and from its bytes alone; exit code 1 if it is shown to be false.

    Evidence counts only against the key that signed: a receipt of another key, or a proof of another input or under
    another registration, is refused.
    """
    from balance_core.bundle import MAX_BUNDLE_BYTES
    from balance_core.errors import ConfigError
    from balance_core.files import read_limited
    from balance_core.service.client import evidence
    from balance_core.service.client.checking import Checker

    if bundle is not None and other is not None:
        raise ConfigError("a receipt is compared with a bundle or with another receipt, not both at once")
    signed = evidence.read_receipt(read_limited(receipt, max_size=evidence.MAX_RECEIPT_BYTES, what="receipt"))
    if bundle is not None:
        data = read_limited(bundle, max_size=MAX_BUNDLE_BYTES, what="bundle")
        limited = timeout is not None or memory is not None
        checker = Checker(given.limits(timeout, memory, None) if limited else None)
        try:
            judgement = evidence.against_proof(signed, data, checker)
        finally:
            checker.close()
    elif other is not None:
        second = evidence.read_receipt(read_limited(other, max_size=evidence.MAX_RECEIPT_BYTES, what="receipt"))
        judgement = evidence.against_receipt(signed, second)
    else:
        judgement = evidence.by_itself(signed)
    if json:
        typer.echo(judgement.to_json().decode())
    else:
        _show(judgement)
    if judgement.false:
        raise typer.Exit(1)


def _show(judgement: Judgement) -> None:
    from balance_core.cli.display import field

    field("receipt", judgement.receipt_id)
    field("registration", judgement.registration_id)
    field("provider", judgement.provider)
    if not judgement.sound:
        field("note", "the backend is not sound: such a proof convinces only who runs the model himself")
    if judgement.test_setup:
        field("note", "the setup is insecure-test: whoever made it could forge such a proof")
    typer.echo(_WORDS[judgement.finding])


@app.command("list", epilog="Example: balance receipt list")
def show(
    book: Annotated[Path | None, typer.Option("--book", help="Another file of receipts.", show_default=False)] = None,
    json: given.JsonOption = False,
) -> None:
    """List the receipts that were kept, oldest first, checking each."""
    from balance_core.service.client.book import Book
    from balance_core.service.client.clients import BOOK_FILE
    from balance_core.workspace import Workspace

    for signed in Book(book or Workspace.default().root / BOOK_FILE).receipts():
        if json:
            typer.echo(signed.to_json().decode())
        else:
            one = signed.receipt
            typer.echo(f"{one.time}  {one.receipt_id}  registration {one.registration_id[:16]}  proof {one.proof}")
