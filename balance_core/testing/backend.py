"""The conformance of backends: what they promise about models and stages, beside their verifier's promises."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from balance_core import cid
from balance_core.errors import StageError, UnsupportedModel
from balance_core.testing import confine, form, fresh
from balance_core.testing.capabilities import CapabilityCases
from balance_core.testing.edits import check_statements
from balance_core.testing.models import samples
from balance_core.testing.verifier import VerifierConformance
from balance_core.testing.workbench import Proven

if TYPE_CHECKING:
    from pathlib import Path

    from balance_core.testing.models import KitModels
    from balance_core.testing.verifier import Evidence
    from balance_core.testing.workbench import Registered, Workbench


class BackendConformance(CapabilityCases):
    """What every backend and its verifier promise: `class TestMine(BackendConformance): backend = "mine"`."""

    def test_verifier_keeps_the_form(self) -> None:
        """The verifier that goes with the backend has the form of a plugin too."""
        subject = self.verifier_subject()
        kind = type("_Verifier", (VerifierConformance,), {"verifier": subject})()
        for name in sorted(vars(form.PluginConformance)):
            if name.startswith("test_"):
                getattr(kind, name)()

    def test_check_says_no_exactly_when_setup_refuses(self, bench: Workbench, models: KitModels) -> None:
        """For each model `check` finds no problem and `setup` succeeds, or both name the same nodes."""
        for model in models:
            support = self.make_backend().check(model)
            if support.ok:
                bench.registered(model)
                continue
            with bench.stage("setup") as job, pytest.raises(UnsupportedModel) as refused:
                self.make_backend().setup(model, samples(model), job)
            assert {issue.node for issue in refused.value.issues} == {problem.node for problem in support.problems}

    def test_unsupported_nodes_are_named(self, models: KitModels) -> None:
        """`check` names the nodes that cannot be proven, by the names that they have in the graph, with a reason."""
        support = self.make_backend().check(models.unsupported)
        assert support.problems, "check finds nothing wrong with a model that nobody can prove"
        if models.unsupported.onnx:
            nodes = {node.name for node in models.unsupported.proto().graph.node}
            assert {problem.node for problem in support.problems} <= nodes
        assert all(problem.reason and problem.operator for problem in support.problems)

    def test_check_has_no_side_effects(self, models: KitModels, tmp_path: Path) -> None:
        """`check` writes nothing outside a temporary folder, leaves nothing there, and says the same each time."""
        around, temporary = tmp_path / "around", tmp_path / "temporary"
        around.mkdir()
        temporary.mkdir()
        variables = {"HOME": str(around), "BALANCE_HOME": str(around)}
        with (
            confine.surroundings(around, temporary, variables),
            confine.watched((temporary,), network=False) as watch,
        ):
            answers = [self.make_backend().check(models.main) for _ in range(2)]
        left = [str(path) for folder in (around, temporary) for path in folder.rglob("*")]
        assert not [*watch.writes, *left], "written outside a temporary folder, or left there"
        assert not watch.calls
        assert answers[0].problems == answers[1].problems

    def test_circuit_says_what_it_is_of(self, registered: Registered) -> None:
        """The circuit names its backend, version, model and interface, and the trust that its key tells."""
        circuit = registered.circuit
        assert circuit.backend == registered.key.backend
        if isinstance(self.backend, str):
            assert circuit.backend == self.backend
        assert circuit.backend_version == self.plugin_class().version
        assert circuit.model_id == registered.model.model_id
        assert circuit.inputs == registered.model.inputs
        assert circuit.outputs == registered.model.outputs
        assert circuit.key, "a verifier relies on something"
        assert circuit.setup_trust == self.make_verifier().setup_trust(registered.key)
        json.dumps(circuit.settings)

    def test_execute_equals_what_is_proven(
        self, bench: Workbench, evidence: Evidence, registered: Registered
    ) -> None:
        """`execute`, over a whole batch, gives exactly the outputs that proofs state."""
        answers = bench.execute(registered, registered.samples.inputs)
        assert len(answers) == len(next(iter(registered.samples.inputs.values())))
        for sample, proven in ((0, evidence.valid), (1, evidence.again)):
            (stated,) = self.make_verifier().verify(proven.key, proven.commitment, proven.proof)
            assert stated.outputs == tuple(answers[sample])

    def test_answers_are_the_models(self, bench: Workbench, registered: Registered) -> None:
        """Answers have the model's output names and shapes, and are as near to the float model's as promised."""
        answers = bench.execute(registered, registered.samples.inputs)
        for spec in registered.model.outputs:
            floats = registered.samples.outputs[spec.name]
            for answer, expected in zip(answers, floats, strict=True):
                found = {tensor.name: tensor for tensor in answer}[spec.name]
                assert found.shape == spec.shape
                assert float(np.max(np.abs(found.real() - expected))) <= self.tolerance

    def test_inputs_are_not_mixed_up(self, bench: Workbench, models: KitModels) -> None:
        """A model of two inputs of one shape gets each in its place, and the statement names them in order."""
        if not self.make_backend().check(models.two_inputs).ok:
            return  # that setup refuses it too is the promise of another case
        registered = bench.registered(models.two_inputs)
        asked = registered.request(0, self.context(1))
        proven = bench.proven(models.two_inputs, asked)
        stated = self.make_verifier().verify(proven.key, proven.commitment, proven.proof)
        check_statements(stated, proven, binds_context=self.binds_context())
        reordered = replace(asked, inputs=dict(reversed(list(asked.inputs.items()))))
        assert bench.proven(models.two_inputs, reordered).outputs == proven.outputs

    def test_weights_are_bound(self, evidence: Evidence) -> None:
        """Two models that differ in their weights alone never share both circuit and commitment."""
        bound = [
            (proven.key.circuit_id, proven.commitment and proven.commitment.commitment_id)
            for proven in (evidence.valid, evidence.twin)
        ]
        assert bound[0] != bound[1]

    def test_fresh_process_proves(self, bench: Workbench, registered: Registered) -> None:
        """Proving needs nothing but records and content: a process that has only these makes a valid proof."""
        request = registered.request(2, self.context(3))
        proof = fresh.proof(bench, self.backend, self.settings, registered, request)
        stated = self.make_verifier().verify(registered.key, registered.commitment, proof)
        proven = Proven(registered.key, registered.commitment, proof, (request,), ())
        check_statements(stated, proven, binds_context=self.binds_context())

    def test_stages_write_to_their_scratch_folder_only(self, bench: Workbench, evidence: Evidence) -> None:
        """No stage writes outside its scratch folder, and content that was published stays as it was."""
        del evidence  # it was made on the bench
        assert not bench.writes
        blobs = [path for path in (bench.workspace.root / "blobs").rglob("*") if path.is_file()]
        assert not [path.name for path in blobs if cid.of_file(path) != path.name], "published content was changed"

    def test_stages_need_no_network(self, bench: Workbench, evidence: Evidence) -> None:
        """No stage calls anybody unless the class declares `needs_network`."""
        del evidence  # it was made on the bench
        assert self.plugin_class().needs_network or not bench.calls, bench.calls

    def test_cancelled_stage_ends(self, bench: Workbench, registered: Registered) -> None:
        """A stage whose job was cancelled ends with a StageError at the latest when it next tells of its progress."""
        with bench.stage("prove", cancelled=True) as job:
            told = False
            report = job.progress

            def progress(message: str, fraction: float | None = None) -> None:
                nonlocal told
                told = True
                report(message, fraction)

            job.progress = progress  # type: ignore[method-assign]  # to see whether the stage tells at all
            try:
                request = registered.request(0, self.context(4))
                self.make_backend().prove(registered.circuit, registered.opening, [request], job)
            except StageError:
                return
        assert not told, "the stage went on after it was told to stop"
