"""The reference backend `integer`: it answers and "proves" by running the integer model. It proves nothing.

Whoever verifies runs the model again, from the weights in the verifying key, and compares. That makes it the oracle
for backends that do prove the integer model, and the way to try models, settings and whole pipelines before proving
costs time. `sound` is not among its capabilities, so it is never ranked or chosen as a prover.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from balance_core.builtin.integer_verifier import NAME, NOTE, WEIGHTS_PART, Answer, ReExecution, seal
from balance_core.integer.proving import IntegerProofBackend, Keys
from balance_core.records import SetupTrust, Trust
from balance_core.stages import Capabilities, Support

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.contracts import Job, Verifier
    from balance_core.integer.model import IntegerModel
    from balance_core.integer.proving import IntegerRequest
    from balance_core.model import Model
    from balance_core.records import Circuit, Opening


class IntegerBackend(IntegerProofBackend):
    """Re-execution of the integer model: not a proof system."""

    api_version = 1
    version = "2"
    name = NAME
    capabilities = Capabilities(
        binds_context=True,
        batch=True,
        deterministic=True,
        transparent_setup=True,
        security_note=NOTE,
        proof_system="none: the reference backend computes again",
    )

    @override
    def check(self, model: Model) -> Support:
        return super().check(model).model_copy(update={"notes": (NOTE,)})

    @override
    def estimate(self, structure: IntegerModel) -> Support:
        del structure
        return Support()

    @override
    def make_keys(self, integer: IntegerModel, job: Job) -> Keys:
        from balance_core.integer.encoding import encode_weights

        del job
        trust = SetupTrust(trust=Trust.TRANSPARENT)
        return Keys({WEIGHTS_PART: encode_weights(integer)}, trust, facts={"note": NOTE})

    @override
    def make_verifier(self) -> Verifier:
        from balance_core.builtin.integer_verifier import IntegerVerifier

        return IntegerVerifier()

    @override
    def prove_integers(
        self, circuit: Circuit, opening: Opening, integer: IntegerModel, requests: Sequence[IntegerRequest], job: Job
    ) -> bytes:
        del opening
        answers = []
        for number, request in enumerate(requests):
            job.progress(f"request {number}", number / len(requests))
            answers.append(_answer(integer, request))
        return ReExecution(answers=tuple(answers), seal=seal(circuit.circuit_id, answers)).to_json()


def _answer(integer: IntegerModel, request: IntegerRequest) -> Answer:
    from balance_core.integer.executor import execute_integers

    outputs = execute_integers(integer, request.batch(integer)).outputs
    return Answer(
        context=request.context.hex(),
        inputs=tuple(tuple(array.reshape(-1).tolist()) for array in request.inputs),
        outputs=tuple(tuple(outputs[output.name].reshape(-1).tolist()) for output in integer.outputs),
    )
