"""What a prover does before a proof leaves it: verify it as a stranger would, and compare it with the oracle.

A witness that does not satisfy a circuit often gives no error, just a proof that does not verify; and a mistake in a
prover of one's own shows here before it shows anywhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.contracts import OpensInputs
from balance_core.errors import InvalidProof, ToolFailed
from balance_core.integer.executor import execute_integers
from balance_core.integer.interface import Interface
from balance_core.records import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.contracts import Verifier
    from balance_core.integer.model import IntegerModel
    from balance_core.integer.proving import IntegerRequest
    from balance_core.records import ModelCommitment, Proof, Statement, VerifyingKey


def check_proof(
    verifier: Verifier,
    key: VerifyingKey,
    commitment: ModelCommitment | None,
    proof: Proof,
    *,
    integer: IntegerModel,
    requests: Sequence[IntegerRequest],
) -> tuple[Statement, ...]:
    """Return what a proof states: what was asked, and what the numpy executor answers; else raises ToolFailed."""
    try:
        stated = verifier.verify(key, commitment, proof)
    except InvalidProof as error:
        raise ToolFailed(
            f"{proof.backend} made a proof that does not verify: {error.message}",
            hint="what it was made with may be damaged: run the setup again",
        ) from error
    expected = tuple(_expected(verifier, key, commitment, integer, request) for request in requests)
    if stated != expected:
        raise ToolFailed(f"{proof.backend} made a proof of something else than it was asked for")
    return stated


def _expected(
    verifier: Verifier,
    key: VerifyingKey,
    commitment: ModelCommitment | None,
    integer: IntegerModel,
    request: IntegerRequest,
) -> Statement:
    answer = execute_integers(integer, request.batch(integer)).outputs
    statement = Interface.of(integer).statement(
        key.circuit_id,
        request.context,
        [array.reshape(-1).tolist() for array in request.inputs],
        [answer[output.name].reshape(-1).tolist() for output in integer.outputs],
        commitment_id=None if commitment is None else commitment.commitment_id,
    )
    if request.blind is None:
        return statement
    if not isinstance(verifier, OpensInputs):
        raise ToolFailed(f"the verifier of {key.backend} does not say what hides private inputs")
    plain = [tensor for tensor in statement.inputs if isinstance(tensor, Tensor)]
    return statement.model_copy(update={"inputs": verifier.hidden(key, request.context, plain, request.blind)})
