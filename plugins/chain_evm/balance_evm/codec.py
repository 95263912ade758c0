"""Records of the core as the registry's structs, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from balance_core import canonical, signing
from balance_core.errors import ConfigError, InvalidProof, Rejected
from balance_core.records import Registration, SetupTrust, Trust

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.chain import Claim, ProofRecord
    from balance_core.signing import SigningKey

_TRUSTS = (Trust.CEREMONY, Trust.TRANSPARENT, Trust.INSECURE_TEST)
_NULL = bytes(32)
_BINDING_DOMAIN = "evm-account"


def identity_of(address: str) -> str:
    """Return how records name an account that is bound to no key: its address behind zeros, as a key has 32 bytes."""
    return address.removeprefix("0x").lower().rjust(64, "0")


def address_in(identity: str) -> str | None:
    """Return the account that a record names by its address, or None where it names a key."""
    return "0x" + identity[24:] if identity.startswith("0" * 24) else None


def _digest(text: str | None) -> bytes:
    return _NULL if text is None else bytes.fromhex(text)


def _text(data: bytes) -> str | None:
    return None if data == _NULL else data.hex()


def registration_struct(registration: Registration) -> tuple[Any, ...]:
    """Return the contract's struct; raises Rejected for texts that it does not take."""
    for text in (registration.name, registration.backend, registration.backend_version):
        if not text.isascii() or not text.isprintable() or '"' in text or "\\" in text:
            raise Rejected(f"the registry takes printable ASCII without quotation marks, not {text!r}")
    if "0" * 64 in {registration.commitment_id, registration.model_id, registration.previous}:
        raise Rejected("a digest of zeros stands for none on the chain")
    trust = registration.setup_trust
    return (
        registration.name,
        registration.version,
        registration.backend,
        registration.backend_version,
        _digest(registration.circuit_id),
        _digest(registration.commitment_id),
        _TRUSTS.index(trust.trust),
        _digest(trust.parameters),
        _digest(registration.provider),
        _digest(registration.model_id),
        _digest(registration.previous),
    )


def registration(values: Mapping[str, Any]) -> Registration:
    """Return the record that a struct stands for; raises ConfigError for one that is none."""
    trust = int(values["trust"])
    if trust >= len(_TRUSTS):
        raise ConfigError(f"setup trust {trust} is unknown")
    return Registration.from_value(
        {
            "name": values["name"],
            "version": values["version"],
            "backend": values["backend"],
            "backend_version": values["backendVersion"],
            "circuit_id": values["circuitId"].hex(),
            "commitment_id": _text(values["commitmentId"]),
            "setup_trust": SetupTrust(trust=_TRUSTS[trust], parameters=_text(values["parameters"])).model_dump(),
            "provider": values["provider"].hex(),
            "model_id": _text(values["modelDigest"]),
            "previous": _text(values["previous"]),
        }
    )


def said_struct(record: ProofRecord | Claim) -> tuple[bytes, bytes, bytes]:
    """Return what a proof says, as three digests."""
    said = record.context, record.inputs_digest, record.statement_digest
    return bytes.fromhex(said[0]), bytes.fromhex(said[1]), bytes.fromhex(said[2])


def model_of(owner: str, registration_id: str) -> bytes:
    """Return the registry's name for an owner's registration."""
    return _keccak(bytes.fromhex(identity_of(owner)) + bytes.fromhex(registration_id))


def answer_of(model: bytes, proof_id: str) -> bytes:
    """Return the registry's name for an answer under a model."""
    return _keccak(model + bytes.fromhex(proof_id))


def _binding(account: str, chain_id: int, registry: str) -> bytes:
    return canonical.encode({"account": account.lower(), "chain_id": chain_id, "registry": registry.lower()})


def sign_binding(key: SigningKey, account: str, chain_id: int, registry: str) -> bytes:
    """Return the signature by which a key says that an account of one registry writes for it."""
    return bytes.fromhex(signing.sign(key, _BINDING_DOMAIN, _binding(account, chain_id, registry)))


def is_binding(public: str, signature: bytes, account: str, chain_id: int, registry: str) -> bool:
    """Say whether the key signed that this account writes for it."""
    try:
        signing.verify(public, signature.hex(), _BINDING_DOMAIN, _binding(account, chain_id, registry))
    except InvalidProof:
        return False
    return True


def _keccak(data: bytes) -> bytes:
    from eth_utils.crypto import keccak

    return bytes(keccak(data))
