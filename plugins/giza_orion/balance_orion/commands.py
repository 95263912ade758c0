"""`balance orion`: the Cairo program of a model, to read, and where its steps go."""

from __future__ import annotations

from pathlib import Path  # typer reads annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from balance_core.integer.model import IntegerModel

app = typer.Typer(
    help="Cairo programs that giza_orion makes of models.",
    no_args_is_help=True,
    epilog="Example: balance orion profile model.onnx --samples x.npy",
)

Subject = Annotated[
    str, typer.Argument(help="A model's file, or one's own registration by name or id.", show_default=False)
]
Samples = Annotated[
    Path | None, typer.Option("--samples", help="Typical inputs, by which a model's integers are chosen.")
]
Lines = Annotated[int, typer.Option("--lines", min=1, help="Most lines to show.")]


@app.command(epilog="Example: balance orion show model.onnx --lines 200")
def show(model: Subject, samples: Samples = None, lines: Lines = 1_000_000) -> None:
    """Print the program as Cairo assembly."""
    from itertools import islice

    from balance_orion.generator import generate
    from balance_orion.listing import listing

    for line in islice(listing(generate(_integers(model, samples))), lines):
        typer.echo(line)


@app.command(epilog="Example: balance orion profile model.onnx")
def profile(model: Subject, samples: Samples = None) -> None:
    """Print steps, range checks and words by layer, rows of each component, and the expected time and memory."""
    from balance_orion.generator import generate
    from balance_orion.listing import profile as table

    integers = _integers(model, samples)
    for line in table(generate(integers), integers):
        typer.echo(line)


def _integers(subject: str, samples: Path | None) -> IntegerModel:
    """Return the integer model of a file or of a registration of giza_orion."""
    from balance_core.integer.encoding import loads

    if not Path(subject).exists():
        return _registered(subject)
    from balance_core.conversion import load_model
    from balance_core.integer.calibration import lower
    from balance_core.model.inputs import read_inputs

    model = load_model(Path(subject), {})
    if model.integer is not None:
        return loads(model.integer)
    return lower(model.proto(), None if samples is None else read_inputs(samples, model.inputs))


def _registered(name: str) -> IntegerModel:
    from balance_core.errors import ConfigError
    from balance_core.integer.encoding import loads
    from balance_core.integer.proving import INTEGER_PART
    from balance_core.records import Circuit
    from balance_core.registering import find
    from balance_core.workspace import Workspace
    from balance_orion import NAME

    workspace = Workspace.default()
    preparation = find(workspace, name).preparation
    if preparation.backend != NAME:
        raise ConfigError(f"{name} is a registration of {preparation.backend}, not of {NAME}")
    circuit = Circuit.from_json(workspace.blob(preparation.circuit).read_bytes())
    return loads(workspace.blob(circuit.proving[INTEGER_PART]).read_bytes())
