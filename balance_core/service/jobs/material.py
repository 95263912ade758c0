"""What proving under a registration needs, read from the workspace once and kept at hand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core import registering
from balance_core.bundle import Bundle
from balance_core.records import Circuit, ModelCommitment, Proof, VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.registering import Registered
    from balance_core.workspace import Workspace

_KEPT = 8
"""How many registrations' keys are kept in memory."""


@dataclass(frozen=True)
class Material:
    """One registration's circuit, key and commitment."""

    registered: Registered
    circuit: Circuit
    key: VerifyingKey
    commitment: ModelCommitment | None

    @property
    def blobs(self) -> Mapping[str, str]:
        """The content that the prove stage reads."""
        preparation = self.registered.preparation
        blobs = {"circuit": preparation.circuit}
        if preparation.opening is not None:
            blobs["opening"] = preparation.opening
        return blobs

    @property
    def size(self) -> int:
        """How many bytes a bundle has at least."""
        return 1 + sum(map(len, self.key.parts.values()))

    def bundle(self, proof: bytes) -> Bundle:
        """Return what a stranger checks the proof by."""
        return Bundle(
            registration=self.registered.signed,
            key=self.key,
            commitment=self.commitment,
            proof=Proof(self.circuit.backend, proof),
            claims={"making": self.circuit.making.to_json()},
        )


class Materials:
    """The registrations that were used last."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._kept: OrderedDict[str, Material] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, registration_id: str) -> Material:
        """Return a registration's material; raises ConfigError and BlobNotFound where the workspace lacks it."""
        with self._lock:
            if registration_id in self._kept:
                self._kept.move_to_end(registration_id)
                return self._kept[registration_id]
        found = self._read(registration_id)
        with self._lock:
            self._kept[registration_id] = found
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def _read(self, registration_id: str) -> Material:
        registered = registering.find(self._workspace, registration_id)
        preparation = registered.preparation
        circuit = Circuit.from_json(self._blob(preparation.circuit))
        parts = {name: self._blob(address) for name, address in circuit.key.items()}
        commitment = None
        if preparation.commitment is not None:
            commitment = ModelCommitment.from_json(self._blob(preparation.commitment))
        return Material(registered, circuit, VerifyingKey(circuit.backend, parts), commitment)

    def _blob(self, address: str) -> bytes:
        return self._workspace.blob(address).read_bytes()
