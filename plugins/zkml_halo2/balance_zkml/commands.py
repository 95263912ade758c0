"""`balance zkml`: three commands in the manner of the zkml project's programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from balance_core.cli import options as given

if TYPE_CHECKING:
    from balance_core.records import Tensor
    from balance_zkml.settings import Halo2Settings

app = typer.Typer(
    help="Time, test and verify circuits as the zkml project's programs do.",
    no_args_is_help=True,
    epilog="Example: balance zkml time-circuit model.msgpack inp.msgpack",
)

ModelArgument = Annotated[
    Path, typer.Argument(help="The model: .msgpack, .tflite, or what a converter reads.", show_default=False)
]
InputArgument = Annotated[Path, typer.Argument(help="Its input: .msgpack, .npy or .npz.", show_default=False)]
SchemeArgument = Annotated[str, typer.Argument(help="The commitment scheme; there is `kzg` alone.")]
OutOption = Annotated[Path, typer.Option("--out", help="The folder to write to.", file_okay=False)]


@app.command(epilog="Example: balance zkml time-circuit model.msgpack inp.msgpack --out proofs")
def time_circuit(
    model: ModelArgument,
    inputs: InputArgument,
    scheme: SchemeArgument = "kzg",
    setting: given.SettingOption = None,
    out: OutOption = Path(),
) -> None:
    """Prove one answer and verify it, with the time of each part; writes vkey, proof, public_vals and out.msgpack."""
    _check_scheme(scheme)
    from balance_core.files import write_output
    from balance_zkml import files, trial
    from balance_zkml.verifier import Halo2Verifier

    settings = _settings(setting)
    integer, request = trial.load(model, inputs, settings)
    made = trial.run(integer, request, settings)
    key_size = files.write_key(out / "vkey", made.key, made.commitment)
    write_output(out / "proof", made.proof.data)
    values = files.public_values(made.statement.outputs)
    write_output(out / "public_vals", values)
    write_output(out / "out.msgpack", _packed(made.statement.outputs[0]))
    seconds = made.seconds
    typer.echo(f"Time elapsed in params construction: {seconds['params']:.3f} s")
    typer.echo(f"Time elapsed in generating vkey and pkey: {seconds['keys'] + seconds['proving key']:.3f} s")
    if "commitment" in seconds:
        typer.echo(f"Time elapsed in committing to the weights: {seconds['commitment']:.3f} s")
    typer.echo(f"Rows: 2^{made.k}")
    typer.echo(f"vkey size: {key_size} bytes")
    typer.echo(f"Public vals size: {len(values)} bytes")
    typer.echo(f"Proving time: {seconds['proof']:.3f} s")
    typer.echo(f"Proof size: {len(made.proof.data)} bytes")
    typer.echo(f"Verifying time: {seconds['verification']:.3f} s")
    typer.echo(f"Setup trust: {Halo2Verifier().setup_trust(made.key).trust}")
    _show(made.statement.outputs)


@app.command(epilog="Example: balance zkml verify-circuit config.msgpack vkey proof public_vals")
def verify_circuit(
    config: Annotated[Path, typer.Argument(help="The model's config.msgpack.", show_default=False)],
    vkey: Annotated[Path, typer.Argument(help="The key file that time-circuit wrote.", show_default=False)],
    proof: Annotated[Path, typer.Argument(help="The proof.", show_default=False)],
    public_vals: Annotated[Path, typer.Argument(help="The outputs that are claimed.", show_default=False)],
    scheme: SchemeArgument = "kzg",
) -> None:
    """Check a proof, and that it proves exactly these outputs for the circuit of the key; exit code 1 if not."""
    _check_scheme(scheme)
    import time

    from balance_core.converters.zkml.reader import read_configuration
    from balance_core.files import read_limited
    from balance_core.integer.interface import STRUCTURE_PART, read_interface
    from balance_core.records import Proof
    from balance_zkml import NAME, files
    from balance_zkml.verifier import Halo2Verifier

    configuration = read_configuration(config)
    typer.echo("Loaded configuration")
    key, commitment = files.read_key(vkey)
    files.check_configuration(configuration, read_interface(key.parts.get(STRUCTURE_PART, b"")))
    typer.echo("Loaded vkey")
    claimed = read_limited(public_vals, max_size=files.MAX_FILE, what="public values")
    start = time.perf_counter()
    data = read_limited(proof, max_size=files.MAX_FILE, what="proof")
    (statement,) = Halo2Verifier().verify(key, commitment, Proof(NAME, data))
    files.check_public_values(claimed, statement.outputs)
    typer.echo(f"Verifying time: {time.perf_counter() - start:.3f} s")
    typer.echo(f"Setup trust: {Halo2Verifier().setup_trust(key).trust}")
    typer.echo("Proof verified!")


@app.command("test-circuit", epilog="Example: balance zkml test-circuit model.msgpack inp.msgpack")
def try_circuit(
    model: ModelArgument, inputs: InputArgument, setting: given.SettingOption = None, out: OutOption = Path()
) -> None:
    """Prove and verify one answer with nothing kept but out.msgpack, and show the integers."""
    from balance_core.files import write_output
    from balance_zkml import trial

    settings = _settings(setting)
    integer, request = trial.load(model, inputs, settings)
    outputs = trial.run(integer, request, settings).statement.outputs
    write_output(out / "out.msgpack", _packed(outputs[0]))
    _show(outputs)


def _check_scheme(scheme: str) -> None:
    if scheme != "kzg":
        from balance_core.errors import ConfigError

        raise ConfigError(f"there is no commitment scheme {scheme!r} here", hint="leave it out, or give kzg")


def _settings(setting: list[str] | None) -> Halo2Settings:
    from balance_zkml import NAME
    from balance_zkml.settings import Halo2Settings

    return Halo2Settings.parse(given.plugin_settings(setting)["settings"], owner=NAME)


def _packed(output: Tensor) -> bytes:
    import msgpack

    packed: bytes = msgpack.packb(list(output.integers))
    return packed


def _show(outputs: tuple[Tensor, ...]) -> None:
    for output in outputs:
        shown = ", ".join(map(str, output.integers[:1000]))
        more = f", ... ({len(output.integers)} in all)" if len(output.integers) > 1000 else ""
        typer.echo(f"{output.name}: [{shown}{more}]")
