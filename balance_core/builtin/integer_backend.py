"""The reference backend: it proves nothing, and shows what every other backend should answer.

A "proof" is a request with its answer, and the verifier runs the integer model again. That makes pipeline, kit and
fault tests testable without a prover, and it is the oracle that provers of the integer model are compared with.
"""

from __future__ import annotations

import base64
import io
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from typing_extensions import override

from balance_core.builtin.integer_verifier import (
    KEY_PART,
    NAME,
    NOTE,
    Answer,
    ReExecution,
    output_tensors,
    read_model,
    seal,
)
from balance_core.contracts import ProofBackend
from balance_core.errors import ConfigError, NodeIssue, UnsupportedModel
from balance_core.integer.settings import IntegerSettings
from balance_core.records import Circuit, Proof, SetupTrust, Trust
from balance_core.stages import Capabilities, NodeProblem, Support

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from balance_core.contracts import Batch, Job, Request, Samples
    from balance_core.integer.model import IntegerModel
    from balance_core.model import Model
    from balance_core.records import Opening, Tensor

MAX_CALIBRATION_BYTES = 2**20
"""Largest calibration kept in a circuit's settings, in bytes of its text form; fewer samples are used beyond."""
_CHECKED_SAMPLES = 2
"""How many random inputs `check` tries a lowering on."""


class ReferenceSettings(IntegerSettings):
    """How a float model becomes integers, and what it was calibrated on."""

    calibration: Annotated[
        str | None,
        Field(description="calibration inputs that go before any samples given; a circuit's settings hold its own"),
    ] = None


class IntegerBackend(ProofBackend):
    """Re-execution of the integer model: not a proof system."""

    api_version = 1
    version = "1"
    settings_class = ReferenceSettings
    settings: ReferenceSettings
    capabilities = Capabilities(
        binds_context=True, batch=True, deterministic=True, transparent_setup=True, security_note=NOTE
    )

    @override
    def check(self, model: Model) -> Support:
        try:
            _refuse(model)
        except UnsupportedModel as error:
            return Support(problems=tuple(NodeProblem(**issue._asdict()) for issue in error.issues), notes=(NOTE,))
        return Support(notes=(NOTE,))

    @override
    def setup(self, model: Model, samples: Samples | None, job: Job) -> Circuit:
        _refuse(model)
        job.progress("lowering to integers")
        integer, settings, facts = self._integers(model, None if samples is None else samples.inputs)
        from balance_core.integer.encoding import dumps
        from balance_core.integer.model import IntegerModel

        nameless = [replace(node, label="") for node in integer.nodes]  # a circuit does not depend on nodes' names
        target = job.scratch / KEY_PART
        target.write_bytes(dumps(IntegerModel(tuple(nameless), integer.outputs, integer.weights)))
        return Circuit(
            backend=NAME,
            backend_version=self.version,
            model_id=model.model_id,
            settings=settings.model_dump(mode="json"),
            inputs=model.inputs,
            outputs=model.outputs,
            setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
            key={KEY_PART: job.publish(target)},
            facts={"note": NOTE, "nodes": len(integer.nodes), **facts},
        )

    def _integers(
        self, model: Model, inputs: Batch | None
    ) -> tuple[IntegerModel, ReferenceSettings, dict[str, int | float | str | bool]]:
        """Return the integer model, the settings that make it again, and facts about it."""
        from balance_core.integer.calibration import calibrate
        from balance_core.integer.encoding import loads

        if model.integer is not None:
            return loads(model.integer), self.settings, {}
        text = self.settings.calibration
        if text is None and inputs is not None:
            text = _packed(inputs, self.settings.samples)
        plain = IntegerSettings(**self.settings.model_dump(exclude={"calibration"}))
        made = calibrate(model.proto(), None if text is None else _unpacked(text), plain)
        chosen = made.report.chosen
        again = {"calibration": text, "bits": chosen.bits, "weight_bits": chosen.weight_bits}
        facts: dict[str, int | float | str | bool] = {
            "bits": chosen.bits,
            "weight_bits": chosen.weight_bits,
            "mean_bits": round(made.report.mean_bits, 2),
            "calibration_samples": made.report.samples,
            "calibrated_on_random_inputs": made.report.random_inputs,
            "accuracy_reached": made.report.suffices,
        }
        return made.model, self.settings.model_copy(update=again), facts

    @override
    def execute(self, circuit: Circuit, opening: Opening, inputs: Batch, job: Job) -> Sequence[tuple[Tensor, ...]]:
        del opening
        from balance_core.model.integers import run

        model = _model(circuit, job)
        job.progress("running the integer model")
        outputs = run(model, inputs).outputs
        count = len(next(iter(outputs.values())))
        return [output_tensors(model, outputs, sample) for sample in range(count)]

    @override
    def prove(self, circuit: Circuit, opening: Opening, requests: Sequence[Request], job: Job) -> Proof:
        del opening
        if not requests:
            raise ConfigError("there is nothing to answer: no request is given")
        model = _model(circuit, job)
        answers = []
        for number, request in enumerate(requests):
            job.progress(f"request {number}", number / len(requests))
            answers.append(_answer(model, request))
        return Proof(NAME, ReExecution(answers=tuple(answers), seal=seal(circuit.circuit_id, answers)).to_json())


def _model(circuit: Circuit, job: Job) -> IntegerModel:
    return read_model(job.path(circuit.key[KEY_PART]).read_bytes())


def _answer(model: IntegerModel, request: Request) -> Answer:
    from balance_core.integer.executor import execute_integers
    from balance_core.model.integers import quantised

    given = quantised(model, {name: array[None] for name, array in request.inputs.items()})
    outputs = execute_integers(model, given).outputs
    return Answer(
        context=request.context.hex(),
        inputs=tuple(tuple(given[op.label].reshape(-1).tolist()) for _, op in model.inputs),
        outputs=tuple(tuple(outputs[output.name].reshape(-1).tolist()) for output in model.outputs),
    )


def _refuse(model: Model) -> None:
    """Raise UnsupportedModel with every node that has no integer form, as far as a few random inputs tell."""
    if model.integer is not None:
        return
    from balance_core.integer.calibration import random_inputs
    from balance_core.integer.lowering.driver import Lowering
    from balance_core.integer.lowering.graph import TooManySamples

    proto = model.proto()
    batch = {name: array[:_CHECKED_SAMPLES] for name, array in random_inputs(proto, IntegerSettings()).items()}
    try:
        Lowering(proto, batch, 8, 8).run()
    except TooManySamples as error:
        raise _whole(model, str(error)) from None
    except UnsupportedModel as error:
        raise error if error.issues else _whole(model, error.message) from None


def _whole(model: Model, reason: str) -> UnsupportedModel:
    issue = NodeIssue(model.name, "model", reason)
    return UnsupportedModel("the model has no integer form", issues=[issue])


def _packed(inputs: Mapping[str, np.ndarray], count: int) -> str:
    """Return the first samples as text: a compressed array for each input, in the order of their names."""
    import numpy as np

    while True:
        parts = []
        for name in sorted(inputs):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(inputs[name][:count]), version=(1, 0))
            head = name.encode()
            parts += [
                len(head).to_bytes(4, "big"),
                head,
                len(buffer.getvalue()).to_bytes(8, "big"),
                buffer.getvalue(),
            ]
        text = base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()
        if len(text) <= MAX_CALIBRATION_BYTES or count == 1:
            return text
        count = max(1, count // 2)


def _unpacked(text: str) -> dict[str, np.ndarray]:
    """Read what `_packed` wrote, from settings that may come from anybody; raises ConfigError."""
    import numpy as np

    arrays: dict[str, np.ndarray] = {}
    try:
        engine = zlib.decompressobj()
        source = io.BytesIO(engine.decompress(base64.b64decode(text, validate=True), 2**28))
        if not engine.eof:
            raise ConfigError("the calibration in the settings is cut short or too large")
        while head := source.read(4):
            name = source.read(int.from_bytes(head, "big")).decode()
            body = io.BytesIO(source.read(int.from_bytes(source.read(8), "big")))
            arrays[name] = np.lib.format.read_array(body, allow_pickle=False)
    except (ValueError, zlib.error, EOFError, OverflowError, MemoryError) as error:
        raise ConfigError("the calibration in the settings is no list of arrays") from error
    return arrays
