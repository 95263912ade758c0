"""Setting up for a cell: a circuit in a workspace of its own, registered under a key that nobody keeps."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core.compare.checks import Refusal
from balance_core.compare.results import CircuitRecord
from balance_core.compare.stages import copied
from balance_core.records import Circuit, ModelCommitment, Opening, Registration, VerifyingKey
from balance_core.signing import SignedRegistration, SigningKey

if TYPE_CHECKING:
    from balance_core.compare.describing import Described
    from balance_core.compare.stages import Course
    from balance_core.compare.subjects import Prepared
    from balance_core.stages import SrsUse
    from balance_core.workspace import Workspace

_SRS_PART = "srs"
"""The name of a part of the proving side that is a reference string."""


@dataclass(frozen=True)
class Made:
    """What a setup gave: content of its own workspace, and how it is registered."""

    workspace: Workspace
    circuit: Circuit
    blobs: dict[str, str]
    """What executing and proving take, by name."""
    commitment: ModelCommitment | None
    signed: SignedRegistration
    key: VerifyingKey
    srs: tuple[SrsUse, ...]

    def record(self, before: tuple[Made, CircuitRecord] | None) -> CircuitRecord:
        """Return what a result tells of it, `before` being the setup of an earlier round."""
        same = None
        if before is not None:
            same = before[1].reproducible is not False and before[0].circuit.circuit_id == self.circuit.circuit_id
        return CircuitRecord(
            circuit_id=self.circuit.circuit_id,
            setup_trust=self.circuit.setup_trust,
            srs=self.srs,
            settings=self.circuit.settings,
            facts=self.circuit.facts,
            reproducible=same,
        )

    def sizes(self) -> dict[str, int | None]:
        """Return the bytes of what proves, of what verifies and of the commitment."""
        opening = Opening()
        if "opening" in self.blobs:
            opening = Opening.from_json(self.workspace.blob(self.blobs["opening"]).read_bytes())
        parts = [cid for name, cid in self.circuit.proving.items() if name != _SRS_PART]
        return {
            "proving_key": sum(self.workspace.blob(cid).stat().st_size for cid in (*parts, *opening.blobs.values())),
            "verifying_key": sum(map(len, self.key.parts.values())),
            "commitment": len(self.commitment.to_json()) if self.commitment else None,
        }

    def remove(self) -> None:
        """Remove it from the disk."""
        shutil.rmtree(self.workspace.root, ignore_errors=True)


def set_up(course: Course, subject: Prepared, backend: Described, repeat: int, notes: list[str]) -> Made:
    """Set up and commit where nothing is taken from a cache; raises Stopped and Refusal.

    A setup that made a reference string is done again and not counted: a string is made once, not for each circuit.
    """
    strings = _strings(course)
    workspace = course.workspace(strings=True)
    model = copied(subject.workspace, workspace, subject.model)
    samples = copied(subject.workspace, workspace, subject.samples)
    result = course.run("setup", workspace, repeat=repeat, blobs={"model": model, "samples": samples})
    if _strings(course) != strings:
        taken = course.forget_last("setup").wall_seconds
        notes.append(f"a first setup of {taken:.1f} s made a reference string, and is not counted")
        shutil.rmtree(workspace.root, ignore_errors=True)
        return set_up(course, subject, backend, repeat, notes)
    blobs = {"circuit": result.blobs["circuit"]}
    circuit = Circuit.from_json(workspace.blob(blobs["circuit"]).read_bytes())
    if circuit.backend != backend.record.name or circuit.model_id != subject.record.model_id:
        raise Refusal("its circuit is of another model or backend than was asked for")
    commitment, provider = None, SigningKey.generate()
    if backend.commits:
        given = {"model": model, "circuit": blobs["circuit"]}
        arguments = {"provider": provider.public}
        committed = course.run("commit", workspace, repeat=repeat, blobs=given, arguments=arguments).blobs
        blobs |= {name: address for name, address in committed.items() if name == "opening"}
        if "commitment" in committed:
            commitment = ModelCommitment.from_json(workspace.blob(committed["commitment"]).read_bytes())
    key = VerifyingKey(circuit.backend, {name: workspace.blob(cid).read_bytes() for name, cid in circuit.key.items()})
    signed = _registered(circuit, commitment, subject.record.name, provider)
    course.at = None
    return Made(workspace, circuit, blobs, commitment, signed, key, result.srs)


def _strings(course: Course) -> list[str]:
    return sorted(path.name for path in course.strings.glob("*.srs"))


def _registered(
    circuit: Circuit, commitment: ModelCommitment | None, name: str, key: SigningKey
) -> SignedRegistration:
    registration = Registration(
        name=name,
        backend=circuit.backend,
        backend_version=circuit.backend_version,
        circuit_id=circuit.circuit_id,
        commitment_id=commitment.commitment_id if commitment else None,
        setup_trust=circuit.setup_trust,
        provider=key.public,
    )
    return SignedRegistration.sign(registration, key)
