"""A backend whose weights a commitment alone binds, to try the shared base with: it shows them in each proof."""

from __future__ import annotations

import hashlib
import secrets
from typing import ClassVar

from typing_extensions import override

from balance_core import canonical
from balance_core.contracts import Verifier
from balance_core.errors import BalanceError, ConfigError, InvalidProof
from balance_core.integer.encoding import decode_weights, encode_weights
from balance_core.integer.executor import execute_integers
from balance_core.integer.interface import STRUCTURE_PART, read_interface, read_structure
from balance_core.integer.proving import CommittingProofBackend, IntegerRequest, Keys
from balance_core.records import Context, Digest, Hex, Record, SetupTrust, Statement, Trust
from balance_core.stages import Capabilities, Estimate, NodeProblem, Support

NAME = "shown"
LARGEST = 2**20


class Shown(Record):
    """A "proof": the weights, the salt of their commitment, and the integers of inputs and outputs end to end."""

    kind: ClassVar[str] = "shown"
    context: Context
    integers: tuple[int, ...]
    weights: Hex
    salt: Hex
    seal: Digest

    @classmethod
    def sealed(cls, circuit_id, context, integers, weights, salt):
        """Return a proof under the digest of everything that it says."""
        return cls(context=context, integers=integers, weights=weights, salt=salt,
                   seal=seal(circuit_id, context, integers, weights, salt))  # fmt: skip


def seal(circuit_id, context, integers, weights, salt):
    return canonical.digest("shown/1", canonical.encode([circuit_id, context, list(integers), weights, salt]))


def commitment(weights: bytes, salt: bytes, provider: str) -> bytes:
    return hashlib.sha256(salt + bytes.fromhex(provider) + weights).digest()


class ShownBackend(CommittingProofBackend):
    """Commits to the weights with a salted digest, and opens it in each proof."""

    api_version = 1
    version = "1"
    name = NAME
    capabilities = Capabilities(binds_context=True, deterministic=True, transparent_setup=True)

    @override
    def estimate(self, structure):
        assert not structure.weights
        problems = [
            NodeProblem(node=node.label, operator=node.operation.name, reason="too large for a test")
            for node, fact in zip(structure.nodes, structure.facts, strict=True)
            if fact.size > LARGEST
        ]
        return Support(problems=tuple(problems), estimate=Estimate(rows=sum(fact.size for fact in structure.facts)))

    @override
    def make_keys(self, integer, job):
        assert not integer.weights
        note = job.scratch / "note"
        note.write_bytes(b"for proving")
        return Keys({"version": b"1"}, SetupTrust(trust=Trust.TRANSPARENT), proving={"note": note})

    @override
    def commit_weights(self, circuit, integer, provider, job):
        salt = secrets.token_bytes(32)
        return commitment(encode_weights(integer), salt, provider), {"salt": salt}

    @override
    def make_verifier(self):
        return ShownVerifier()

    @override
    def prove_integers(self, circuit, opening, integer, requests: list[IntegerRequest], job):
        assert job.path(circuit.proving["note"]).read_bytes() == b"for proving"
        (request,) = requests
        outputs = execute_integers(integer, request.batch(integer)).outputs
        arrays = [*request.inputs, *(outputs[output.name] for output in integer.outputs)]
        return Shown.sealed(
            circuit.circuit_id,
            request.context.hex(),
            tuple(n for array in arrays for n in array.reshape(-1).tolist()),
            encode_weights(integer).hex(),
            job.path(opening.blobs["salt"]).read_bytes().hex(),
        ).to_json()


class ShownVerifier(Verifier):
    """Opens the commitment and runs the model."""

    api_version = 1

    @override
    def verify(self, key, commitment, proof) -> tuple[Statement, ...]:
        structure = self._structure(key)
        if commitment is None or commitment.backend != NAME or proof.backend != NAME:
            raise InvalidProof("the weights are bound by a commitment of this backend, and none is given")
        try:
            shown = Shown.from_json(proof.data, max_size=2**22)
            said = (shown.context, shown.integers, shown.weights, shown.salt)
            if shown.seal != seal(key.circuit_id, *said):
                raise InvalidProof("the proof is not sealed for this circuit")
            weights, salt = bytes.fromhex(shown.weights), bytes.fromhex(shown.salt)
            named = hashlib.sha256(salt + bytes.fromhex(commitment.provider) + weights)
            if commitment.data != named.hexdigest() or len(salt) != 32:
                raise InvalidProof("the weights are not those committed to")
            model = decode_weights(structure, weights)
        except ConfigError as error:
            raise InvalidProof(error.message) from error
        interface = read_interface(key.parts[STRUCTURE_PART])
        inputs, outputs = interface.split(shown.integers)
        stated = interface.statement(
            key.circuit_id, bytes.fromhex(shown.context), inputs, outputs, commitment_id=commitment.commitment_id
        )
        return (_rerun(model, stated),)

    @override
    def setup_trust(self, key) -> SetupTrust:
        self._structure(key)
        return SetupTrust(trust=Trust.TRANSPARENT)

    @staticmethod
    def _structure(key):
        if key.backend != NAME or set(key.parts) != {STRUCTURE_PART, "version"} or key.parts["version"] != b"1":
            raise InvalidProof("this is no key of this backend")
        return read_structure(key.parts[STRUCTURE_PART])


def _rerun(model, stated):
    import numpy as np

    batch = {t.name: np.array(t.integers, dtype=np.int64).reshape(1, *t.shape) for t in stated.inputs}
    try:
        found = execute_integers(model, batch).outputs
    except BalanceError as error:
        raise InvalidProof(error.message) from error
    if any(found[t.name].reshape(-1).tolist() != list(t.integers) for t in stated.outputs):
        raise InvalidProof("the model answers otherwise")
    return stated
