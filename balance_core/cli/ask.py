"""`balance ask`: one question to a provider, and everything about the answer checked here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from balance_core.service.client.asking import Answer
    from balance_core.service.client.clients import Client

UrlArgument = Annotated[
    str, typer.Argument(help="The provider's address, as https://provider.example.", show_default=False)
]
RegistrationOption = Annotated[
    str | None,
    typer.Option(
        "--registration",
        "-r",
        help="The registration you rely on: its id, or a file of it. By default the one of the first use.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="The model's name, where there are several.", show_default=False)
]
ChainOption = Annotated[str, typer.Option("--chain", help="Who vouches for the registration, or `none`.")]
LedgerOption = Annotated[
    Path | None, typer.Option("--ledger", help="The ledger's file, for the chain `ledger`.", show_default=False)
]
StorageOption = Annotated[
    str, typer.Option("--storage", help="Where to look for proofs before asking the provider, or `none`.")
]
ApiKeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="BALANCE_API_KEY", help="What the provider gave to be let in.", show_default=False
    ),
]
KeyOption = Annotated[str, typer.Option("--key", help="Your signing key's name.")]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "-s", metavar="KEY=VALUE", help="A setting: chain.KEY or storage.KEY. Repeatable.", show_default=False
    ),
]
PatienceOption = Annotated[float, typer.Option("--wait", min=0.1, help="Seconds to wait for a busy provider.")]


def add_commands(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog="Example: balance ask http://127.0.0.1:8080 --input x.npy --proof now")(ask)


def client(
    url: str,
    *,
    registration: str | None,
    model: str | None,
    chain: str,
    ledger: Path | None,
    storage: str,
    api_key: str | None,
    key: str,
    setting: list[str] | None,
    wait: float,
) -> Client:
    """Return a client as the options describe it."""
    from balance_core.errors import ConfigError
    from balance_core.service.client.clients import Client

    settings = given.plugin_settings(setting)
    chosen: dict[str, Any] = dict(settings["chain_settings"])
    if ledger is not None:
        if chain != "ledger":
            raise ConfigError(f"--ledger is for the chain `ledger`, not {chain!r}")
        if not ledger.is_file():
            raise ConfigError(f"there is no ledger at {str(ledger)!r}", hint="check the path")
        chosen |= {"path": str(ledger), "read_only": True}
    return Client(
        url,
        registration=registration,
        model=model,
        chain=given.or_none(chain),
        chain_settings=chosen,
        storage=given.or_none(storage),
        storage_settings=settings["storage_settings"],
        api_key=api_key,
        key=key,
        seconds=wait,
    )


def ask(
    url: UrlArgument,
    *,
    inputs: given.InputOption = None,
    index: Annotated[int, typer.Option(min=0, help="Which of the inputs to ask about, counted from 0.")] = 0,
    proof: Annotated[
        Literal["none", "later", "now"],
        typer.Option(help="No proof until asked for, one later, or one now: wait for it and check it."),
    ] = "none",
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public",
            help="The proof must hide the input, or show it; by default as the registration has it.",
            show_default=False,
        ),
    ] = None,
    registration: RegistrationOption = None,
    model: ModelOption = None,
    chain: ChainOption = "ledger",
    ledger: LedgerOption = None,
    storage: StorageOption = "none",
    api_key: ApiKeyOption = None,
    key: KeyOption = "default",
    setting: SettingOption = None,
    wait: PatienceOption = 30.0,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", help="Write the signed receipt to a file.", show_default=False)
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Write the proof's bundle to a file.", show_default=False)
    ] = None,
    opening: Annotated[
        Path | None,
        typer.Option(
            "--opening", help="Write what shows the proof's private input to others to a file.", show_default=False
        ),
    ] = None,
    json: given.JsonOption = False,
) -> None:
    """Ask a provider one question; its receipt, and its proof if there is one, are checked on this machine.

    The registration is taken from the chain, never from the provider; what is relied on is kept with the receipts.
    """
    from balance_core.errors import ConfigError
    from balance_core.files import write_output, write_whole
    from balance_core.model.inputs import as_batch, read_inputs

    if inputs is None:
        raise ConfigError("there is nothing to ask about", hint="give an input: --input x.npy")
    if (bundle is not None or opening is not None) and proof != "now":
        raise ConfigError("there is no bundle, and nothing to open, without a proof", hint="--proof now")
    with client(
        url,
        registration=registration,
        model=model,
        chain=chain,
        ledger=ledger,
        storage=storage,
        api_key=api_key,
        key=key,
        setting=setting,
        wait=wait,
    ) as asking:
        asking.pin()
        specs = asking.consumer.inputs
        batch = as_batch(read_inputs(inputs, specs), specs)
        count = len(next(iter(batch.values())))
        if index >= count:
            raise ConfigError(f"there is no input number {index}: the file holds {count}", hint="--index 0")
        one = {name: array[index] for name, array in batch.items()}
        answer = asking.ask(one, proof=proof, private=private)
    if receipt is not None:
        write_output(receipt, answer.signed.to_json())
    if bundle is not None and answer.bundle is not None:
        write_output(bundle, answer.bundle)
    if opening is not None:
        if answer.opening is None:
            raise ConfigError("the proof hides nothing that could be opened", hint="leave --opening out")
        write_whole(opening, answer.opening.to_json(), mode=0o600)
    if json:
        typer.echo(answer.signed.to_json().decode())
        return
    _show(answer)


def _show(answer: Answer) -> None:
    from balance_core.cli.display import field
    from balance_core.cli.statements import in_brief

    receipt = answer.receipt
    registration = answer.question.registration
    field("registration", receipt.registration_id)
    field("model", f"{registration.name} version {registration.version}")
    for tensor in receipt.outputs:
        field("output", in_brief(tensor))
    field("receipt", f"{receipt.receipt_id}, signed by {receipt.provider}")
    if answer.verified is None:
        typer.echo("signed by its provider" + ("" if receipt.job_id is None else ", proof to come"))
        return
    field("vouched for by", answer.verified.vouched)
    if answer.verified.setup_trust.is_test_only:
        from balance_core.session import TEST_SETUP_NOTE

        field("note", TEST_SETUP_NOTE)
    if answer.hidden:
        field("note", "the proof hides its input: that it is yours is the provider's word")
    elif answer.opening is not None:
        field("note", "the proof hides its input, and opens to yours")
    typer.echo("proven" if answer.proven else "accepted, which proves nothing: the backend is not sound")
