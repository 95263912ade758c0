"""Capabilities are tried both ways: what is declared must hold, and what is not must be refused or be absent."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from balance_core import opening
from balance_core.contracts import OpensInputs
from balance_core.errors import BalanceError, InvalidProof
from balance_core.records import HiddenTensor, Trust
from balance_core.testing.edits import NO_CONTEXT, check_statements
from balance_core.testing.subject import BackendSubject
from balance_core.testing.workbench import PROVIDER, context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from balance_core.model import Model
    from balance_core.testing.models import KitModels
    from balance_core.testing.verifier import Evidence
    from balance_core.testing.workbench import Registered, Workbench


class CapabilityCases(BackendSubject):
    """What a backend declares is true."""

    def test_capability_binds_context(self, bench: Workbench, registered: Registered) -> None:
        """The statement names the context, and another context makes another statement; or contexts are refused."""
        if self.binds_context():
            one, two = (bench.proven(registered.model, registered.request(0, self.context(n))) for n in (5, 6))
            for proven in (one, two):
                (stated,) = self.make_verifier().verify(proven.key, proven.commitment, proven.proof)
                assert bytes.fromhex(stated.context) == proven.requests[0].context
            return
        # A statement must not name what the proof does not bind.
        with contextlib.suppress(BalanceError):
            proven = bench.proven(registered.model, registered.request(0, context(5)))
            (stated,) = self.make_verifier().verify(proven.key, proven.commitment, proven.proof)
            assert bytes.fromhex(stated.context) == NO_CONTEXT

    def test_capability_batch(self, bench: Workbench, registered: Registered) -> None:
        """One proof answers two requests, in their order; or two are refused. None at all is always refused."""
        requests = [registered.request(sample, self.context(7 + sample)) for sample in (0, 1)]
        with pytest.raises(BalanceError):
            bench.prove(registered)
        if not self.capabilities().batch:
            with pytest.raises(BalanceError):
                bench.prove(registered, *requests)
            return
        proven = bench.proven(registered.model, *requests)
        stated = self.make_verifier().verify(proven.key, proven.commitment, proven.proof)
        check_statements(stated, proven, binds_context=self.binds_context())

    def test_capability_deterministic(self, bench: Workbench, registered: Registered) -> None:
        """A deterministic backend makes the same circuit of the same model again."""
        if self.capabilities().deterministic:
            assert bench.register(registered.model).circuit.circuit_id == registered.circuit.circuit_id

    def test_circuit_is_reproduced_from_its_settings(self, bench: Workbench, registered: Registered) -> None:
        """A deterministic backend makes the same circuit again from the circuit's settings alone, without samples."""
        if not self.capabilities().deterministic:
            return
        circuit = registered.circuit
        found = self.plugin_class()
        backend = found(found.settings_class.parse(circuit.settings, owner=self.plugin_name()))
        with bench.stage("setup", parameters=circuit.setup_trust.parameters) as job:
            assert backend.setup(registered.model, None, job).circuit_id == circuit.circuit_id

    def test_capability_transparent_setup(self, registered: Registered) -> None:
        """A setup is transparent exactly where the backend says so."""
        trust = self.make_verifier().setup_trust(registered.key).trust
        assert (trust is Trust.TRANSPARENT) == self.capabilities().transparent_setup

    def test_capability_sound(self) -> None:
        """A sound backend says how many bits of security it has, and any other has none; its verifier agrees."""
        declared = self.capabilities()
        assert declared.sound == (declared.security_bits > 0)
        assert self.make_verifier().sound == declared.sound

    def test_capability_zero_knowledge(self, bench: Workbench, registered: Registered) -> None:
        """Proofs that tell nothing beyond their statement are randomised: two of one request differ."""
        if self.capabilities().zero_knowledge:
            request = registered.request(0, self.context(9))
            assert bench.prove(registered, request) != bench.prove(registered, request)

    def test_capability_private_input(self, models: KitModels, evidence: Evidence, tmp_path: Path) -> None:
        """Private inputs are hidden by a commitment that is never the same twice; otherwise inputs are stated."""
        if not self.promises().private_input:
            (stated,) = self.make_verifier().verify(
                evidence.valid.key, evidence.valid.commitment, evidence.valid.proof
            )
            assert not any(isinstance(tensor, HiddenTensor) for tensor in stated.inputs)
        if not self.capabilities().private_input:
            return
        assert self.private_settings, "private_settings must say how inputs are made private"
        private = self.make_bench(tmp_path, **self.private_settings)
        registered = private.registered(models.main)
        assert self.make_backend(**self.private_settings).promises.private_input, "private_settings change nothing"
        request = registered.request(0, self.context(10))
        commitments = []
        for _ in range(2):
            proven = private.proven(models.main, request)
            (stated,) = self.make_verifier().verify(proven.key, proven.commitment, proven.proof)
            assert all(isinstance(tensor, HiddenTensor) for tensor in stated.inputs)
            check_statements((stated,), proven, binds_context=self.binds_context())
            commitments.append([tensor.commitment for tensor in stated.inputs if isinstance(tensor, HiddenTensor)])
        assert commitments[0] != commitments[1], "the same input gives the same commitment, so a guess can be tried"

    def test_private_input_is_opened_by_who_knows_it(self, models: KitModels, tmp_path: Path) -> None:
        """Who knows a private input and what blinds it finds its commitment in the statement, and with others not."""
        if not self.capabilities().private_input:
            return
        verifier = self.make_verifier()
        assert isinstance(verifier, OpensInputs), "who asked cannot tell whether a statement is of his inputs"
        private = self.make_bench(tmp_path, **self.private_settings)
        registered = private.registered(models.main)
        blind = context(11)
        request = replace(registered.request(0, self.context(10)), blind=blind)
        proven = private.proven(models.main, request)
        (stated,) = verifier.verify(proven.key, proven.commitment, proven.proof)
        opened = opening.of(verifier, proven.key, stated, request.inputs, blind)
        opening.check(verifier, proven.key, stated, opened)
        first = opened.inputs[0]
        others = [low for low in (first.integers[0] - 1, first.integers[0] + 1) if low != first.integers[0]]
        refused = 0
        for integer in others:
            moved = first.model_copy(update={"integers": (integer, *first.integers[1:])})
            wrong = opened.model_copy(update={"inputs": (moved, *opened.inputs[1:])})
            with pytest.raises(InvalidProof):
                opening.check(verifier, proven.key, stated, wrong)
            refused += 1
        for change in ({"blind": context(12).hex()}, {"context": context(12).hex()}, {"circuit_id": "0" * 64}):
            with pytest.raises(InvalidProof):
                opening.check(verifier, proven.key, stated, opened.model_copy(update=change))
            refused += 1
        assert refused == len(others) + 3

    def test_promises_are_capabilities(self) -> None:
        """What is promised under these settings is no more than what the backend declares."""
        declared, promised = (found.model_dump() for found in (self.capabilities(), self.promises()))
        assert all(declared[name] for name, kept in promised.items() if kept is True)

    def test_commitment_is_its_providers(self, registered: Registered) -> None:
        """A commitment names the backend and the provider that it was made for."""
        if registered.commitment is not None:
            assert registered.commitment.provider == PROVIDER
            assert registered.commitment.backend == registered.key.backend

    def test_capability_private_weights(self, bench: Workbench, registered: Registered, evidence: Evidence) -> None:
        """Private weights stand in nothing that travels, nor does a digest of them or a commitment without a salt."""
        if not self.promises().private_weights:
            return
        commitment = registered.commitment.data if registered.commitment else ""
        travelling = [*registered.key.parts.values(), bytes.fromhex(commitment), evidence.valid.proof.data]
        for secret in _secrets(registered.model):
            assert not any(secret in data for data in travelling)
        if registered.commitment is not None:
            with bench.stage("commit") as job:
                again = self.make_backend().commit(registered.circuit, registered.model, PROVIDER, job).public
            assert again != registered.commitment, (
                "the same weights give the same commitment, so a guess can be tried"
            )


def _secrets(model: Model) -> Iterator[bytes]:
    """Yield what would give the weights away: each of them as bytes, and the model's identity."""
    for tensor in model.proto().graph.initializer if model.onnx else ():
        if len(tensor.raw_data) >= 16:
            yield tensor.raw_data[:64]
    if model.integer is not None:
        yield model.integer
    yield bytes.fromhex(model.model_id)
    yield model.model_id.encode()
