"""What all proofs of a registration are checked with, as a provider hands it out: a bundle without a proof.

    registration.json      signed by the provider
    key/<part>             the parts of the verifying key
    commitment.json        the model commitment, where the registration names one

A ZIP archive in the one form of `zip_form`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core import zip_form
from balance_core.bundle import MAX_COMMITMENT_BYTES, MAX_JSON_BYTES, MAX_KEY_PARTS, check_parts
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import ModelCommitment, Proof, VerifyingKey
from balance_core.signing import SignedRegistration

if TYPE_CHECKING:
    from balance_core.records import Registration

_REGISTRATION, _COMMITMENT, _KEY = "registration.json", "commitment.json", "key/"


@dataclass(frozen=True)
class Parts:
    """A registration with its verifying key and commitment; all of them follow from the registration's digests."""

    registration: SignedRegistration
    key: VerifyingKey
    commitment: ModelCommitment | None

    def to_bytes(self) -> bytes:
        """Return the archive."""
        members = [(_REGISTRATION, self.registration.to_json())]
        members += [(_KEY + name, self.key.parts[name]) for name in sorted(self.key.parts)]
        if self.commitment is not None:
            members.append((_COMMITMENT, self.commitment.to_json()))
        return zip_form.encode(members)

    @classmethod
    def from_bytes(cls, data: bytes, expected: Registration) -> Parts:
        """Read an archive of the expected registration; raises InvalidProof for any other, ConfigError for none."""
        members = zip_form.decode(data, max_members=MAX_KEY_PARTS + 2)
        if _REGISTRATION not in members:
            raise ConfigError("the registration's parts lack registration.json")
        signed = SignedRegistration.from_json(members.pop(_REGISTRATION), max_size=MAX_JSON_BYTES)
        commitment = None
        if _COMMITMENT in members:
            commitment = ModelCommitment.from_json(members.pop(_COMMITMENT), max_size=MAX_COMMITMENT_BYTES)
        if not all(name.startswith(_KEY) for name in members):
            raise ConfigError("the registration's parts hold something that does not belong there")
        parts = {name.removeprefix(_KEY): content for name, content in members.items()}
        key = VerifyingKey(expected.backend, parts)
        if signed.registration != expected:
            raise InvalidProof("the provider hands out the parts of another registration than the pinned one")
        check_parts(signed, key, commitment, Proof(expected.backend, b""))
        return cls(signed, key, commitment)
