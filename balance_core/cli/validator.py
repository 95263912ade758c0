"""`balance validator`: checks the proofs that are published on a chain, and says of each what it found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from contextlib import ExitStack

    from balance_core.service.auth import KeyRing
    from balance_core.service.serving import Place
    from balance_core.service.validator import Validator, ValidatorSettings, ValidatorStatus

app = typer.Typer(
    help="A validator: it follows a chain, checks every proof there, and attests what it found.",
    no_args_is_help=True,
    epilog="Example: balance validator run --chain ledger -o chain.key=watcher --listen 127.0.0.1:9470",
)

MemoryOption = Annotated[
    Path | None,
    typer.Option("--memory", help="The file with cursor and verdicts; one for each validator.", show_default=False),
]
ChainOption = Annotated[str, typer.Option(help="The chain to follow; its key signs what is found.")]
_OWNERS = {"chain", "storage", "validator"}


@app.command(epilog="Example: balance validator run -o chain.key=watcher -o validator.workers=4")
def run(
    *,
    chain: ChainOption = "ledger",
    storage: Annotated[str, typer.Option(help="Where bundles are fetched from.")] = "local",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "-o",
            metavar="KEY=VALUE",
            help="A setting: chain.KEY, storage.KEY or validator.KEY. Repeatable.",
            show_default=False,
        ),
    ] = None,
    memory: MemoryOption = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Answer over HTTP: health, metrics and /v1/verify.", show_default=False
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate chain for TLS, as PEM.", show_default=False)
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, as PEM.", show_default=False)] = None,
    open_to_all: Annotated[bool, typer.Option("--open", help="Let everybody ask, without an API key.")] = False,
    until_done: Annotated[bool, typer.Option("--until-done", help="End when every proof has been checked.")] = False,
    rescan: Annotated[bool, typer.Option("--rescan", help="Read the chain from its first entry again.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log only what is wrong.")] = False,
    json: given.JsonOption = False,
) -> None:
    """Follow a chain, check the proofs on it in workers with limits, and attest each once.

    What is junk, or too large, or not to be had, costs bounded work and is kept with its reason: `balance validator
    status`. What a valid proof has to be worth before it is attested, say validator.unsound and
    validator.insecure_setup; docs/validator.md has all settings.
    """
    import logging
    import signal
    from contextlib import ExitStack

    from balance_core.service.logs import write_logs
    from balance_core.service.validator import Validator
    from balance_core.settings import read_options

    tables = read_options(settings or ())
    place, keys = _place(listen, tls_cert, tls_key, open_to_all=open_to_all)
    write_logs(logging.WARNING if quiet else logging.INFO)
    with (
        Validator(
            chain,
            storage=storage,
            chain_settings=tables.get("chain"),
            storage_settings=tables.get("storage"),
            settings=_settings(tables),
            memory=memory,
        ) as validator,
        ExitStack() as held,
    ):
        if rescan:
            validator.rescan()
        url = _serve(validator, place, keys, held) if place else None
        _announce(validator, url, json=json)
        signal.signal(signal.SIGTERM, lambda *_: validator.stop())
        status = validator.run(until_done=until_done)
    _show(status, json=json)


def _settings(tables: dict[str, dict[str, object]]) -> ValidatorSettings:
    from balance_core.errors import ConfigError
    from balance_core.service.validator import ValidatorSettings

    strange = set(tables) - _OWNERS
    if strange:
        raise ConfigError(
            f"nothing here is called {min(strange)!r}", hint="-o validator.KEY=VALUE, chain.KEY, storage.KEY"
        )
    return ValidatorSettings.parse(tables.get("validator", {}), owner="validator")


def _place(
    listen: str | None, tls_cert: Path | None, tls_key: Path | None, *, open_to_all: bool
) -> tuple[Place | None, KeyRing | None]:
    """Return where to listen, and the keys that open it; None for nowhere, and for everybody."""
    if listen is None:
        return None, None
    from balance_core.cli.serve import admission
    from balance_core.errors import ConfigError
    from balance_core.service.serving import Place

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{listen!r} is not HOST:PORT", hint="for example: --listen 127.0.0.1:9470")
    place = Place(host.strip("[]"), int(port), tls_cert, tls_key)
    return place, admission(place, open_to_all=open_to_all)


def _serve(validator: Validator, place: Place, keys: KeyRing | None, held: ExitStack) -> str:
    from balance_core.service.serving import Listening
    from balance_core.service.validator.app import ValidatorService

    service = ValidatorService(validator)
    app = service.app(keys, hosts=place.hosts(keys))
    return held.enter_context(Listening(app, place, service.limits))


def _announce(validator: Validator, url: str | None, *, json: bool) -> None:
    if json:
        return
    from balance_core.cli.display import field

    settings = validator.settings
    field("validator", validator.public_key)
    field("chain", validator.chain_name)
    field("memory", str(validator.store.path))
    field("invalid", f"{settings.invalid}; unsound: {settings.unsound}; insecure setup: {settings.insecure_setup}")
    if url is not None:
        field("address", f"{url}/v1/verify, /metrics, /v2/health/ready")


@app.command(epilog="Example: balance validator status --memory watcher.db")
def status(
    memory: MemoryOption = None,
    proof: Annotated[str | None, typer.Option(help="What became of one proof.", show_default=False)] = None,
    json: given.JsonOption = False,
) -> None:
    """Show what a validator has done and what others said otherwise; also while it runs."""
    from balance_core.errors import ConfigError
    from balance_core.service.validator.status import read_proof, read_status
    from balance_core.service.validator.store import Store

    store = Store(_memory(memory), read_only=True)
    try:
        if proof is None:
            _show(read_status(store), json=json)
            return
        found = read_proof(store, proof)
    finally:
        store.close()
    if found is None:
        raise ConfigError(f"this validator has not seen the proof {proof!r}", hint="is it on the same chain?")
    if json:
        typer.echo(found.to_json().decode())
        return
    typer.echo(f"{found.state}: {found.reason or 'not checked yet'}{': ' + found.detail if found.detail else ''}")


def _memory(given_path: Path | None) -> Path:
    """Return the memory that is meant: the one that is named, or the only one in the data folder."""
    from balance_core.errors import ConfigError
    from balance_core.workspace import Workspace

    if given_path is not None:
        return given_path
    found = sorted((Workspace.default().root / "validators").glob("*.db"))
    if len(found) != 1:
        known = "there is none yet" if not found else "there are " + ", ".join(path.name for path in found)
        raise ConfigError(f"which validator? {known}", hint="--memory FILE names one")
    return found[0]


def _show(status: ValidatorStatus, *, json: bool) -> None:
    from balance_core.cli.display import field

    if json:
        typer.echo(status.to_json().decode())
        return
    field("validator", f"{status.validator} on {status.chain}")
    field("read up to", status.cursor or "nothing yet")
    field("waiting", str(status.waiting))
    for tally in status.tallies:
        field(str(tally.state), f"{tally.proofs:>8}  {tally.reason or ''}")
    field("others", f"{status.false_words} words against it, {status.equivocations} that say both")
    for one in status.disagreements:
        said = " and ".join("valid" if word else "invalid" for word in one.said)
        mine = {True: "valid", False: "invalid", None: "nothing"}[one.verdict]
        typer.echo(f"  {one.validator[:16]} says {said} of {one.proof_id}; here it is {mine}")
