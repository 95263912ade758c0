"""Attestations as EIP-712 typed data: what a validator's wallet shows and signs, and anybody can check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from balance_core.errors import InvalidProof

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGNATURE_BYTES = 65
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Half of secp256k1's order: signatures above it are a second encoding of one below (EIP-2)."""


class Word(TypedDict):
    """A validator's word, in the fields of the registry's `Attestation`."""

    model: bytes
    proofId: bytes
    statementDigest: bytes
    valid: bool


def typed(word: Word, chain_id: int, registry: str) -> dict[str, Any]:
    """Return the whole message in the form of eth_signTypedData_v4, for one registry on one chain."""
    from eth_utils.address import to_checksum_address

    def fields(*pairs: tuple[str, str]) -> list[dict[str, str]]:
        return [{"name": name, "type": kind} for name, kind in pairs]

    return {
        "types": {
            "EIP712Domain": fields(
                ("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address")
            ),
            "Attestation": fields(
                ("model", "bytes32"), ("proofId", "bytes32"), ("statementDigest", "bytes32"), ("valid", "bool")
            ),
        },
        "primaryType": "Attestation",
        "domain": {
            "name": "BalanceRegistry",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": to_checksum_address(registry),
        },
        "message": {
            "model": "0x" + word["model"].hex(),
            "proofId": "0x" + word["proofId"].hex(),
            "statementDigest": "0x" + word["statementDigest"].hex(),
            "valid": word["valid"],
        },
    }


def signer(word: Word, signature: bytes, chain_id: int, registry: str) -> str:
    """Return the account that signed a word, as 0x and lower-case hex; raises InvalidProof for no signature."""
    from eth_account import Account
    from eth_account.messages import encode_typed_data

    if len(signature) != SIGNATURE_BYTES or int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise InvalidProof("this is no signature of 65 bytes in its one form")
    try:
        message = encode_typed_data(full_message=typed(word, chain_id, registry))
        return str(Account.recover_message(message, signature=signature)).lower()
    except Exception as error:
        raise InvalidProof("the signature is of nobody") from error


def equivocator(words: Sequence[tuple[Word, bytes]], chain_id: int, registry: str) -> str:
    """Return who signed two words that contradict each other; raises InvalidProof unless one hand did.

    A contradiction: one answer and statement called valid and invalid, or two statements of one answer called valid.
    """
    (one, one_signature), (other, other_signature) = words
    hands = {signer(one, one_signature, chain_id, registry), signer(other, other_signature, chain_id, registry)}
    if len(hands) != 1:
        raise InvalidProof("the two words are not by one validator")
    same_answer = (one["model"], one["proofId"]) == (other["model"], other["proofId"])
    same_statement = one["statementDigest"] == other["statementDigest"]
    differ = one["valid"] != other["valid"] if same_statement else one["valid"] and other["valid"]
    if not same_answer or not differ:
        raise InvalidProof("the two words do not contradict each other")
    return hands.pop()
