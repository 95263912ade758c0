"""`balance evm`: a local chain, contracts, and what is on them."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from balance_core.bundle import Bundle
    from balance_core.chain import ChainEvent, ProofRecord
    from balance_evm.chain import EvmChain
    from balance_evm.chronicle import Model

app = typer.Typer(
    help="Registrations and proofs on an EVM chain, where contracts check them.",
    no_args_is_help=True,
    epilog="Example: balance evm dev",
)

SettingOption = Annotated[
    list[str] | None,
    typer.Option("-o", metavar="KEY=VALUE", help="A setting, such as rpc_url=URL. Repeatable.", show_default=False),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Send nothing: run it on an EVM in this process and say what it takes.")
]
BundleArgument = Annotated[
    str, typer.Argument(help="A bundle's file, or the id of a run.", show_default=False, metavar="BUNDLE")
]


def _open(setting: list[str] | None, **changes: Any) -> EvmChain:
    """Return the chain that the settings name; `chain.` before a setting is allowed, as elsewhere."""
    from balance_core.errors import ConfigError
    from balance_core.settings import read_options
    from balance_evm.chain import EvmChain
    from balance_evm.settings import EvmSettings

    tables = read_options([option.removeprefix("chain.") for option in setting or []])
    if set(tables) - {"backend"}:
        raise ConfigError("these settings are the chain's own", hint="for example: -o rpc_url=http://127.0.0.1:8545")
    return EvmChain(EvmSettings.parse({**tables.get("backend", {}), **changes}, owner="evm"))


def _tell(chain: EvmChain) -> None:
    """Show each transaction's price before it is sent."""
    chain.writer.sender.tell = lambda quote: typer.echo(str(quote), err=True)


def _show_spent(chain: EvmChain) -> None:
    spent = chain.writer.spent
    for one in spent:
        typer.echo(f"{one.gas:>12,} gas  {one.what}")
    typer.echo(f"{sum(one.gas for one in spent):>12,} gas  in all")


@app.command(epilog="Example: balance evm dev --port 8545")
def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port on the loopback.")] = 8545,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the local chain of before.")] = False,
) -> None:
    """Start a local chain, deploy the registry, fund two accounts, and print what to type."""
    import os
    import shutil

    from balance_core.workspace import Workspace
    from balance_evm.anvil import Anvil

    folder = Workspace.default().root / "evm" / "dev"
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    provider, validator = (_trial_key(folder / f"{name}.key") for name in ("provider", "validator"))
    with Anvil(port=port, state=folder / "state.json") as node:
        for account in (provider, validator):
            node.fund(account)
        os.environ["BALANCE_EVM_KEY"] = (folder / "provider.key").read_text()
        from balance_evm.deploy import deploy_registry

        registry = deploy_registry(_open([f"rpc_url={node.url}"]))
        typer.echo(f"a local chain runs at {node.url}, with the registry {registry}")
        typer.echo(f"provider {provider}, validator {validator}: 1000 ether each, worth nothing elsewhere")
        typer.echo("in another terminal:")
        typer.echo(f'  export BALANCE_EVM_KEY="$(cat {folder / "provider.key"})"')
        typer.echo(f"  balance run --chain evm -o chain.rpc_url={node.url} --allow-insecure-test")
        typer.echo("Ctrl-C ends it; its state is kept")
        node.wait()


def _trial_key(path: Path) -> str:
    """Return the address of a key for the local chain; the key is made if it is not there."""
    from eth_account import Account

    from balance_core.files import write_whole

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, bytes(Account.create().key).hex().encode(), mode=0o600)
    return str(Account.from_key(path.read_text().strip()).address)


@app.command(epilog="Example: balance evm doctor -o rpc_url=http://127.0.0.1:8545")
def doctor(setting: SettingOption = None) -> None:
    """Say whether node, chain, registry and account are ready."""
    failed = False
    for finding in _open(setting).diagnose():
        failed = failed or finding.hint is not None
        typer.echo(f"{'ok   ' if finding.hint is None else 'error'} {finding.subject}: {finding.found}")
        if finding.hint is not None:
            typer.echo(f"      hint: {finding.hint}")
    if failed:
        raise typer.Exit(7)


@app.command(epilog="Example: balance evm deploy -o rpc_url=URL")
def deploy(
    setting: SettingOption = None,
    bundle: Annotated[
        str | None,
        typer.Option("--for", help="Deploy the verifier of this bundle's proof system, too.", show_default=False),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Deploy a registry even if there is one.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Put the registry on the chain, once, and a proof system's verifier where asked."""
    from balance_evm.deploy import deploy_registry

    chain = _open(setting, dry_run=dry_run)
    _tell(chain)
    typer.echo(f"registry {deploy_registry(chain, anew=anew)}")
    if bundle is not None:
        from balance_evm import verifiers

        pair = verifiers.deployed(chain, _checkable(chain, _bundle(bundle)))
        typer.echo(f"verifier {pair.adapter}, over the contract {pair.contract} of {pair.version}")
    _show_spent(chain)


def _bundle(source: str) -> Bundle:
    from balance_core.consumer import read_bundle

    return read_bundle(source)


def _checkable(chain: EvmChain, bundle: Bundle, model: Model | None = None) -> Any:
    from balance_core.errors import ConfigError
    from balance_evm import verifiers

    source = verifiers.exporter(bundle.proof.backend)
    if source is None:
        raise ConfigError(f"no contract can check proofs of {bundle.proof.backend}", hint="publish it with `submit`")
    kind = verifiers.kind_of(chain, model)
    return verifiers.checkable(source, bundle.key, bundle.registration.registration, kind)


def _record(bundle: Bundle) -> ProofRecord:
    """Return what a chain is told of a bundle, after checking its proof here."""
    from balance_core.chain import ProofRecord
    from balance_core.consumer import verify

    found = verify(bundle.to_bytes(), registration=bundle.registration.registration)
    statement = found.statements[0]
    return ProofRecord(
        registration_id=found.registration_id,
        context=statement.context,
        inputs_digest=statement.inputs_digest,
        statement_digest=statement.digest,
        bundle=bundle.cid,
    )


@app.command(epilog="Example: balance evm register proof.balance")
def register(bundle: BundleArgument, setting: SettingOption = None, dry_run: DryRunOption = False) -> None:
    """Publish the registration of a bundle of yours, and name the contract that checks its proofs."""
    from balance_evm import verifiers

    chain, found = _open(setting, dry_run=dry_run), _bundle(bundle)
    _tell(chain)
    registration = found.registration.registration
    ref = chain.register(registration, key=f"register/{registration.registration_id}")
    typer.echo(f"registered {registration.name} version {registration.version} in {ref.entry}")
    model = chain.model(chain.chronicle(), registration.registration_id)
    bound = verifiers.bind(chain, model, _checkable(chain, found, model), found.cid)
    typer.echo(f"its proofs are checked by {bound.terms['verifier']}")
    _show_spent(chain)


@app.command(epilog="Example: balance evm submit proof.balance --dry-run")
def submit(bundle: BundleArgument, setting: SettingOption = None, dry_run: DryRunOption = False) -> None:
    """Check a proof here, publish it, and have the contract check it; says its id."""
    chain, found = _open(setting, dry_run=dry_run), _bundle(bundle)
    record = _record(found)
    _tell(chain)
    if dry_run:
        _register_first(chain, found)
    ref = chain.submit_checked(record, found, key=f"submit/{record.proof_id}/{record.bundle}")
    state = chain.chronicle().replay.state.proofs[record.proof_id]
    typer.echo(f"proof {record.proof_id}")
    typer.echo(f"{'verified by the contract' if state.verified else 'submitted'} in {ref.entry}")
    _show_spent(chain)


def _register_first(chain: EvmChain, bundle: Bundle) -> None:
    """Register a bundle's model on a chain of a dry run, whose account is nobody's: in the provider's place."""
    registration = bundle.registration.registration
    chain.register(registration, key=f"register/{registration.registration_id}")


@app.command(epilog="Example: balance evm gas proof.balance")
def gas(bundle: BundleArgument, setting: SettingOption = None) -> None:
    """Say what each step of publishing a bundle takes, without a node: on an EVM in this process."""
    submit(bundle, setting, dry_run=True)


@app.command(epilog="Example: balance evm show 3f2a...")
def show(
    name: Annotated[
        str | None, typer.Argument(help="A registration's or a proof's id.", show_default=False, metavar="ID")
    ] = None,
    setting: SettingOption = None,
) -> None:
    """List what is on the chain, or say how a registration or a proof stands."""
    from balance_core.cli.display import field
    from balance_core.errors import Rejected

    chain = _open(setting)
    if name is None:
        for event in chain.events():
            typer.echo(f"{event.ref.entry[:18]}  {event.type:<10} by {event.signer[:16]}  {_about(event)}")
        return
    read = chain.chronicle()
    state = read.replay.state
    if name in state.registrations:
        found = state.registrations[name]
        model = read.by_registration[name]
        field("registration", name)
        field("model", f"{found.registration.name} version {found.registration.version}")
        field("standing", found.standing)
        field("owner", model.owner)
        field("verifier", model.terms["verifier"])
        field("validators", ", ".join(model.terms["validators"]) or "none")
    elif name in state.proofs:
        proof = state.proofs[name]
        model = chain.model(read, proof.record.registration_id)
        words = [read.identity(account) for account in model.terms["validators"]]
        field("proof", name)
        field("registration", proof.record.registration_id)
        field("bundle", proof.record.bundle)
        field("status", proof.status(words, max(model.terms["quorum"], 1)))
        for validator, verdict in proof.verdicts.items():
            field("validator", f"{validator} says {verdict}")
    else:
        raise Rejected(f"{name[:80]!r} is neither a registration nor a proof on this chain", hint="balance evm show")


def _about(event: ChainEvent) -> str:
    """Return what identifies an entry's record."""
    from balance_core.chain import RECORD_KINDS

    record = RECORD_KINDS[event.record_kind].from_value(event.record)
    for attribute in ("proof_id", "registration_id", "account"):
        if hasattr(record, attribute):
            return f"{attribute.removesuffix('_id')} {getattr(record, attribute)}"
    return ""


@app.command(epilog="Example: balance evm attest 3f2a... --storage ipfs")
def attest(
    proof: Annotated[str, typer.Argument(help="A proof's id.", show_default=False, metavar="PROOF")],
    storage: Annotated[str, typer.Option("--storage", help="Where bundles of published proofs lie.")] = "local",
    setting: SettingOption = None,
) -> None:
    """Check a published proof here and sign what came out, as a validator: valid, or invalid and why."""
    from balance_core.chain import Attestation
    from balance_core.errors import InvalidProof, Rejected
    from balance_core.published import verify_published

    chain = _open(setting)
    found = chain.chronicle().replay.state.proofs.get(proof)
    if found is None:
        raise Rejected(f"the proof {proof[:80]!r} has not been submitted", hint="balance evm show")
    valid = True
    try:
        verify_published(proof, chain="evm", chain_settings=chain.settings.model_dump(mode="json"), storage=storage)
    except InvalidProof as error:
        valid = False
        typer.echo(f"it does not verify: {error.message}")
    _tell(chain)
    validator = chain.chronicle().identity(chain.writer.account.address)
    word = Attestation(
        proof_id=proof, statement_digest=found.record.statement_digest, valid=valid, validator=validator
    )
    ref = chain.attest(word, key=f"attest/{proof}/{valid}")
    typer.echo(f"{validator} says {'valid' if valid else 'invalid'} in {ref.entry}")


@app.command(epilog="Example: balance evm bind")
def bind(setting: SettingOption = None) -> None:
    """Say on the chain that the account writes for your signing key, so that a line can be handed to it."""
    chain = _open(setting)
    _tell(chain)
    key, address = chain.signing_key().public, chain.writer.account.address
    if chain.chronicle().identity(address) != key:
        chain.writer.bind()
    typer.echo(f"{address} writes for {key}")
