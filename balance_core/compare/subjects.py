"""What is compared on: a model read once, and the samples that every backend gets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balance_core import arrays, canonical, registry
from balance_core.compare import counting
from balance_core.compare.results import ModelRecord
from balance_core.contracts import Samples
from balance_core.errors import BalanceError, ConfigError
from balance_core.model import Model
from balance_core.runs import ModelSummary
from balance_core.stages import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from balance_core.contracts import Batch
    from balance_core.stages import TaskResult
    from balance_core.workspace import Workspace

MOST_INPUTS = 200
"""How many of the inputs each backend answers; further ones serve to choose settings by."""
QUICK_INPUTS = 100
FEWEST_SAMPLES = 32
"""Fewer inputs than these left over are too few to choose settings by: the answered ones serve for both then."""
_INPUT_SUFFIXES = (".npz", ".npy", ".json", ".csv")


@dataclass(frozen=True)
class Subject:
    """A model to compare backends on, as the user or a suite gives it."""

    model: Path
    inputs: Path | Mapping[str, np.ndarray] | None = None
    """A file of any format that `--input` takes, or arrays; None: the file of the model's name beside it."""
    samples: Path | None = None
    """Typical inputs to choose settings by; None: inputs that are not answered, or else the answered ones."""
    name: str | None = None
    suite: str | None = None
    family: str | None = None
    dimensions: Mapping[str, int] = field(default_factory=dict)
    converter_settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A subject as every backend gets it: content of a workspace, and what is known of it."""

    record: ModelRecord
    workspace: Workspace
    model: str
    """CID of the model in normal form."""
    inputs: str
    samples: str
    """CIDs of the inputs that are answered, and of those by which settings are chosen, with the float answers."""
    asked: Samples
    input_digest: str
    sample_digest: str
    sample_count: int
    probe: str | None
    """CID of inputs on which the float model's answers differ: `inputs` where they do; None where none do."""
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many inputs are answered."""
        return _count(self.asked.inputs)


def beside(model: Path) -> Path:
    """Return the inputs that lie beside a model under its name; raises ConfigError."""
    for suffix in _INPUT_SUFFIXES:
        path = model.with_suffix(suffix)
        if path.is_file() and path != model:
            return path
    raise ConfigError(
        f"there are no inputs for {model.name}",
        hint=f"give them with --input, or put {model.stem}.npz beside the model",
    )


def prepare(subject: Subject, workspace: Workspace, *, quick: bool) -> Prepared:
    """Read a model and its inputs once, for all backends.

    Raises ConfigError and UnsupportedModel for what cannot be read: nothing can be compared on it.
    """
    most = QUICK_INPUTS if quick else MOST_INPUTS
    notes: list[str] = []
    first = _converted(subject, workspace)
    summary = ModelSummary.from_value(first.value["model"])
    given = _samples(workspace, first.blobs["inputs"])
    asked = _cut(given, 0, most)
    typical = _samples(workspace, first.blobs["samples"])
    if subject.samples is None:
        left = _cut(given, most, 2 * most)
        typical = left if _count(left.inputs) >= FEWEST_SAMPLES else asked
        if typical is asked:
            notes.append("settings were chosen by the inputs on which fidelity was measured")
    inputs, samples = _publish(workspace, asked), _publish(workspace, typical)
    probe: str | None = inputs
    if not differs(asked.outputs):
        again = _convert(workspace, _arguments(subject, None, None)).blobs["samples"]
        probe = again if differs(_samples(workspace, again).outputs) else None
    packed = Model.from_bytes(workspace.blob(summary.model).read_bytes())
    record = ModelRecord(
        name=_safe(subject.name) or summary.name,
        model_id=summary.model_id,
        sha256=_sha256(subject.model),
        file_bytes=subject.model.stat().st_size,
        parameters=counting.parameters(packed),
        macs=counting.macs(packed),
        operators=summary.operators,
        inputs=summary.inputs,
        outputs=summary.outputs,
        suite=subject.suite,
        family=subject.family,
    )
    return Prepared(
        record=record,
        workspace=workspace,
        model=summary.model,
        inputs=inputs,
        samples=samples,
        asked=asked,
        input_digest=_digest(asked.inputs),
        sample_digest=_digest(typical.inputs),
        sample_count=_count(typical.inputs),
        probe=probe,
        notes=(*notes, *(note for note in summary.notes if "calibrated" not in note)),
    )


def differs(outputs: Batch) -> bool:
    """Whether any two samples have different answers."""
    return any(len(array) > 1 and bool((array != array[:1]).any()) for array in outputs.values())


def _converted(subject: Subject, workspace: Workspace) -> TaskResult:
    if subject.inputs is None or isinstance(subject.inputs, Path):
        inputs = subject.inputs or beside(subject.model)
        return _convert(workspace, _arguments(subject, inputs, subject.samples))
    import numpy as np

    with workspace.scratch() as folder:
        path = folder / "inputs.npz"
        np.savez(path, **subject.inputs)  # type: ignore[arg-type]  # numpy's own stub takes no mapping of arrays
        return _convert(workspace, _arguments(subject, path, subject.samples))


def _arguments(subject: Subject, inputs: Path | None, samples: Path | None) -> dict[str, Any]:
    return {
        "source": str(subject.model.absolute()),
        "inputs": str(inputs.absolute()) if inputs else None,
        "samples": str(samples.absolute()) if samples else None,
        "dimensions": dict(subject.dimensions),
        "converter": dict(subject.converter_settings),
    }


def _convert(workspace: Workspace, arguments: dict[str, Any]) -> TaskResult:
    executor = registry.create("executors", "local", {"folder": workspace.root})
    try:
        result: TaskResult = executor.submit(Task(stage="convert", arguments=arguments)).result()
    except BalanceError as error:
        error.args = (f"{Path(arguments['source']).name}: {error.message}",)
        error.message = str(error.args[0])
        raise
    finally:
        executor.close()
    return result


def _samples(workspace: Workspace, address: str) -> Samples:
    return arrays.read_samples(workspace.blob(address))


def _publish(workspace: Workspace, samples: Samples) -> str:
    with workspace.scratch() as folder:
        path = folder / "samples.npz"
        arrays.write_samples(path, samples)
        return workspace.publish(path)


def _cut(samples: Samples, start: int, end: int) -> Samples:
    return Samples(
        {name: array[start:end] for name, array in samples.inputs.items()},
        {name: array[start:end] for name, array in samples.outputs.items()},
    )


def _count(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _digest(batch: Batch) -> str:
    """Return the digest of inputs as arrays: of names, types, shapes and numbers."""
    parts = []
    for name in sorted(batch):
        array = batch[name]
        header = {"name": name, "dtype": array.dtype.str, "shape": list(array.shape)}
        parts += [canonical.encode(header), array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()]
    return canonical.digest("compare-inputs/1", *parts)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _safe(name: str | None) -> str | None:
    from balance_core.model import safe_name

    return safe_name(name) if name else None
