"""Opening private inputs: who knows them and what blinds them shows that a statement is of exactly these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.contracts import OpensInputs
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import HiddenTensor, InputOpening

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from balance_core.contracts import Verifier
    from balance_core.records import Statement, VerifyingKey


def of(
    verifier: Verifier, key: VerifyingKey, statement: Statement, inputs: Mapping[str, np.ndarray], blind: bytes
) -> InputOpening:
    """Return the opening of a statement with these inputs; checks nothing but their form."""
    return InputOpening(
        circuit_id=statement.circuit_id,
        context=statement.context,
        inputs=_opens(verifier, key).stated(key, inputs),
        blind=blind.hex(),
    )


def check(verifier: Verifier, key: VerifyingKey, statement: Statement, opening: InputOpening) -> None:
    """Raise InvalidProof unless the opening holds the inputs that a verified statement hides."""
    if not any(isinstance(tensor, HiddenTensor) for tensor in statement.inputs):
        raise InvalidProof("the proof's inputs are public: there is nothing to open")
    opens = _opens(verifier, key)
    named = (statement.circuit_id, statement.context)
    if (opening.circuit_id, opening.context) != named or key.circuit_id != statement.circuit_id:
        raise InvalidProof("the opening is of another request")
    blind = bytes.fromhex(opening.blind)
    if opens.hidden(key, bytes.fromhex(opening.context), opening.inputs, blind) != statement.inputs:
        raise InvalidProof("the proof is of other inputs than those of the opening")


def _opens(verifier: Verifier, key: VerifyingKey) -> OpensInputs:
    if not isinstance(verifier, OpensInputs):
        raise ConfigError(f"the verifier of {key.backend} opens no inputs")
    return verifier
