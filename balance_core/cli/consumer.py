"""`balance verify`, `bundle`, `inspect` and `reproduce`: the consumer's side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from balance_core.cli import execute
from balance_core.cli import options as given

if TYPE_CHECKING:
    from balance_core.records import Registration
    from balance_core.stages import Limits

BundleArgument = Annotated[
    str, typer.Argument(help="A bundle's file, or the id of a run.", show_default=False, metavar="BUNDLE")
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command(epilog="Example: balance verify proof.balance --registration 3f2a...")(verify)
    app.command(epilog="Example: balance bundle 20260131-120000-a1b2c3 -o proof.balance")(bundle)
    app.command(epilog="Example: balance inspect proof.balance")(inspect)
    app.command(epilog="Example: balance reproduce model.onnx proof.balance")(reproduce)


def verify(
    bundle: Annotated[
        str,
        typer.Argument(
            help="A bundle's file, the id of a run, or with --chain a proof's id.",
            show_default=False,
            metavar="BUNDLE|PROOF",
        ),
    ],
    *,
    registration: Annotated[
        str | None,
        typer.Option(
            "--registration", "-r", help="The registration you rely on: its id, or a file of it.", show_default=False
        ),
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="A ledger to ask who stands behind it.", show_default=False)
    ] = None,
    chain: Annotated[
        str | None,
        typer.Option(
            "--chain", help="The chain that a proof was published on, to fetch it by its id.", show_default=False
        ),
    ] = None,
    storage: Annotated[str, typer.Option("--storage", help="Where bundles of published proofs lie.")] = "local",
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "-o", metavar="KEY=VALUE", help="A setting: chain.KEY or storage.KEY. Repeatable.", show_default=False
        ),
    ] = None,
    opening: Annotated[
        Path | None,
        typer.Option(
            "--opening", help="What opens the proof's private inputs: opening.json of the run.", show_default=False
        ),
    ] = None,
    timeout: given.TimeoutOption = None,
    memory: given.MemoryOption = None,
    json: given.JsonOption = False,
) -> None:
    """Check a proof in a fresh process, from the bundle alone, and say what it proves.

    With --chain the proof is named by its id: its bundle is fetched by the address that the chain has, checked here,
    and compared with what the chain says.
    """
    if chain is not None:
        if opening is not None:
            from balance_core.errors import ConfigError

            raise ConfigError(
                "--opening goes with a bundle", hint="fetch it with `balance storage get`, or from its run"
            )
        _verify_published(bundle, chain, storage, setting, limits=given.limits(timeout, memory, None), json=json)
        return
    import balance_core as balance
    from balance_core.cli.display import field
    from balance_core.cli.statements import show_opened, show_statement
    from balance_core.errors import ConfigError

    if ledger is not None and not ledger.is_file():
        raise ConfigError(f"there is no ledger at {str(ledger)!r}", hint="check the path")
    verified = balance.verify(
        bundle,
        registration=registration,
        chain="ledger" if ledger else None,
        chain_settings={"path": str(ledger), "read_only": True} if ledger else None,
        limits=given.limits(timeout, memory, None),
        opening=opening,
    )
    if json:
        typer.echo(verified.to_json().decode())
        return
    _show_registration(verified.registration)
    for statement in verified.statements:
        show_statement(statement)
    show_opened(verified.opened_inputs)
    field("vouched for by", verified.vouched)
    if verified.setup_trust.is_test_only:
        from balance_core.session import TEST_SETUP_NOTE

        field("note", TEST_SETUP_NOTE)
    if not verified.sound:
        field(
            "note",
            f"{verified.registration.backend} is not sound: whoever wants to can make such a proof of anything",
        )
    valid = "valid" if verified.sound else "accepted, which proves nothing"
    typer.echo(valid if verified.vouched_by else f"{valid}, for a registration that nobody vouches for")
    if not verified.vouched_by:
        typer.echo(
            "hint: get the registration id from its provider or a chain, and give it with --registration", err=True
        )


def _verify_published(
    proof_id: str, chain: str, storage: str, setting: list[str] | None, *, limits: Limits, json: bool
) -> None:
    from balance_core.cli.display import field
    from balance_core.cli.statements import show_statement
    from balance_core.published import verify_published

    settings = given.plugin_settings(setting)
    found = verify_published(
        proof_id,
        chain=chain,
        chain_settings=settings["chain_settings"],
        storage=storage,
        storage_settings=settings["storage_settings"],
        limits=limits,
    )
    if json:
        typer.echo(found.to_json().decode())
        return
    verified = found.verified
    _show_registration(verified.registration)
    for statement in verified.statements:
        show_statement(statement)
    field("vouched for by", verified.vouched)
    field("bundle", found.record.bundle)
    if verified.setup_trust.is_test_only:
        from balance_core.session import TEST_SETUP_NOTE

        field("note", TEST_SETUP_NOTE)
    attested = f"{found.attested_valid} validators say valid, {found.attested_invalid} say invalid"
    field("on the chain", f"{'verified by a contract' if found.checked_by_chain else 'submitted'}; {attested}")
    valid = "valid" if verified.sound else "accepted, which proves nothing"
    typer.echo(f"{valid}, and what the chain says")


def _show_registration(registration: Registration) -> None:
    from balance_core.cli.display import field

    field("registration", registration.registration_id)
    field("model", f"{registration.name} version {registration.version}")
    if registration.model_id:
        field("model id", registration.model_id)
    field("provider", registration.provider)
    field("backend", f"{registration.backend} {registration.backend_version}")
    field("setup trust", registration.setup_trust.trust)


def bundle(
    run: Annotated[str, typer.Argument(help="The id of a run.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.", show_default=False)],
) -> None:
    """Write what a stranger needs to check a run's proof as one file."""
    import balance_core as balance

    written = balance.write_bundle(run, out)
    typer.echo(f"written to {out}: registration {written.registration_id}")


def inspect(
    source: Annotated[
        str,
        typer.Argument(
            help="A bundle's file, the id of a run, or a model's file.", show_default=False, metavar="BUNDLE|MODEL"
        ),
    ],
    *,
    svg: execute.SvgOption = None,
    samples: given.SamplesOption = None,
    setting: given.SettingOption = None,
    dim: given.DimensionOption = None,
    json: given.JsonOption = False,
) -> None:
    """Show what a run or a bundle holds, without verifying anything, or what a model is as integers."""
    if execute.is_model(source):
        execute.show_model(Path(source), svg, samples, setting, dim, json=json)
        return
    if svg or samples or setting or dim:
        from balance_core.errors import ConfigError

        raise ConfigError("--svg, --samples, -o and --dim are for models", hint="give a model's file")
    import balance_core as balance
    from balance_core.cli.display import field
    from balance_core.cli.statements import show_statement
    from balance_core.runs import RunReceipt

    found = balance.inspect(source)
    if json:
        typer.echo(found.to_json().decode())
        return
    _show_registration(found.registration)
    if isinstance(found, RunReceipt):
        show_statement(found.statement)
        for stage in found.stages:
            cost = stage.measurement
            cached = " (cached)" if stage.cached else ""
            times = f"{cost.wall_seconds:.2f} s, {cost.cpu_seconds:.2f} CPU s"
            field(f"stage {stage.stage}", f"{times}, {cost.peak_memory_bytes / 2**20:.0f} MiB{cached}")
        for name, value in found.facts.items():
            field(name, value)
        return
    for name, size in found.key_bytes.items():
        field(f"key/{name}", f"{size} bytes")
    field("proof", f"{found.proof_bytes} bytes")
    for name, size in found.claims.items():
        field("claim", f"{name}, {size} bytes (the provider's word)")
    typer.echo("nothing of this was verified: balance verify does that")


def reproduce(
    model: Annotated[Path, typer.Argument(help="The model.", show_default=False)],
    registration: Annotated[
        str, typer.Argument(help="A bundle, a run, or one of your registrations.", show_default=False)
    ],
    json: given.JsonOption = False,
) -> None:
    """Derive a model's circuit again, and say whether it is the registered one and binds the weights."""
    import balance_core as balance
    from balance_core.cli.display import field

    result = balance.reproduce(model, registration)
    if json:
        typer.echo(result.to_json().decode())
    else:
        _show_registration(result.registration)
        field("this model", result.model_id)
        field("its circuit", result.circuit_id)
        if result.agrees and not result.weights_compared:
            field("note", "weights were not compared: a commitment hides them, and its provider alone can open it")
            typer.echo("the registration is of a model with this one's structure and settings")
        else:
            agrees = "the registration is this model's"
            typer.echo(agrees if result.agrees else "the registration is of another model")
    if not result.agrees:
        raise typer.Exit(1)
