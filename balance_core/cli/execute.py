"""`balance exec`, and `balance inspect` of a model: the integers that every prover of the integer model proves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from balance_core.cli import options as given

SvgOption = Annotated[
    Path | None, typer.Option("--svg", help="Write a diagram of the integer graph here.", show_default=False)
]
ExecInput = Annotated[
    Path,
    typer.Option("--input", "-i", help="Inputs: .npy, .npz, .json or .csv; all are answered.", show_default=False),
]
ExecModel = Annotated[Path, typer.Argument(help="The model: .onnx, or what a converter reads.", show_default=False)]


def add_commands(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("exec", epilog="Example: balance exec model.onnx --input x.npy -o bits=8")(execute)


def execute(
    model: ExecModel,
    inputs: ExecInput,
    *,
    samples: given.SamplesOption = None,
    setting: given.SettingOption = None,
    dim: given.DimensionOption = None,
    json: given.JsonOption = False,
) -> None:
    """Answer inputs in integers and in reals, without proving anything.

    The integers are those that provers of the integer model prove. Settings are its own: bits, min_agreement ...
    """
    from balance_core import execution
    from balance_core.cli.display import field

    prepared, batch = execution.prepare(
        model,
        inputs=inputs,
        samples=samples,
        dimensions=given.dimensions(dim),
        **_settings(setting),
    )
    answered = execution.execute(prepared, batch or {})
    nodes = {output.name: prepared.integer.nodes[output.tensor] for output in prepared.integer.outputs}
    if json:
        import json as writer

        outputs = [
            {
                "name": name,
                "scale": f"{nodes[name].scale.numerator}/{nodes[name].scale.denominator}",
                "zero_point": nodes[name].zero_point,
                "integers": integers.tolist(),
                "reals": answered.reals[name].tolist(),
            }
            for name, integers in answered.outputs.items()
        ]
        facts = {"model_id": prepared.model.model_id, "structure_digest": prepared.integer.structure_digest}
        typer.echo(writer.dumps({**facts, "notes": list(prepared.notes), "outputs": outputs}))
        return
    for name, integers in answered.outputs.items():
        for sample, row in enumerate(integers):
            field(f"input {sample}", name)
            field("integers", _numbers(row.reshape(-1).tolist()))
            field("reals", _numbers(answered.reals[name][sample].reshape(-1).tolist()))
    for note in prepared.notes:
        field("note", note)
    typer.echo("nothing of this was proven: balance run does that")


def _numbers(values: list[Any]) -> str:
    shown = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values[:1000]]
    return " ".join(shown) + (" ..." if len(values) > 1000 else "")


def _settings(setting: list[str] | None) -> dict[str, Any]:
    """Return the settings of the integer model and of the converter, by the names that `prepare` knows them by."""
    from balance_core.integer.settings import IntegerSettings

    tables = given.plugin_settings(setting)
    settings = IntegerSettings.parse(tables["settings"], owner="the integer model")
    return {"settings": settings, "converter": tables["converter_settings"]}


def is_model(source: str) -> bool:
    """Whether an argument is a model's file, by the ending of its name."""
    suffix = Path(source).suffix.lower()
    if suffix == ".onnx":
        return True
    if suffix in {"", ".balance"} or not Path(source).is_file():
        return False
    from balance_core import registry

    return any(suffix in registry.load("converters", name).suffixes for name in registry.names("converters"))


def show_model(
    source: Path,
    svg: Path | None,
    samples: Path | None,
    setting: list[str] | None,
    dim: list[str] | None,
    *,
    json: bool,
) -> None:
    """Show the operations of a model's integers, with shapes, scales, intervals, multiply-adds and tables."""
    from balance_core import execution
    from balance_core.cli.display import field
    from balance_core.files import write_whole
    from balance_core.integer import inspect

    prepared, _ = execution.prepare(source, samples=samples, dimensions=given.dimensions(dim), **_settings(setting))
    if svg is not None:
        write_whole(svg, inspect.svg(prepared.integer).encode())
    if json:
        import json as writer

        data = {**inspect.summary(prepared.integer), "model_id": prepared.model.model_id}
        if prepared.report is not None:
            data["calibration"] = prepared.report.model_dump(mode="json")
        typer.echo(writer.dumps(data))
        return
    field("model", prepared.model.model_id)
    typer.echo(inspect.table(prepared.integer))
    if prepared.report is not None:
        typer.echo(prepared.report.table())
    for note in prepared.notes:
        field("note", note)
    if svg is not None:
        field("diagram", svg)
