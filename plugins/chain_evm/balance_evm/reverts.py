"""Why a contract refused, in words: its errors become the typed ones of Balance, with a hint that mends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from balance_core.errors import BalanceError, ChainError, InvalidProof, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from balance_evm.abi import Interface
    from balance_evm.rpc import RpcRefused

_PANICS = {0x01: "an assertion failed", 0x11: "a number overflowed", 0x12: "a division by zero", 0x32: "an index"}
_STANDINGS = ("unknown", "proposed", "active", "superseded", "revoked")
_CLAIMS = ("not there", "open", "challenged", "answered", "slashed", "final")
_ERROR, _PANIC = bytes.fromhex("08c379a0"), bytes.fromhex("4e487b71")


class AlreadyRecorded(Rejected):
    """The same record by the same signer is on the chain, as event `sequence`."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"the chain has this record already, as event {sequence}")
        self.sequence = sequence


class OutOfGas(ChainError):
    """The contract ran out of gas: the proof is neither valid nor invalid."""


def revert_data(error: RpcRefused) -> bytes | None:
    """Return what a call reverted with, however the node wraps it; None where the error is no revert."""
    found: Any = error.data
    for _ in range(4):
        if isinstance(found, dict):
            found = found.get("data") or found.get("result") or next(iter(found.values()), None)
    if isinstance(found, str):
        text = found.rpartition("0x")[2] if "0x" in found else ""
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    reverted = "revert" in error.message.lower() and "out of gas" not in error.message.lower()
    return b"" if error.code == 3 or reverted else None


def explained(data: bytes, interface: Interface, verifier: Interface, what: str) -> BalanceError:
    """Return the typed error that a revert stands for."""
    found = interface.error(data)
    if found is None:
        return Rejected(f"{what} was refused: {_plain(data)}")
    name, values = found
    if name == "AlreadyRecorded":
        return AlreadyRecorded(values["sequence"])
    if name == "ProofRefused":
        return InvalidProof(f"the contract refuses the proof: {_reason(values['reason'], verifier)}")
    if name == "VerifierOutOfGas":
        return OutOfGas(
            f"{what}: the verifier ran out of gas, so the proof is neither valid nor invalid",
            hint="allow more: -o chain.max_gas=N",
        )
    make = _MESSAGES.get(name)
    if make is None:
        return Rejected(f"{what} was refused: {name} {_values(values)}")
    message, hint = make(values)
    return Rejected(f"{what} was refused: {message}", hint=hint)


def _reason(data: bytes, verifier: Interface) -> str:
    found = verifier.error(data)
    if found is not None and found[0] == "InvalidProof":
        return str(found[1]["reason"])[:200]
    return "it does not verify" if not data else _plain(data)


def _plain(data: bytes) -> str:
    from eth_abi.abi import decode

    try:
        if data[:4] == _ERROR:
            return str(decode(["string"], data[4:])[0])[:200]
        if data[:4] == _PANIC:
            code = int(decode(["uint256"], data[4:])[0])
            return f"panic: {_PANICS.get(code, hex(code))}"
    except Exception:  # noqa: BLE001 - whatever a contract reverts with is shown as hex then
        return f"0x{data[:40].hex()}"
    return f"0x{data[:40].hex()}" if data else "it reverted without saying why"


def _values(values: Mapping[str, Any]) -> str:
    shown = (f"{name}={value.hex() if isinstance(value, bytes) else value}" for name, value in values.items())
    return ", ".join(shown)[:300]


_Words = tuple[str, str | None]
_MESSAGES: dict[str, Callable[[Mapping[str, Any]], _Words]] = {
    "UnknownModel": lambda v: (f"the model {v['model'].hex()} is not on this chain", "register it first"),
    "NotActive": lambda v: (
        f"the registration is {_STANDINGS[v['standing']]} and takes nothing new",
        "name its newest version",
    ),
    "NotOwner": lambda v: (f"the account {v['account']} does not own the model", "sign with its owner's key"),
    "WrongVersion": lambda v: (f"version {v['version']} cannot follow: {v['expected']} is next", None),
    "NameTaken": lambda v: (f"the owner has used the name {v['name']!r} before", "choose another name"),
    "WrongName": lambda v: (f"the line's name is {v['name']!r}", None),
    "RevokedForever": lambda _: (
        "the registration has been revoked",
        "revocation is final: register a new version or a new name",
    ),
    "CommitmentMismatch": lambda _: ("it was proposed with other terms", "accept exactly what was offered"),
    "BadText": lambda v: (f"the text {v['text']!r} holds characters that the registry does not take", None),
    "BadCid": lambda v: (f"{v['cid']!r} is no content address", None),
    "BadTerms": lambda v: (str(v["reason"]), None),
    "AlreadyBound": lambda _: ("the model has a verifier already", "register a new version for another one"),
    "TooLarge": lambda v: (
        f"{v['size']} bytes are too many, it takes {v['limit']}",
        "leave them in the storage: the record names their address",
    ),
    "AnswerCountsOnce": lambda v: (
        f"the answer has been proven in event {v['sequence']}",
        "an answer counts once: a new request has a context of its own",
    ),
    "UnknownProof": lambda _: ("the proof has not been submitted", "submit it first"),
    "OtherStatement": lambda _: ("the proof was submitted for another statement", None),
    "NoVerifier": lambda _: (
        "no contract checks proofs of this model",
        "`balance evm deploy` gives it one, or publish without: -o chain.verify=false",
    ),
    "SaysOtherwise": lambda _: ("the proof is valid, and says something else than the record", None),
    "BadSignature": lambda _: ("the signature is not by that account, or not over this", None),
    "WrongPayment": lambda v: (f"{v['expected']} wei must be sent with it, not {v['sent']}", None),
    "UnknownClaim": lambda _: ("there is no such claim", None),
    "WrongClaimStatus": lambda v: (f"the claim is {_CLAIMS[v['status']]}", None),
    "TooLate": lambda v: (f"it is too late: the deadline was at {v['deadline']}", None),
    "TooEarly": lambda v: (f"it is too early: the deadline is at {v['deadline']}", "settle it then"),
    "AlreadyProven": lambda _: ("the answer has been proven, so there is nothing to claim", None),
    "NotOwed": lambda v: (f"{v['owed']} wei are owed to {v['account']}, and no more", None),
    "PaymentFailed": lambda v: (f"{v['to']} does not take the payment", "withdraw to another address"),
}
