"""The convert stage: reads model and inputs, normalises, and asks the original model for its float answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from balance_core import arrays, registry
from balance_core.contracts import Samples
from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.contracts import Batch
    from balance_core.model import Model
    from balance_core.work import LocalJob, Outcome

RANDOM_SAMPLES = 32
"""How many random inputs stand in for samples that the user does not give."""
_SEED = 20240607


def load_model(source: Path, dimensions: dict[str, int], settings: Mapping[str, Any] | None = None) -> Any:
    """Load a model of any format that a converter knows by the file's ending; `.onnx` needs none.

    `settings` are the converter's; ConfigError for settings that no converter takes.
    """
    from balance_core.integer.model import IntegerModel
    from balance_core.model import safe_name

    suffix = source.suffix.lower()
    if suffix in ("", ".onnx"):
        if settings:
            raise ConfigError(
                f"{source.name} is ONNX already: no converter takes the setting {min(settings)!r}",
                hint="leave it out; settings of the backend have no prefix",
            )
        from balance_core.model import load

        return load.load(source, dimensions=dimensions)
    for plugin in registry.describe("converters"):
        if suffix in registry.load("converters", plugin.name).suffixes:
            converted = registry.create("converters", plugin.name, settings).convert(source)
            name = safe_name(source.stem)
            if isinstance(converted, IntegerModel):  # for which ONNX is not needed, and not imported
                from balance_core.model import integers

                return integers.describe(converted, name)
            from balance_core.model import load

            return load.load(converted, name=name, dimensions=dimensions)
    raise ConfigError(
        f"no converter reads {suffix} files ({source.name})", hint="`balance plugins list` shows what is installed"
    )


def convert(arguments: dict[str, Any], packed: str | None, job: LocalJob) -> Outcome:
    """Do the convert stage.

    Arguments: `source` (the model's path), `dimensions`, settings of its `converter`, and the paths `inputs` and
    `samples` or null; `packed` is the CID of a model that is already in normal form and goes before `source`. Gives
    content `model` (normal form), `inputs` (all requests) and `samples` (for calibration), the latter two with the
    float answers.
    """
    from balance_core.model import Model, reference
    from balance_core.work import Outcome

    job.progress("reading the model")
    if packed:
        model = Model.from_bytes(job.path(packed).read_bytes())
    else:
        model = load_model(Path(arguments["source"]), arguments["dimensions"], arguments.get("converter"))
    notes: list[str] = []
    inputs = _read(arguments["inputs"], model)
    samples = _read(arguments["samples"], model) or inputs
    if samples is None:
        samples = random_samples(model)
        notes.append(f"calibrated on {RANDOM_SAMPLES} random inputs: give real ones for a setup that fits your data")
    job.progress("asking the float model")
    blobs = {"model": job.publish_bytes(model.to_bytes(), "model")}
    answered = _answered(model, samples)
    blobs["samples"] = _publish(answered, job)
    if inputs is samples:
        blobs["inputs"] = blobs["samples"]
    elif inputs is not None:
        blobs["inputs"] = _publish(_answered(model, inputs), job)
    difference = reference.largest_difference(model.original, model.onnx, samples) if model.original else 0.0
    value = {
        "name": model.name,
        "model_id": model.model_id,
        "inputs": [spec.model_dump(mode="json") for spec in model.inputs],
        "outputs": [spec.model_dump(mode="json") for spec in model.outputs],
        "operators": list(model.operators),
        "model": blobs["model"],
        "rewrite_difference": difference,
        "notes": notes,
    }
    return Outcome({"model": value, "requests": 0 if inputs is None else _count(inputs)}, blobs)


def read_batch(path: Path, model: Model) -> Batch:
    """Read inputs of a model; an input file of the zkml project (.msgpack) goes with a model of that format."""
    from balance_core.model.inputs import as_batch, read_inputs

    if path.suffix.lower() == ".msgpack" and model.integer is not None:
        from balance_core.converters.zkml.reader import read_reals
        from balance_core.integer.encoding import loads

        return read_reals(path, loads(model.integer))
    return as_batch(read_inputs(path, model.inputs), model.inputs)


def _read(path: str | None, model: Model) -> Batch | None:
    return None if path is None else read_batch(Path(path), model)


def _count(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _answered(model: Model, batch: Batch) -> Samples:
    from balance_core.model import reference

    floats = model.integer is None
    return Samples(batch, reference.run(model.onnx, batch) if floats else reference.answers(model, batch))


def _publish(samples: Samples, job: LocalJob) -> str:
    target = job.scratch / "samples.npz"
    arrays.write_samples(target, samples)
    return job.publish(target)


def random_samples(model: Model) -> Batch:
    """Return inputs drawn from a standard normal distribution, the same ones every time.

    Integers are drawn from the range that the model declares, or are 0 or 1; those of an integer model's own small
    types are drawn from the whole type.
    """
    import numpy as np

    from balance_core.model import ranges

    proto = None if model.integer is not None else model.proto()
    random = np.random.default_rng(_SEED)
    batch = {}
    for spec in model.inputs:
        shape = (RANDOM_SAMPLES, *spec.shape)
        floating = spec.dtype.startswith("float")
        declared = ranges.declared(proto, spec.name) if proto is not None and not floating else None
        low, high = (int(declared[0]), int(declared[1]) + 1) if declared else (0, 2)
        if model.integer is not None and spec.dtype in {"int8", "uint8", "int16"}:
            low, high = np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max + 1
        drawn = random.standard_normal(shape) if floating else random.integers(low, high, shape)
        batch[spec.name] = drawn.astype(spec.dtype)
    return batch
