"""One question and its answer: what is sent, and everything that must be right before the answer is believed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from balance_core.errors import ConfigError, InvalidProof, ProviderUnreachable
from balance_core.integer.interface import STRUCTURE_PART
from balance_core.records import InputOpening
from balance_core.service import wire
from balance_core.service.client.inputs import check_inputs, digest_of, opens_inputs, stated_inputs
from balance_core.service.receipts import SignedReceipt, check_receipt, context_of, matching, request_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.bundle import Bundle
    from balance_core.records import Registration, Statement, Tensor, VerifyingKey
    from balance_core.service.receipts import AnswerReceipt, ProofMode
    from balance_core.verification import Verified

CLOCKS_DIFFER = timedelta(minutes=5)
"""How far the clocks of an honest provider and its client may be apart."""


@dataclass(frozen=True)
class Question:
    """A request, before it is sent."""

    inputs: Mapping[str, np.ndarray]
    registration: Registration
    proof: ProofMode = "none"
    private: bool = False
    """Whether the proof is to hide the input; then `blind` opens it, which this side draws."""
    visibility: wire.Visibility | None = None
    """What the provider is told of that; None: as the registration has it."""
    nonce: str = field(default_factory=lambda: secrets.token_hex(32))
    blind: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    asked: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it was first asked."""

    def body(self) -> wire.Body:
        """Return what is sent."""
        asked = wire.Asked(
            proof=self.proof,
            nonce=self.nonce,
            visibility=self.visibility,
            registration=self.registration.registration_id,
            blind=self.blind if self.private else None,
        )
        return wire.write_request(self.inputs, asked)

    def opening(self, key: VerifyingKey) -> InputOpening | None:
        """Return what shows that a proof under this key is of this input, if the proof is to hide it.

        None where the key, or its proof system, lets nobody open what is hidden.
        """
        if not self.private or not opens_inputs(key.backend):
            return None
        stated = stated_inputs(key, self.inputs)
        if stated is None:
            return None
        context = context_of(self.nonce, self.registration.registration_id)
        return InputOpening(circuit_id=key.circuit_id, context=context, inputs=stated, blind=self.blind)


@dataclass(frozen=True)
class Answer:
    """An answer under a receipt that was checked; with `verified` also its proof, checked here."""

    question: Question
    signed: SignedReceipt
    verified: Verified | None = None
    bundle: bytes | None = field(default=None, repr=False)
    bound: bool = True
    """Whether the receipt's digest of the input was computed here; else only a proof shows that it is this one's."""
    hidden: bool = False
    """Whether the proof hides its input and nobody can open it: only the receipt says that it is the one sent."""
    opening: InputOpening | None = field(default=None, repr=False)
    """What opens the hidden input of the proof, tried here; whoever is shown it knows the input."""

    @property
    def receipt(self) -> AnswerReceipt:
        """What the provider promised."""
        return self.signed.receipt

    @property
    def outputs(self) -> dict[str, np.ndarray]:
        """The outputs by name, as float64 arrays: the numbers that the receipt's integers stand for."""
        return {tensor.name: tensor.real() for tensor in self.receipt.outputs}

    @property
    def proven(self) -> bool:
        """Whether a proof by a sound proof system bears the answer out."""
        return self.verified is not None and self.verified.sound

    @property
    def statement(self) -> Statement | None:
        """What the proof says."""
        return matching(self.receipt, self.verified) if self.verified else None


def read_answer(question: Question, body: bytes, headers: Mapping[str, str], *, key: VerifyingKey | None) -> Answer:
    """Check a provider's answer against the question; raises InvalidProof for any mismatch.

    With the verifying key the input's digest is computed here; without it, the proof will show it.
    """
    try:
        response, arrays = wire.read_response(body, headers.get(wire.HEADER_LENGTH.lower()))
        given = wire.given(response.parameters)
        signed = SignedReceipt.from_json(given.receipt.encode())
    except ConfigError as error:
        raise ProviderUnreachable(
            f"the provider's answer is not of the protocol: {error.message}", hint="is this a Balance provider?"
        ) from error
    check_promise(question, signed, key=key)
    _check_time(signed.receipt, question.asked)
    _check_shown(signed.receipt, arrays)
    return Answer(question, signed, bound=key is not None and STRUCTURE_PART in key.parts and not question.private)


def check_promise(question: Question, signed: SignedReceipt, *, key: VerifyingKey | None) -> AnswerReceipt:
    """Return the receipt if it is the registered provider's, of this question; raises InvalidProof."""
    receipt = check_receipt(signed, question.registration.provider)
    if receipt.registration_id != question.registration.registration_id:
        raise InvalidProof("the receipt is under another registration than the one that you rely on")
    if receipt.nonce != question.nonce or receipt.context != context_of(
        question.nonce, question.registration.registration_id
    ):
        raise InvalidProof("the receipt is of another request: it does not hold the nonce that was sent")
    if receipt.input_sha256 != request_sha256(question.inputs):
        raise InvalidProof("the receipt is about another input than the one that was sent")
    if receipt.proof != question.proof:
        raise InvalidProof(f"the receipt promises proof {receipt.proof!r}, and {question.proof!r} was asked for")
    expected = stated_inputs(key, question.inputs) if key is not None and not question.private else None
    if expected is not None and receipt.input_digest != digest_of(expected):
        raise InvalidProof(
            "the receipt names another input than the registered circuit makes of the one that was sent",
            hint="such a receipt cannot be held against its provider: do not rely on the answer",
        )
    return receipt


def _check_time(receipt: AnswerReceipt, asked: datetime) -> None:
    """Raise InvalidProof for a receipt of another time than now.

    Its provider could disown it later: as older than the registration, or as made after its key was given up.
    """
    try:
        signed = datetime.fromisoformat(receipt.time)
    except ValueError as error:
        raise InvalidProof(f"the receipt's time {receipt.time} is none") from error
    if not asked - CLOCKS_DIFFER <= signed <= datetime.now(UTC) + CLOCKS_DIFFER:
        raise InvalidProof(
            f"the receipt says that it was signed at {receipt.time}, which is not now",
            hint="set this machine's clock; if it is right, do not rely on the provider",
        )


def _check_shown(receipt: AnswerReceipt, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise InvalidProof unless the tensors beside the receipt show what the receipt says."""
    promised = {tensor.name: tensor for tensor in receipt.outputs}
    reals = {name: _real(tensor) for name, tensor in promised.items()}
    for name, array in arrays.items():
        tensor = promised.get(name)
        if tensor is None or tensor.shape != array.shape:
            raise InvalidProof(f"the answer holds an output {name!r} that the receipt does not")
        with np.errstate(all="ignore"):
            meant: Any = reals[name].astype(array.dtype)
        if not np.array_equal(meant, array):
            raise InvalidProof(f"the answer's {name!r} is not what the receipt says")


def _real(tensor: Tensor) -> np.ndarray:
    """Return the numbers that a stranger's tensor stands for; raises InvalidProof for those that no double holds."""
    try:
        with np.errstate(all="ignore"):
            found = tensor.real()
    except (OverflowError, ZeroDivisionError):
        found = np.array(np.inf)
    if not np.isfinite(found).all():
        raise InvalidProof(f"the receipt's output {tensor.name[:80]!r} holds numbers that are too large to be any")
    return found


def check_proof(answer: Answer, bundle: Bundle, verified: Verified) -> Answer:
    """Return the answer with its proof; raises InvalidProof where the proof is not of this very answer.

    A proof that hides its input was checked with the question's opening, if there is one.
    """
    statement, question = matching(answer.receipt, verified), answer.question
    shown = check_inputs(statement, bundle.key, question.inputs, opened=verified.opened_inputs)
    if verified.hides_inputs and not question.private:
        raise InvalidProof("the proof hides its input, which was not asked for")
    if question.private and not verified.hides_inputs:
        raise InvalidProof("the proof shows its input to everybody, which was to be hidden")
    opening = question.opening(bundle.key)
    if opening is not None and not shown:
        raise InvalidProof("the proof hides its input, and was not opened")
    return replace(answer, verified=verified, bundle=bundle.to_bytes(), hidden=not shown, opening=opening)
