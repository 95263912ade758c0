"""An audit as one file, from which anybody computes its report again, offline.

    manifest.json            the form, and the backend's name
    plan.json                signed by the consumer, with the countersigned head
    acceptance.json          signed by the provider
    samples.json             the test set: digests of the inputs, and the labels
    receipts.json            the signed answers, in order
    reveal.json              both shares of the seed, signed by the provider; missing where it refused
    registration.json        signed by the provider
    key/<part>  commitment.json      what all proofs are checked with
    inputs/<sample>.bin  proofs/<sample>.bin     of each drawn sample whose answer was proven
    report.json              what follows from all this; whoever reads the file computes it, and refuses another

The file is a ZIP archive in the one form of `zip_form`, as bundles are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from balance_core import arrays, cid, zip_form
from balance_core.bundle import MAX_COMMITMENT_BYTES, MAX_JSON_BYTES, MAX_KEY_PARTS, Bundle
from balance_core.errors import ConfigError
from balance_core.files import read_limited, write_output
from balance_core.records import MAX_RECORD_BYTES, ModelCommitment, Name, Proof, Record, VerifyingKey
from balance_core.service.audit.records import (
    MAX_SAMPLES,
    AuditReport,
    LabelledSet,
    SignedAcceptance,
    SignedPlan,
    SignedReveal,
)
from balance_core.service.receipts import SignedReceipt
from balance_core.signing import SignedRegistration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

MAX_AUDIT_BYTES = 2**30
"""Largest audit file that is read."""
MAX_PROVEN = 30_000
"""Most proofs in one file: the format holds 65,535 members."""

_KEY, _INPUT, _PROOF, _BIN = "key/", "inputs/", "proofs/", ".bin"


class AuditManifest(Record):
    """The form of the file, and whose proofs it holds."""

    kind: ClassVar[str] = "audit-manifest"
    format: Literal[1] = 1
    backend: Name


class Receipts(Record):
    """The signed answers to all samples, in the order of the test set."""

    kind: ClassVar[str] = "receipts"
    receipts: Annotated[tuple[SignedReceipt, ...], Field(max_length=MAX_SAMPLES)]


@dataclass(frozen=True)
class Evidence:
    """What both sides have signed and shown; nothing of it was checked."""

    plan: SignedPlan
    acceptance: SignedAcceptance
    test_set: LabelledSet
    receipts: tuple[SignedReceipt, ...]
    reveal: SignedReveal | None
    registration: SignedRegistration
    key: VerifyingKey
    commitment: ModelCommitment | None
    inputs: Mapping[int, Mapping[str, np.ndarray]] = field(default_factory=dict)
    """The drawn samples whose answers were proven, by their number."""
    proofs: Mapping[int, bytes] = field(default_factory=dict)

    def bundle(self, sample: int) -> Bundle:
        """Return the bundle of one proof; raises InvalidProof for parts that contradict each other."""
        return Bundle(
            self.registration, self.key, self.commitment, Proof(self.key.backend, self.proofs[sample]), claims={}
        )


@dataclass(frozen=True)
class AuditFile:
    """An audit's evidence, and the report that its maker says follows from it."""

    evidence: Evidence
    report: AuditReport

    def to_bytes(self) -> bytes:
        """Return the file's content; equal audits give equal bytes."""
        return zip_form.encode(self._members())

    def _members(self) -> list[tuple[str, bytes]]:
        held = self.evidence
        if len(held.proofs) > MAX_PROVEN:
            raise ConfigError(f"an audit file holds at most {MAX_PROVEN} proofs, not {len(held.proofs)}")
        members = [
            ("manifest.json", AuditManifest(backend=held.key.backend).to_json()),
            ("plan.json", held.plan.to_json()),
            ("acceptance.json", held.acceptance.to_json()),
            ("samples.json", held.test_set.to_json()),
            ("receipts.json", Receipts(receipts=held.receipts).to_json()),
        ]
        if held.reveal is not None:
            members.append(("reveal.json", held.reveal.to_json()))
        members.append(("registration.json", held.registration.to_json()))
        members += [(_KEY + name, held.key.parts[name]) for name in sorted(held.key.parts)]
        if held.commitment is not None:
            members.append(("commitment.json", held.commitment.to_json()))
        for sample in sorted(held.proofs):
            members.append((f"{_INPUT}{sample:06}{_BIN}", arrays.pack(held.inputs[sample])))
            members.append((f"{_PROOF}{sample:06}{_BIN}", held.proofs[sample]))
        return [*members, ("report.json", self.report.to_json())]

    @property
    def cid(self) -> str:
        """The file's content address."""
        return cid.of_bytes(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes, *, max_size: int = MAX_AUDIT_BYTES) -> AuditFile:
        """Read a file, whose evidence is not checked; raises ConfigError for anything but what `to_bytes` gives."""
        if len(data) > max_size:
            raise ConfigError(f"the audit has {len(data)} bytes, more than the {max_size} allowed")
        members = zip_form.decode(data, max_members=2 * MAX_PROVEN + MAX_KEY_PARTS + 10)
        taken = dict(members)
        manifest = AuditManifest.from_json(_take(taken, "manifest.json"), max_size=MAX_JSON_BYTES)
        commitment = reveal = None
        if "commitment.json" in taken:
            commitment = ModelCommitment.from_json(taken.pop("commitment.json"), max_size=MAX_COMMITMENT_BYTES)
        if "reveal.json" in taken:
            reveal = SignedReveal.from_json(taken.pop("reveal.json"), max_size=MAX_JSON_BYTES)
        evidence = Evidence(
            plan=SignedPlan.from_json(_take(taken, "plan.json"), max_size=MAX_JSON_BYTES),
            acceptance=SignedAcceptance.from_json(_take(taken, "acceptance.json"), max_size=MAX_JSON_BYTES),
            test_set=LabelledSet.from_json(_take(taken, "samples.json")),
            receipts=Receipts.from_json(_take(taken, "receipts.json"), max_size=4 * MAX_RECORD_BYTES).receipts,
            reveal=reveal,
            registration=SignedRegistration.from_json(_take(taken, "registration.json"), max_size=MAX_JSON_BYTES),
            key=VerifyingKey(manifest.backend, _parts(taken)),
            commitment=commitment,
            inputs={number: _unpacked(data) for number, data in _numbered(taken, _INPUT)},
            proofs=dict(_numbered(taken, _PROOF)),
        )
        report = AuditReport.from_json(_take(taken, "report.json"))
        if taken:
            raise ConfigError(f"the audit holds {min(taken)!r}, which no audit has")
        if evidence.inputs.keys() != evidence.proofs.keys():
            raise ConfigError("the audit holds proofs without their inputs, or the other way round")
        found = cls(evidence, report)
        if list(members.items()) != found._members():
            raise ConfigError("the audit is not in its one form: its members are in another order or encoding")
        return found

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_output(path, self.to_bytes())

    @classmethod
    def read(cls, path: Path) -> AuditFile:
        """Read a file; raises ConfigError as `from_bytes` does."""
        return cls.from_bytes(read_limited(path, max_size=MAX_AUDIT_BYTES, what="audit"))


def _take(members: dict[str, bytes], name: str) -> bytes:
    try:
        return members.pop(name)
    except KeyError:
        raise ConfigError(f"the audit lacks {name}", hint="is it a file that `balance audit` wrote?") from None


def _parts(members: dict[str, bytes]) -> dict[str, bytes]:
    names = [name for name in members if name.startswith(_KEY)]
    return {name.removeprefix(_KEY): members.pop(name) for name in names}


def _numbered(members: dict[str, bytes], folder: str) -> list[tuple[int, bytes]]:
    """Take the members of a folder, which are named by samples' numbers."""
    found = []
    for name in [name for name in members if name.startswith(folder)]:
        number = name.removeprefix(folder).removesuffix(_BIN)
        if not number.isdecimal() or name != f"{folder}{int(number):06}{_BIN}":
            raise ConfigError(f"the audit holds {name!r}, which no audit has")
        found.append((int(number), members.pop(name)))
    return found


def _unpacked(data: bytes) -> dict[str, np.ndarray]:
    try:
        inputs = arrays.unpack(data)
        same = arrays.pack(inputs) == data
    except (RecursionError, OverflowError, MemoryError) as error:
        raise ConfigError("the audit holds an input that cannot be read") from error
    if not same:
        raise ConfigError("the audit holds an input in another form than the one it has")
    return inputs
