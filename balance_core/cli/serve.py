"""`balance serve`: answers a model's requests over HTTP, with receipts and proofs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from balance_core.service.auth import KeyRing
    from balance_core.service.provider import Provider
    from balance_core.service.serving import Listening, Place

keys_app = typer.Typer(
    help="API keys: who may ask a provider for what.",
    no_args_is_help=True,
    epilog="Example: balance api-keys new alice --scope infer --scope prove --days 90",
)

_LIMIT = "limit."


def add_commands(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog="Example: balance serve model.onnx --samples x.npy --backend zkml_halo2 --port 8080")(serve)


def serve(
    model: Annotated[
        str, typer.Argument(help="The model's file, or the name of a registration made before.", show_default=False)
    ],
    *,
    samples: given.SamplesOption = None,
    backend: given.BackendOption = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8080,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate chain for TLS, as PEM.", show_default=False)
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, as PEM.", show_default=False)] = None,
    open_to_all: Annotated[bool, typer.Option("--open", help="Let everybody ask, without an API key.")] = False,
    proof: Annotated[
        str, typer.Option(help="For clients that do not say: none (a proof when asked), later, or now.")
    ] = "none",
    keep_inputs: Annotated[
        bool, typer.Option(help="Keep inputs for a day, encrypted, so that any answer can be proven when asked.")
    ] = True,
    answerers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes that answer; by default the service's own, where that is safe and quick, or one."
        ),
    ] = None,
    provers: Annotated[int, typer.Option(min=0, help="Proofs made at a time; 0 makes none here.")] = 1,
    database: Annotated[
        str | None,
        typer.Option(help="URL of the database of jobs and receipts; by default a file.", show_default=False),
    ] = None,
    settings: given.SettingOption = None,
    name: given.NameOption = None,
    key: Annotated[str, typer.Option(help="The signing key to stand behind answers with.")] = "default",
    storage: given.StorageOption = "local",
    chain: given.ChainOption = "ledger",
    dim: given.DimensionOption = None,
    trust_pickle: given.TrustPickleOption = False,
    timeout: given.TimeoutOption = None,
    memory: given.MemoryOption = None,
    threads: given.ThreadsOption = None,
    force: given.ForceOption = False,
    allow_insecure_test: given.InsecureOption = False,
    json: given.JsonOption = False,
) -> None:
    """Register a model and serve it: each answer with a signed receipt at once, and a proof now, later or when asked.

    The wire format is the Open Inference Protocol (v2), so that existing clients work. With API keys (see
    `balance api-keys`) only their holders are answered; without one it listens on this machine alone. Limits are set
    with -o limit.KEY=VALUE, for example -o limit.body_bytes=1000000.
    """
    from balance_core.service import Provider  # by this way a missing package is named
    from balance_core.service.logs import write_logs
    from balance_core.service.serving import Listening, Place

    place = Place(host, port, tls_cert, tls_key)
    keys = admission(place, open_to_all=open_to_all)
    limits, others = _limits(settings)
    provider = Provider(
        model,
        samples=samples,
        service={
            "database": database,
            "proof": proof,
            "keep_inputs": keep_inputs,
            "answerers": answerers,
            "provers": provers,
            "limits": limits,
        },
        backend=backend or "",
        name=name,
        key=key,
        storage=given.or_none(storage),
        chain=given.or_none(chain),
        dimensions=given.dimensions(dim),
        limits=given.limits(timeout, memory, threads),
        force=force,
        allow_insecure_test=allow_insecure_test,
        **given.plugin_settings(others, trust_pickle=trust_pickle),
    )
    write_logs()
    listening = Listening.of(provider, place, keys)  # before the long work: a port that is taken is noticed at once
    with closing(listening), provider:
        _announce(provider, listening, place, keys, json=json)
        listening.run()


def admission(place: Place, *, open_to_all: bool) -> KeyRing | None:
    """Return the keys that open the service; None where everybody may ask."""
    from balance_core.errors import ConfigError

    ring = _ring()
    if open_to_all:
        return None
    if ring.keys():
        return ring
    if not place.local:
        raise ConfigError(
            f"others than this machine's users reach {place.host}, and there are no API keys",
            hint="make one with `balance api-keys new NAME`, or insist with --open",
        )
    return None


def _limits(settings: list[str] | None) -> tuple[dict[str, Any], list[str]]:
    """Return the service's limits among the -o options, and the other options."""
    from balance_core.settings import read_options

    mine = [option for option in settings or () if option.startswith(_LIMIT)]
    others = [option for option in settings or () if not option.startswith(_LIMIT)]
    return read_options(mine).get(_LIMIT.rstrip("."), {}), others


def _announce(provider: Provider, listening: Listening, place: Place, keys: KeyRing | None, *, json: bool) -> None:
    from balance_core.cli.display import field

    registration = provider.registration
    if json:
        import json as encoder

        about = {"url": listening.url, "model": registration.name, "registration": registration.registration_id}
        typer.echo(encoder.dumps(about))
        return
    field("serving", f"{registration.name} version {registration.version} by {registration.backend}")
    field("registration", registration.registration_id)
    field("setup trust", registration.setup_trust.trust)
    if not provider.capabilities.sound:
        field("note", f"{registration.backend} is not sound: its proofs prove nothing to anybody")
    if not place.local and not place.encrypted:
        field("note", "not encrypted: give --tls-cert and --tls-key, or put a proxy with TLS in front")
    field("open to", "holders of API keys" if keys else "everybody who can reach it, without a key")
    field("address", f"{listening.url}/v2/models/{registration.name}/infer")
    typer.echo(f"next: balance ask {listening.url} --input x.npy")


def _ring() -> KeyRing:
    from balance_core.service.auth import KeyRing
    from balance_core.workspace import Workspace

    folder = Workspace.default().root / "service"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return KeyRing(folder / "api-keys.json")


@keys_app.command("new", epilog="Example: balance api-keys new alice --scope infer --scope prove --days 90")
def new_key(
    name: Annotated[str, typer.Argument(help="Whose key it is.", show_default=False)],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="infer, prove, audit, verify or operate; by default the first four. Repeatable.", show_default=False
        ),
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="Days until it expires.", show_default=False)] = None,
) -> None:
    """Make an API key; it is shown once and cannot be shown again."""
    from balance_core.errors import ConfigError
    from balance_core.service.auth import Scope

    known = {one.value for one in Scope}
    unknown = set(scope or ()) - known
    if unknown:
        raise ConfigError(f"there is no scope {min(unknown)!r}", hint=f"there are {', '.join(sorted(known))}")
    scopes = tuple(map(Scope, scope)) if scope else tuple(one for one in Scope if one is not Scope.OPERATE)
    text, key = _ring().create(name, scopes, days=days)
    typer.echo(f"made {key.key_id} for {key.name}: {', '.join(key.scopes)}", err=True)
    typer.echo(text)


@keys_app.command("list", epilog="Example: balance api-keys list")
def list_keys() -> None:
    """List the API keys by id; their secrets are not kept."""
    keys = _ring().keys()
    if not keys:
        typer.echo("there is no API key yet; `balance api-keys new NAME` makes one")
    for key in keys:
        ends = "revoked" if key.revoked else f"until {key.expires}" if key.expires else "no end"
        typer.echo(f"{key.key_id}  {key.name:<20} {','.join(key.scopes):<28} {ends}")


@keys_app.command("revoke", epilog="Example: balance api-keys revoke 9f3c21aa04b7d6e5")
def revoke_key(key_id: Annotated[str, typer.Argument(help="The key's id.", show_default=False)]) -> None:
    """Make an API key useless, at once, also for a service that runs."""
    key = _ring().revoke(key_id)
    typer.echo(f"revoked {key.key_id} ({key.name})")
