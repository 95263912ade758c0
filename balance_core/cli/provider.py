"""`balance run`, `convert`, `check`, `setup` and `prove`: the provider's side."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from balance_core.session import Run

ModelArgument = Annotated[
    Path, typer.Argument(help="The model: .onnx, or what a converter reads.", show_default=False)
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command(epilog="Example: balance run model.onnx --input x.npy --backend ezkl")(run)
    app.command(epilog="Example: balance convert model.onnx -o normal.onnx")(convert)
    app.command(epilog="Example: balance check model.onnx --backend ezkl")(check)
    app.command(epilog="Example: balance setup model.onnx --samples x.npy --backend ezkl")(setup)
    app.command(epilog="Example: balance prove mnist-ezkl --input x.npy --index 3")(prove)


def run(
    model: Annotated[
        Path | None,
        typer.Argument(help="The model; without one, the bundled example is proven.", show_default=False),
    ] = None,
    *,
    inputs: given.InputOption = None,
    backend: given.BackendOption = None,
    settings: given.SettingOption = None,
    samples: given.SamplesOption = None,
    index: given.IndexOption = 0,
    context: given.ContextOption = None,
    name: given.NameOption = None,
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
    """Prove one answer of a model from beginning to end, and verify the proof."""
    import balance_core as balance

    with _showing(json, f"proving {model or 'the bundled example'}") as shown:
        finished = balance.run(
            model,
            inputs,
            samples=samples,
            index=index,
            context=given.context(context),
            backend=backend or "",
            name=name,
            storage=given.or_none(storage),
            chain=given.or_none(chain),
            dimensions=given.dimensions(dim),
            limits=given.limits(timeout, memory, threads),
            force=force,
            allow_insecure_test=allow_insecure_test,
            **given.plugin_settings(settings, trust_pickle=trust_pickle),
            **shown,
        )
    _show_run(finished, json)


def prove(
    registration: Annotated[str, typer.Argument(help="A registration: its name or id.", show_default=False)],
    *,
    inputs: given.InputOption = None,
    index: given.IndexOption = 0,
    context: given.ContextOption = None,
    storage: given.StorageOption = "local",
    chain: given.ChainOption = "ledger",
    settings: given.SettingOption = None,
    timeout: given.TimeoutOption = None,
    memory: given.MemoryOption = None,
    threads: given.ThreadsOption = None,
    force: given.ForceOption = False,
    json: given.JsonOption = False,
) -> None:
    """Prove one answer of a model that `setup` or `run` has registered."""
    import balance_core as balance

    with _showing(json, f"proving an answer of {registration}") as shown:
        finished = balance.prove(
            registration,
            inputs,
            index=index,
            context=given.context(context),
            storage=given.or_none(storage),
            chain=given.or_none(chain),
            limits=given.limits(timeout, memory, threads),
            force=force,
            **{key: value for key, value in given.plugin_settings(settings).items() if key != "settings"},
            **shown,
        )
    _show_run(finished, json)


def setup(
    model: ModelArgument,
    *,
    samples: given.SamplesOption = None,
    backend: given.BackendOption = None,
    settings: given.SettingOption = None,
    name: given.NameOption = None,
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
    """Make a model ready for proving, and register it."""
    import balance_core as balance
    from balance_core.cli.display import field

    with _showing(json, f"preparing {model}") as shown:
        registered = balance.setup(
            model,
            samples,
            backend=backend or "",
            name=name,
            chain=given.or_none(chain),
            dimensions=given.dimensions(dim),
            limits=given.limits(timeout, memory, threads),
            force=force,
            allow_insecure_test=allow_insecure_test,
            **given.plugin_settings(settings, trust_pickle=trust_pickle),
            **shown,
        )
    registration = registered.registration
    if json:
        typer.echo(registration.to_json().decode())
        return
    field("registered", f"{registration.name} version {registration.version}")
    field("registration", registration.registration_id)
    field("circuit", registration.circuit_id)
    field("setup trust", registration.setup_trust.trust)
    typer.echo(f"next: balance prove {registration.name} --input x.npy")


def check(
    model: ModelArgument,
    *,
    backend: given.BackendOption = None,
    settings: given.SettingOption = None,
    dim: given.DimensionOption = None,
    trust_pickle: given.TrustPickleOption = False,
    json: given.JsonOption = False,
) -> None:
    """Say whether a backend can prove a model, and what that would cost."""
    import balance_core as balance
    from balance_core.cli.display import field, memory

    with _showing(True, "") as shown:
        support = balance.check(
            model,
            backend=backend or "",
            dimensions=given.dimensions(dim),
            **given.plugin_settings(settings, trust_pickle=trust_pickle),
            **shown,
        )
    if json:
        typer.echo(support.to_json().decode())
    else:
        for problem in support.problems:
            mend = f" ({problem.mend})" if problem.mend else ""
            field("cannot prove", f"{problem.node} [{problem.operator}]: {problem.reason}{mend}")
        cost = support.estimate
        for name, value, text in (
            ("rows", cost.rows, f"{cost.rows or 0:,}"),
            ("log2 of rows", cost.log_rows, str(cost.log_rows)),
            ("setup", cost.setup_seconds, f"about {cost.setup_seconds or 0:.0f} s"),
            ("prove", cost.prove_seconds, f"about {cost.prove_seconds or 0:.0f} s"),
            ("memory", cost.memory_bytes, f"about {memory(cost.memory_bytes or 0).strip()}"),
        ):
            if value is not None:
                field(name, text)
        for note in support.notes:
            field("note", note)
        typer.echo("this model can be proven" if support.ok else "this model cannot be proven as it is")
    if not support.ok:
        raise typer.Exit(4)


def convert(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.", show_default=False)],
    dim: given.DimensionOption = None,
    trust_pickle: given.TrustPickleOption = False,
    json: given.JsonOption = False,
) -> None:
    """Write a model in normal form, as ONNX."""
    import balance_core as balance
    from balance_core.cli.display import field

    summary = balance.convert(
        model,
        out,
        dimensions=given.dimensions(dim),
        converter_settings={"trust_pickle": True} if trust_pickle else {},
    )
    if json:
        typer.echo(summary.to_json().decode())
        return
    field("model", summary.model_id)
    for title, specs in (("input", summary.inputs), ("output", summary.outputs)):
        for spec in specs:
            field(title, f"{spec.name} {spec.dtype}{list(spec.shape)}")
    field("operators", ", ".join(summary.operators))
    field("written", out)


@contextmanager
def _showing(json: bool, what: str) -> Iterator[dict[str, Any]]:
    """Show a run's stages while it lasts; gives the arguments that make the API report them.

    The first stage's worker imports what it needs while this process does the same.
    """
    from balance_core.processes import head_start

    with head_start("convert"):
        from balance_core.cli.display import Display

        display = Display(quiet=json)
        if not json:
            typer.echo(what, err=True)
        try:
            yield {"observers": (display,), "watch": display.watch}
        finally:
            display.close()


def _show_run(finished: Run, json: bool) -> None:
    """Print what a run has proven, and where the proof is."""
    from balance_core.cli.display import field
    from balance_core.cli.statements import show_statement

    receipt = finished.receipt
    if json:
        typer.echo(receipt.to_json().decode())
        return
    show_statement(receipt.statement)
    fidelity = receipt.fidelity
    if fidelity.top1_agreement is not None:
        field("fidelity", f"decides as the float model on {fidelity.top1_agreement:.1%} of {fidelity.samples} inputs")
    field("largest error", f"{fidelity.largest_error:.3g}")
    field("registration", f"{receipt.registration.registration_id} ({receipt.registration.name})")
    field("setup trust", receipt.registration.setup_trust.trust)
    for note in receipt.notes:
        field("note", note)
    field("time", f"{receipt.total_seconds:.1f} s in all")
    field("run", receipt.run_id)
    field("proof", finished.bundle)
    verified = "verified" if receipt.sound else "accepted, which proves nothing"
    typer.echo(f"{verified}. Anyone can check it again: balance verify {finished.bundle}")
