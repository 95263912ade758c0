"""Bundles: everything that a stranger needs to check a proof offline, as one file.

    manifest.json         what is inside: each other member's CID and size, and the backend's name
    registration.json     the registration with its provider's signature
    key/<part>            the parts of the verifying key
    commitment.json       the model commitment, where the registration names one
    proof.bin             the proof
    claims/<name>.json    what the provider says beyond the proof (fidelity, receipt ...): shown, and never believed

The file is a ZIP archive in the one form that `zip_form` writes, so that every bundle has exactly one encoding.
There is no statement inside: it comes out of verification. A bundle vouches for nothing by itself: whoever made it
chose the registration too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from balance_core import canonical, cid, zip_form
from balance_core.errors import ConfigError, InvalidProof
from balance_core.files import read_limited, write_whole
from balance_core.records import Cid, ModelCommitment, Name, Proof, Record, VerifyingKey
from balance_core.signing import SignedRegistration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_BUNDLE_BYTES = 256 * 2**20
"""Largest bundle that is read unless the caller says otherwise."""
MAX_KEY_PARTS = 64
MAX_CLAIMS = 16
MAX_JSON_BYTES = 2**20
"""Largest JSON member, the commitment excepted."""
MAX_COMMITMENT_BYTES = 16 * 2**20

_MANIFEST = "manifest.json"
_REGISTRATION = "registration.json"
_COMMITMENT = "commitment.json"
_PROOF = "proof.bin"
_KEY = "key/"
_CLAIM, _JSON = "claims/", ".json"


class MemberDigest(Record):
    """What one member must be."""

    kind: ClassVar[str] = "member-digest"
    cid: Cid
    size: Annotated[int, Field(ge=0)]


class BundleManifest(Record):
    """The list of a bundle's members."""

    kind: ClassVar[str] = "bundle-manifest"
    format: Literal[1] = 1
    backend: Name
    members: dict[str, MemberDigest]


@dataclass(frozen=True)
class Bundle:
    """A proof with all that its verification needs; its parts fit each other, or it cannot be made.

    Raises InvalidProof for parts that contradict each other, ConfigError for too many or too large ones.
    """

    registration: SignedRegistration
    key: VerifyingKey
    commitment: ModelCommitment | None
    proof: Proof
    claims: Mapping[str, bytes] = field(default_factory=dict)
    """JSON objects in canonical form, by name; what the provider says, checked by nobody."""

    def __post_init__(self) -> None:
        _check_limits(self)
        check_parts(self.registration, self.key, self.commitment, self.proof)

    def to_bytes(self) -> bytes:
        """Return the file's content; equal bundles give equal bytes."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        members = self._members()
        digests = {name: MemberDigest(cid=cid.of_bytes(data), size=len(data)) for name, data in members}
        manifest = BundleManifest(backend=self.proof.backend, members=digests)
        return zip_form.encode([(_MANIFEST, manifest.to_json()), *members])

    def _members(self) -> list[tuple[str, bytes]]:
        """Return all members but the manifest, in the order of the file."""
        members = [(_REGISTRATION, self.registration.to_json())]
        members += [(_KEY + name, self.key.parts[name]) for name in sorted(self.key.parts)]
        if self.commitment is not None:
            members.append((_COMMITMENT, self.commitment.to_json()))
        members.append((_PROOF, self.proof.data))
        return members + [(_CLAIM + name + _JSON, self.claims[name]) for name in sorted(self.claims)]

    @property
    def cid(self) -> str:
        """The bundle's content address."""
        return cid.of_bytes(self._encoded)

    @property
    def registration_id(self) -> str:
        """The registration that the bundle names; nobody vouches for it here."""
        return self.registration.registration.registration_id

    @classmethod
    def from_bytes(cls, data: bytes, *, max_size: int = MAX_BUNDLE_BYTES) -> Bundle:
        """Read a bundle; ConfigError: a malformed file; InvalidProof: parts that contradict each other."""
        if len(data) > max_size:
            raise ConfigError(f"the bundle has {len(data)} bytes, more than the {max_size} allowed")
        members = zip_form.decode(data, max_members=MAX_KEY_PARTS + MAX_CLAIMS + 4)
        names = list(members)
        manifest = BundleManifest.from_json(_take(members, _MANIFEST), max_size=MAX_JSON_BYTES)
        _check_manifest(manifest, members)
        registration = SignedRegistration.from_json(_take(members, _REGISTRATION), max_size=MAX_JSON_BYTES)
        proof = Proof(manifest.backend, _take(members, _PROOF))
        commitment = None
        if _COMMITMENT in members:
            commitment = ModelCommitment.from_json(members.pop(_COMMITMENT), max_size=MAX_COMMITMENT_BYTES)
        parts, claims = {}, {}
        for name, content in members.items():
            if name.startswith(_KEY):
                parts[name.removeprefix(_KEY)] = content
            elif name.startswith(_CLAIM) and name.endswith(_JSON):
                claims[name.removeprefix(_CLAIM).removesuffix(_JSON)] = content
            else:
                raise ConfigError(f"the bundle holds {name!r}, which no bundle has")
        bundle = cls(registration, VerifyingKey(manifest.backend, parts), commitment, proof, claims)
        if names != [_MANIFEST, *(name for name, _ in bundle._members())]:
            raise ConfigError("the bundle is not in its one form: its members are in another order")
        return bundle

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        try:
            write_whole(path, self.to_bytes())
        except OSError as error:
            raise ConfigError(f"the bundle {str(path)!r} cannot be written: {error.strerror}") from error

    @classmethod
    def read(cls, path: Path, *, max_size: int = MAX_BUNDLE_BYTES) -> Bundle:
        """Read a file; raises ConfigError and InvalidProof as `from_bytes` does."""
        return cls.from_bytes(read_limited(path, max_size=max_size, what="bundle"), max_size=max_size)


def check_parts(
    registration: SignedRegistration, key: VerifyingKey, commitment: ModelCommitment | None, proof: Proof
) -> None:
    """Raise InvalidProof, naming the part, unless all belong to one registration that its provider signed."""
    named = registration.check()
    for part, backend in (
        ("the key", key.backend),
        ("the proof", proof.backend),
        ("commitment.json", commitment.backend if commitment else named.backend),
    ):
        if backend != named.backend:
            raise InvalidProof(f"{part} is of the backend {backend!r}, registration.json names {named.backend!r}")
    if key.circuit_id != named.circuit_id:
        raise InvalidProof(f"the key is of the circuit {key.circuit_id}, registration.json names {named.circuit_id}")
    if (commitment.commitment_id if commitment else None) != named.commitment_id:
        held = commitment.commitment_id if commitment else "none"
        raise InvalidProof(f"commitment.json is {held}, registration.json names {named.commitment_id or 'none'}")
    if commitment is not None and commitment.provider != named.provider:
        raise InvalidProof(
            f"the commitment is of the provider {commitment.provider}, registration.json is of {named.provider}",
            hint="somebody registered a copy of another provider's commitment",
        )


def _check_limits(bundle: Bundle) -> None:
    if not bundle.key.parts or len(bundle.key.parts) > MAX_KEY_PARTS:
        raise ConfigError(f"a verifying key has 1 to {MAX_KEY_PARTS} parts, this one {len(bundle.key.parts)}")
    if len(bundle.claims) > MAX_CLAIMS:
        raise ConfigError(f"a bundle has at most {MAX_CLAIMS} claims, this one {len(bundle.claims)}")
    for name in (*bundle.key.parts, *bundle.claims):
        zip_form.check_name(name, folders=False)
    for name, content in bundle.claims.items():
        value = canonical.decode(content, max_size=MAX_JSON_BYTES, what=f"{_CLAIM}{name}{_JSON}")
        if not isinstance(value, dict) or canonical.encode(value) != content:
            raise ConfigError(f"{_CLAIM}{name}{_JSON} is not a JSON object in canonical form")


def _take(members: dict[str, bytes], name: str) -> bytes:
    try:
        return members.pop(name)
    except KeyError:
        raise ConfigError(f"the bundle lacks {name}", hint="is it a proof.balance file?") from None


def _check_manifest(manifest: BundleManifest, members: dict[str, bytes]) -> None:
    """Raise InvalidProof, naming the member, unless the manifest lists exactly these members with these contents."""
    for name in sorted(manifest.members.keys() ^ members.keys()):
        where = "listed and missing" if name in manifest.members else "there and not listed"
        raise InvalidProof(f"{name} is {where} in the bundle")
    for name, content in members.items():
        expected = manifest.members[name]
        if len(content) != expected.size or cid.of_bytes(content) != expected.cid:
            raise InvalidProof(f"{name} is not the one that manifest.json lists: it was altered or swapped")
