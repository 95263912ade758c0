"""Receipts: what a provider signs before an answer leaves, so that a false answer can be held against it.

A receipt names the request (nonce), the model (registration), the input and the output. The context of a proof of the
answer follows from nonce and registration, so that receipt and proof belong together without a word of the provider.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from balance_core import canonical
from balance_core.chain import answer_id
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import Context, Digest, PublicKey, Record, Signature, Tensor
from balance_core.signing import sign, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from balance_core.records import Statement
    from balance_core.signing import SigningKey
    from balance_core.verification import Verified

UNBOUND_CONTEXT = "00" * 32
"""What a statement holds whose backend does not bind the context."""

ProofMode = Literal["none", "later", "now"]
"""What was promised with the answer: no proof unless asked for, one in due time, or one at once."""
Time = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$")]
"""UTC with milliseconds, as 2026-01-31T12:00:00.000Z."""


def context_of(nonce: str, registration_id: str) -> str:
    """Return the 32 bytes, as hex, that name a request in its proof; they follow from nonce and registration."""
    return canonical.digest("context/1", bytes.fromhex(nonce), bytes.fromhex(registration_id))


def job_id_of(registration_id: str, input_sha256: str, context: str) -> str:
    """Return the name of the job that proves an answer: the same request has one job, however often it is sent."""
    return canonical.digest("job/1", *map(bytes.fromhex, (registration_id, input_sha256, context)))


def request_sha256(inputs: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 that binds an input as it was sent, before any backend's quantisation.

    It covers each tensor's name, element type (numpy's name), shape and little-endian bytes in row-major order,
    sorted by name. The arrays are one request: no batch axis beyond the model's own.
    """
    parts: list[bytes] = []
    for name in sorted(inputs):
        array = inputs[name]
        if array.dtype.kind not in "biuf":
            raise ConfigError(f"input {name!r} holds {array.dtype}, not numbers")
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        shape = ",".join(map(str, array.shape))
        parts += [name.encode(), array.dtype.name.encode(), shape.encode(), little.tobytes()]
    return canonical.digest("request/1", *parts)


def now() -> str:
    """Return the present time as receipts hold it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


class _Written(Record):
    """A record that is written once, however often its bytes are asked for."""

    kind: ClassVar[str]

    @override
    def to_json(self) -> bytes:
        written: bytes | None = self.__dict__.get("_written")
        if written is None:
            written = self.__dict__["_written"] = self._write()
        return written

    def _write(self) -> bytes:
        return super().to_json()

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_written", None)
        return copied


class AnswerReceipt(_Written):
    """The provider's promise: for this request and input I answered these outputs under this registration."""

    kind: ClassVar[str] = "answer-receipt"
    registration_id: Digest
    provider: PublicKey
    nonce: Context
    """32 bytes that the client chose, so that an old receipt does not pass for a new one."""
    context: Context
    """What a proof of this answer states as its context: `context_of(nonce, registration_id)`."""
    input_digest: Digest | None
    """The `inputs_digest` of the statement; None where the statement holds a hiding commitment that is made later."""
    input_sha256: Digest
    """The input as it was sent: `request_sha256`."""
    outputs: tuple[Tensor, ...]
    """The answer, exactly as a proof states it."""
    time: Time
    proof: ProofMode
    job_id: Digest | None
    """The job that will prove the answer, if one was accepted: `job_id_of(...)`."""

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.context != context_of(self.nonce, self.registration_id):
            raise ValueError("the context does not follow from nonce and registration")
        if (self.job_id is None) != (self.proof == "none"):
            raise ValueError("a receipt names a job exactly if a proof was promised")
        if self.job_id not in {None, self.job}:
            raise ValueError("the job does not follow from registration, input and context")
        return self

    @property
    def receipt_id(self) -> str:
        """The digest that names the receipt."""
        return self.digest

    @property
    def job(self) -> str:
        """The name of the job that would prove the answer, whether or not there is one."""
        return job_id_of(self.registration_id, self.input_sha256, self.context)

    @property
    def proof_id(self) -> str | None:
        """The name that a chain gives the proven answer; None where it follows from a commitment made later."""
        if self.input_digest is None:
            return None
        return answer_id(self.registration_id, self.input_digest, self.context)

    @property
    def output_digest(self) -> str:
        """The digest of the outputs alone."""
        return canonical.digest("outputs/1", *(tensor.to_json() for tensor in self.outputs))


class SignedReceipt(_Written):
    """A receipt with the signature of the provider that it names."""

    kind: ClassVar[str] = "signed-receipt"
    domain: ClassVar[str] = "answer-receipt"
    receipt: AnswerReceipt
    signature: Signature

    @override
    def _write(self) -> bytes:
        # Made of the receipt's own bytes, which are at hand: keys in order, and nothing in them to be escaped.
        rest = f',"schema_version":{self.schema_version},"signature":"{self.signature}"}}'
        return b'{"receipt":' + self.receipt.to_json() + rest.encode()

    @property
    def receipt_id(self) -> str:
        """The digest that names the receipt, whatever its signature."""
        return self.receipt.receipt_id


def sign_receipt(key: SigningKey, receipt: AnswerReceipt) -> SignedReceipt:
    """Sign as the provider; raises ConfigError if the key is not the one that the receipt names."""
    if key.public != receipt.provider:
        raise ConfigError(
            f"the receipt names the provider {receipt.provider} and not {key.public}",
            hint="sign with the key that the registration names",
        )
    return SignedReceipt(receipt=receipt, signature=sign(key, SignedReceipt.domain, receipt))


def check_receipt(signed: SignedReceipt, provider: str) -> AnswerReceipt:
    """Return the receipt if this provider (32 bytes as hex) signed it; raises InvalidProof."""
    if signed.receipt.provider != provider:
        raise InvalidProof(
            f"the receipt is by {signed.receipt.provider} and not by {provider}",
            hint="take the provider's key from the registration on the chain",
        )
    verify(provider, signed.signature, SignedReceipt.domain, signed.receipt)
    return signed.receipt


def matching(receipt: AnswerReceipt, verified: Verified) -> Statement:
    """Return the statement that bears the receipt out; raises InvalidProof where the proof is not of this answer."""
    if verified.registration_id != receipt.registration_id:
        raise InvalidProof("the proof is under another registration than the receipt")
    for statement in verified.statements:
        if statement.context != receipt.context and not _unbound(statement, receipt):
            continue
        if receipt.input_digest not in {None, statement.inputs_digest}:
            raise InvalidProof("the proof of this request has another input than the receipt")
        if statement.outputs != receipt.outputs:
            raise InvalidProof("the proof of this request has another output than the receipt")
        return statement
    raise InvalidProof("the proof is of another request than the receipt")


def contradiction(receipt: AnswerReceipt, verified: Verified) -> Statement | None:
    """Return the statement that shows the receipt to be false, or None where the proof bears it out.

    Only the same input with another output is evidence to others: whoever holds the model can prove any input under
    any context, and so could make a proof of another input to blame an honest provider with. Raises ConfigError where
    the proof says nothing of the receipt.
    """
    same = [one for one in verified.statements if one.inputs_digest == receipt.input_digest]
    if verified.registration_id != receipt.registration_id or not same:
        raise ConfigError(
            "the proof says nothing of the receipt: it is of another input, or under another registration",
            hint="ask the provider for the proof of this very receipt",
        )
    return next((one for one in same if one.outputs != receipt.outputs), None)


def _unbound(statement: Statement, receipt: AnswerReceipt) -> bool:
    """Whether a backend that binds no context states the receipt's input."""
    return statement.context == UNBOUND_CONTEXT and statement.inputs_digest == receipt.input_digest
