"""What the reference backend adds to the kit's promises: circuits from settings alone, and models of integers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from balance_core import registry
from balance_core.builtin import integer_backend
from balance_core.builtin.integer_backend import IntegerBackend
from balance_core.builtin.integer_verifier import IntegerVerifier
from balance_core.contracts import Samples
from balance_core.converters.tflite import TFLiteConverter
from balance_core.errors import ConfigError, InvalidProof, UnsupportedModel
from balance_core.model import integers, reference
from balance_core.model.load import load
from balance_core.records import Proof, VerifyingKey
from balance_core.testing.models import kit_models, samples
from balance_core.work import LocalJob
from balance_core.workspace import Workspace

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
def job(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    workspace = Workspace(tmp_path / "home")
    return LocalJob(workspace, scratch, threads=1, memory_bytes=None, report=lambda _message, _fraction: None)


def key(circuit, job) -> VerifyingKey:
    return VerifyingKey(circuit.backend, {name: job.path(cid).read_bytes() for name, cid in circuit.key.items()})


def quantised_model(name="int8_conv"):
    model = integers.describe(TFLiteConverter().convert(DATA / "tflite" / f"{name}.tflite"), name.replace("_", "-"))
    given = {model.inputs[0].name: np.load(DATA / "tflite" / f"{name}.npz")["x0"]}
    return model, Samples(given, reference.answers(model, given))


def test_it_says_everywhere_that_it_proves_nothing(job):
    capabilities = IntegerBackend.capabilities
    assert not capabilities.sound
    assert not capabilities.zero_knowledge
    assert capabilities.security_bits == 0
    assert "no proof" in capabilities.security_note
    model = kit_models().main
    assert any("no proof" in note for note in IntegerBackend().check(model).notes)
    circuit = IntegerBackend().setup(model, samples(model), job)
    assert "no proof" in str(circuit.facts["note"])
    assert "proves nothing" in str(integer_backend.__doc__)


def test_settings_of_a_circuit_make_it_again_without_samples(job):
    for each in (kit_models().main, kit_models().two_inputs):
        circuit = IntegerBackend().setup(each, samples(each), job)
        settings = json.loads(json.dumps(circuit.settings))
        again = registry.create("backends", "integer", settings).setup(each, None, job)
        assert again.circuit_id == circuit.circuit_id
        assert again.settings == circuit.settings


def test_names_of_nodes_do_not_change_a_circuit(job):
    model = kit_models().main
    proto = model.proto()
    for node in proto.graph.node:
        node.name = f"other_{node.name}"
    renamed = load(proto, name="renamed")
    circuits = [IntegerBackend().setup(each, samples(model), job) for each in (model, renamed)]
    assert circuits[0].circuit_id == circuits[1].circuit_id


def test_quantised_models_are_proven_as_they_are(job):
    model, given = quantised_model()
    backend = IntegerBackend()
    assert backend.check(model).ok
    circuit = backend.setup(model, given, job)
    assert circuit.model_id == model.model_id
    answers = backend.execute(circuit, None, given.inputs, job)
    expected = np.load(DATA / "tflite" / "int8_conv.npz")["y0"]
    assert [answer[0].integers for answer in answers] == [tuple(row.ravel().tolist()) for row in expected]
    np.testing.assert_array_equal(answers[0][0].real(), given.outputs[model.outputs[0].name][0])
    from balance_core.contracts import Request

    name = model.inputs[0].name
    request = Request({name: given.inputs[name][3]}, bytes(range(32)))
    proof = backend.prove(circuit, None, [request], job)
    (statement,) = IntegerVerifier().verify(key(circuit, job), None, proof)
    assert statement.outputs == answers[3]
    assert statement.inputs[0].integers == tuple(given.inputs[name][3].ravel().tolist())


def test_a_proof_for_another_backend_is_none():
    with pytest.raises(InvalidProof):
        IntegerVerifier().verify(VerifyingKey("ezkl", {"model": b""}), None, Proof("ezkl", b""))


def test_a_key_without_weights_is_refused(job):
    model = kit_models().main
    circuit = IntegerBackend().setup(model, samples(model), job)
    parts = key(circuit, job).parts
    with pytest.raises(InvalidProof, match="the verifying key is broken"):
        IntegerVerifier().setup_trust(VerifyingKey("integer", {**parts, "weights": b""}))
    with pytest.raises(InvalidProof, match="a structure, its weights and nothing else"):
        IntegerVerifier().setup_trust(VerifyingKey("integer", {"structure": parts["structure"]}))


@pytest.mark.parametrize("text", ["", "!!", "{}", "[]", '{"bits":8}', "{" * 10**5, "\ud800"])
def test_a_recipe_that_is_none_is_a_config_error(text, job):
    model = kit_models().main
    with pytest.raises(ConfigError):
        IntegerBackend(IntegerBackend.settings_class(recipe=text)).setup(model, None, job)


def test_it_is_never_chosen_unless_it_is_named(monkeypatch):
    from balance_core import session

    monkeypatch.setattr(registry, "names", lambda _kind: ("integer",))
    assert session._default_backend() == "ezkl"
    monkeypatch.setattr(registry, "names", lambda _kind: ("integer", "zkml_halo2"))
    assert session._default_backend() == "zkml_halo2"


def test_a_backend_of_float_graphs_refuses_models_of_integers():
    support = pytest.importorskip("balance_ezkl.support")
    settings = pytest.importorskip("balance_ezkl.settings")
    model, _ = quantised_model()
    answer = support.support(model, settings.EzklSettings())
    assert [problem.operator for problem in answer.problems] == ["integer model"]
    assert "integers already" in answer.problems[0].reason
    with pytest.raises(UnsupportedModel):
        model.proto()
