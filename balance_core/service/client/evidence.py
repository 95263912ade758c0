"""False receipts: what shows one to anybody, checked from bytes alone.

A receipt is the provider's signed word that an input gave an output under a registration. It is false if a proof
under the same registration shows another output for the same input; and of two receipts of one request with different
outputs, one is false. Neither can be made without the provider's key: a receipt that it did not sign, a proof under
another registration, or one of another input says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from balance_core.bundle import Bundle
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import Digest, PublicKey, Record
from balance_core.service.receipts import SignedReceipt, check_receipt, contradiction, matching

if TYPE_CHECKING:
    from balance_core.service.client.checking import Checker
    from balance_core.verification import Verified

MAX_RECEIPT_BYTES = 2**26

Finding = Literal["signed", "borne-out", "refuted", "equivocal"]


class Judgement(Record):
    """What a receipt is worth, by itself or next to a proof or to another receipt."""

    kind: ClassVar[str] = "receipt-judgement"
    finding: Finding
    """`signed`: the provider did sign it. `borne-out`: and a proof shows the same output
    for the same input, whatever its request was called. `refuted`: a proof shows another
    output. `equivocal`: the provider signed another output for the same request."""
    receipt_id: Digest
    registration_id: Digest
    provider: PublicKey
    sound: bool = True
    """Whether the proof that this rests on convinces whoever did not run the model himself."""
    test_setup: bool = False
    """Whether whoever made the setup could have forged that proof."""

    @property
    def false(self) -> bool:
        """Whether this is evidence against the provider's key."""
        return self.finding in {"refuted", "equivocal"}


def read_receipt(data: bytes) -> SignedReceipt:
    """Read a receipt from its canonical bytes, and check that the provider that it names signed it.

    Raises ConfigError for bytes that are none, InvalidProof for one that was altered or that somebody else signed.
    """
    signed = SignedReceipt.from_json(data.strip(), max_size=MAX_RECEIPT_BYTES)
    check_receipt(signed, signed.receipt.provider)
    return signed


def by_itself(signed: SignedReceipt) -> Judgement:
    """Say that a receipt is its provider's word; whether it is true, nothing says yet."""
    return _judgement(signed, "signed")


def against_proof(signed: SignedReceipt, data: bytes, checker: Checker) -> Judgement:
    """Compare a receipt with a bundle, which is verified here.

    Raises InvalidProof for a bundle that does not verify, or under another registration or provider, and ConfigError
    for one that says nothing of the receipt.
    """
    receipt = check_receipt(signed, signed.receipt.provider)
    bundle = Bundle.from_bytes(data)
    registration = bundle.registration.check()
    if bundle.registration_id != receipt.registration_id:
        raise InvalidProof(
            "the bundle is under another registration than the receipt", hint="such a proof says nothing of it"
        )
    if registration.provider != receipt.provider:
        raise InvalidProof(
            f"the receipt is signed by {receipt.provider}, who is not the registration's provider",
            hint="anybody can sign a receipt with a key of his own: it binds nobody else",
        )
    said = checker.check([data], backend=registration.backend, registration_id=receipt.registration_id)[0]
    if isinstance(said, Exception):
        raise said
    if _bears_out(signed, said) or contradiction(receipt, said) is None:
        return _judgement(signed, "borne-out", said)
    return _judgement(signed, "refuted", said)


def against_receipt(signed: SignedReceipt, other: SignedReceipt) -> Judgement:
    """Compare two receipts; raises ConfigError unless both are of one request, by one provider."""
    first = check_receipt(signed, signed.receipt.provider)
    second = check_receipt(other, signed.receipt.provider)
    same = ("registration_id", "nonce", "input_sha256")
    differing = [name for name in same if getattr(first, name) != getattr(second, name)]
    if differing:
        raise ConfigError(
            f"the receipts are not of one request: they differ in {', '.join(differing)}",
            hint="different requests may have different answers",
        )
    if first.outputs == second.outputs:
        raise ConfigError("both receipts give the same output", hint="nothing speaks against either")
    return _judgement(signed, "equivocal")


def _bears_out(signed: SignedReceipt, verified: Verified) -> bool:
    try:
        matching(signed.receipt, verified)
    except InvalidProof:
        return False
    return True


def _judgement(signed: SignedReceipt, finding: Finding, verified: Verified | None = None) -> Judgement:
    receipt = signed.receipt
    return Judgement(
        finding=finding,
        receipt_id=receipt.receipt_id,
        registration_id=receipt.registration_id,
        provider=receipt.provider,
        sound=verified is None or verified.sound,
        test_setup=verified is not None and verified.setup_trust.is_test_only,
    )
