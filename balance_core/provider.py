"""What a provider does: make a model ready, register it, and prove its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from balance_core import registering, registry
from balance_core.compare import calibration
from balance_core.errors import ConfigError
from balance_core.files import write_output
from balance_core.model import Model
from balance_core.runs import ModelSummary
from balance_core.session import Session
from balance_core.stages import Task
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from balance_core.registering import Registered
    from balance_core.runs import Execution
    from balance_core.session import Options, Run
    from balance_core.stages import Support

EXAMPLE = Path(__file__).parent / "examples" / "mnist"
"""The bundled example: a small network that reads handwritten digits, and 100 digits."""


def convert(
    model: Path | str,
    target: Path | str,
    *,
    dimensions: Mapping[str, int] | None = None,
    converter_settings: Mapping[str, Any] | None = None,
) -> ModelSummary:
    """Write a model in normal form, as ONNX or as the integer model that it is, and return what is known of it."""
    executor = registry.create("executors", "local")
    arguments = {
        "source": str(Path(model).absolute()),
        "dimensions": dict(dimensions or {}),
        "converter": dict(converter_settings or {}),
    }
    try:
        task = Task(stage="convert", arguments={**arguments, "inputs": None, "samples": None})
        summary = ModelSummary.from_value(executor.submit(task).result().value["model"])
    finally:
        executor.close()
    converted = Model.from_bytes(Workspace.default().blob(summary.model).read_bytes())
    write_output(Path(target), converted.onnx if converted.integer is None else converted.integer)
    return summary


def check(model: Any, *, samples: Any = None, **options: Unpack[Options]) -> Support:
    """Ask a backend whether it can prove a model, and what that would cost here; nothing is kept."""
    with Session(options) as session:
        support = session.pipeline.check(session.convert(model, None, samples))
        version = session.pipeline.plugin_class.version
        return calibration.fitted(session.workspace, session.backend, version, support)


def setup(model: Any, samples: Any = None, **options: Unpack[Options]) -> Registered:
    """Make a model ready for proving and register it; `samples` are typical inputs, to choose settings by."""
    with Session(options) as session:
        preparation = session.prepare(session.convert(model, None, samples))
        return session.register(preparation)[0]


def run(
    model: Any = None,
    inputs: Any = None,
    *,
    samples: Any = None,
    index: int = 0,
    context: bytes | None = None,
    **options: Unpack[Options],
) -> Run:
    """Prove one answer of a model from beginning to end, verify the proof, and keep, store and publish it.

    Without a model it is the bundled example. `inputs` holds one or more inputs, of which number `index` is proven
    under `context` (32 bytes that name the request; random otherwise). Settings are chosen by `samples`, by default
    all inputs. Raises the errors of `balance_core.errors`.
    """
    if model is None:
        model = EXAMPLE / "mnist_mlp.onnx"
        inputs = EXAMPLE / "digits.npz" if inputs is None else inputs
    if inputs is None:
        raise ConfigError("there is nothing to prove without an input", hint="give one with --input x.npy")
    with Session(options) as session, session.following(str(model)[:200]):
        converted = session.convert(model, inputs, samples)
        preparation = session.prepare(converted)
        registered, reference = session.register(preparation)
        return session.prove(registered, converted, index=index, context=context, registration_ref=reference)


def execute(registration: str, inputs: Any, **options: Unpack[Options]) -> Execution:
    """Answer inputs as proofs under a registration would, without proving, and compare with the float model."""
    preparation = registering.find(Workspace.default(), registration).preparation
    options = {**options, "backend": preparation.backend, "settings": preparation.settings}
    with Session({**options, "chain": None, "storage": None}) as session:
        converted = session.convert_inputs(preparation.model, inputs)
        return session.execute(preparation, converted)


def prove(
    registration: str,
    inputs: Any,
    *,
    index: int = 0,
    context: bytes | None = None,
    **options: Unpack[Options],
) -> Run:
    """Prove one answer of a model that `setup` or `run` registered, named by registration id or name."""
    registered = registering.find(Workspace.default(), registration)
    preparation = registered.preparation
    options = {**options, "backend": preparation.backend, "settings": preparation.settings}
    with Session(options) as session, session.following(registration):
        converted = session.convert_inputs(preparation.model, inputs)
        return session.prove(registered, converted, index=index, context=context)
