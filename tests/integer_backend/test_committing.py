"""The shared base where a commitment binds the weights: the kit's promises, and circuits that no weight shows in."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from committing import NAME, ShownBackend, ShownVerifier
from onnx import numpy_helper

from balance_core import cid
from balance_core.contracts import Request
from balance_core.errors import BlobNotFound, ConfigError, InvalidProof, UnsupportedModel
from balance_core.integer.encoding import encode_weights, loads
from balance_core.integer.interface import STRUCTURE_PART, Interface, read_interface
from balance_core.integer.proving import INTEGER_PART
from balance_core.model import integers
from balance_core.model.load import load
from balance_core.records import Opening, VerifyingKey
from balance_core.testing import BackendConformance
from balance_core.testing.models import kit_models, samples
from balance_core.testing.workbench import PROVIDER
from balance_core.work import LocalJob
from balance_core.workspace import Workspace


class TestShown(BackendConformance):
    backend = ShownBackend
    verifier = ShownVerifier


@pytest.fixture
def job(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    workspace = Workspace(tmp_path / "home")
    return LocalJob(workspace, scratch, threads=1, memory_bytes=None, report=lambda _message, _fraction: None)


def retrained(model, factor):
    """Return the model with its weights moved a little towards 0."""
    proto = model.proto()
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    return load(proto, name="retrained")


def key(circuit, job):
    return VerifyingKey(
        circuit.backend, {name: job.path(address).read_bytes() for name, address in circuit.key.items()}
    )


def test_a_circuit_shows_no_weight_and_serves_a_retrained_model(job):
    model = kit_models().main
    circuit = ShownBackend().setup(model, samples(model), job)
    commitment = ShownBackend().commit(circuit, model, PROVIDER, job)
    secret = encode_weights(loads(job.path(commitment.opening.blobs[INTEGER_PART]).read_bytes()))
    shown = b"".join(job.path(address).read_bytes() for address in (*circuit.key.values(), *circuit.proving.values()))
    assert not any(secret[at : at + 8] in shown for at in range(0, len(secret) - 8, 4))
    assert INTEGER_PART not in circuit.proving

    other = retrained(model, 0.97)
    settings = ShownBackend.settings_class.parse(json.loads(circuit.to_json())["settings"], owner=NAME)
    again = ShownBackend(settings).setup(other, None, job)
    assert again.circuit_id == circuit.circuit_id
    assert again.settings == circuit.settings
    second = ShownBackend().commit(circuit, other, PROVIDER, job)
    assert second.public != commitment.public

    request = Request({"x": samples(other).inputs["x"][0]}, bytes(range(32)))
    proof = ShownBackend().prove(circuit, second.opening, [request], job)
    (statement,) = ShownVerifier().verify(key(circuit, job), second.public, proof)
    assert statement.commitment_id == second.public.commitment_id
    (answer,) = ShownBackend().execute(circuit, second.opening, {"x": request.inputs["x"][None]}, job)
    assert statement.outputs == answer
    with pytest.raises(InvalidProof, match="not those committed"):
        ShownVerifier().verify(key(circuit, job), commitment.public, proof)


def test_a_model_that_leaves_the_circuit_is_not_committed_to(job):
    model = kit_models().main
    circuit = ShownBackend().setup(model, samples(model), job)
    with pytest.raises(ConfigError, match="weights of matmul_1 reach"):
        ShownBackend().commit(circuit, retrained(model, 3), PROVIDER, job)
    with pytest.raises(ConfigError, match="recipe"):
        ShownBackend().commit(circuit, kit_models().other, PROVIDER, job)


def test_models_of_integers_are_committed_to_as_they_are(job):
    from balance_core.integer import IntegerModel, Node, Output, operations

    nodes = (Node(operations.Input("x", (1, 2), -8, 7)), Node(operations.Constant((2, 1), -3, 3, None)),
             Node(operations.MatMul(), (0, 1), label="product"))  # fmt: skip
    one, two = (
        integers.describe(IntegerModel(nodes, (Output("y", 2),), {1: np.array(w, dtype=np.int64)}), "small")
        for w in ([[1], [2]], [[3], [-3]])
    )
    given = {"x": np.array([[[5, -1]]])}
    circuit = ShownBackend().setup(one, None, job)
    assert circuit.circuit_id == ShownBackend().setup(two, None, job).circuit_id
    for model, expected in ((one, 3), (two, 18)):
        opening = ShownBackend().commit(circuit, model, PROVIDER, job).opening
        ((answer,),) = ShownBackend().execute(circuit, opening, given, job)
        assert answer.integers == (expected,)


def test_without_its_opening_a_circuit_answers_nothing(job):
    model = kit_models().main
    circuit = ShownBackend().setup(model, samples(model), job)
    with pytest.raises(ConfigError, match="neither circuit nor opening"):
        ShownBackend().execute(circuit, Opening(), samples(model).inputs, job)
    with pytest.raises(BlobNotFound):
        ShownBackend().execute(
            circuit, Opening(blobs={INTEGER_PART: cid.of_bytes(b"lost")}), samples(model).inputs, job
        )


def test_what_a_structure_cannot_have_is_refused_by_check_and_setup_alike(job, monkeypatch):
    import committing

    monkeypatch.setattr(committing, "LARGEST", 7)
    model = kit_models().main
    (problem, *_) = ShownBackend().check(model).problems
    assert problem.node == "matmul_1"
    with pytest.raises(UnsupportedModel) as caught:
        ShownBackend().setup(model, samples(model), job)
    assert caught.value.issues[0].node == "matmul_1"


def test_the_verifier_reads_inputs_and_outputs_from_the_structure_alone(job):
    model = kit_models().two_inputs
    circuit = ShownBackend().setup(model, samples(model), job)
    interface = read_interface(key(circuit, job).parts[STRUCTURE_PART])
    opening = ShownBackend().commit(circuit, model, PROVIDER, job).opening
    assert interface == Interface.of(loads(job.path(opening.blobs[INTEGER_PART]).read_bytes()))
    assert [(port.name, port.shape) for port in interface.inputs] == [("a", (1, 3)), ("b", (1, 3))]
    assert [port.name for port in interface.outputs] == ["y"]


def test_authenticated_integers_outside_the_declared_interval_are_refused(job):
    model = kit_models().two_inputs
    interface = read_interface(key(ShownBackend().setup(model, samples(model), job), job).parts[STRUCTURE_PART])
    inputs, outputs = interface.split([0] * 9)

    def stated(inputs, outputs):
        return interface.statement("0" * 64, bytes(32), inputs, outputs)

    assert stated(inputs, outputs).inputs[1].integers == (0, 0, 0)
    for port, place in zip(interface.inputs, range(2), strict=True):
        for wrong in (port.lo - 1, port.hi + 1, 2**64, -(2**300)):
            changed = [list(part) for part in inputs]
            changed[place][1] = wrong
            with pytest.raises(InvalidProof, match=f"{port.name} leaves its interval"):
                stated(changed, outputs)
    for wrong in ([], [[0] * 2], [[0] * 4], [[0] * 3, [0] * 3], [[interface.outputs[0].hi + 1, 0, 0]]):
        with pytest.raises(InvalidProof):
            stated(inputs, wrong)
    for length in (0, 31, 33):
        with pytest.raises(InvalidProof, match="32 bytes"):
            interface.statement("0" * 64, bytes(length), inputs, outputs)
    hidden = interface.inputs[0].hidden("scheme", b"\x01\x02")
    assert stated([hidden, inputs[1]], outputs).inputs[0].commitment == "0102"
    for count in (0, 8, 10):
        with pytest.raises(InvalidProof, match="public integers"):
            interface.split([0] * count)


def test_a_broken_structure_is_a_broken_key(job):
    model = kit_models().main
    good = key(ShownBackend().setup(model, samples(model), job), job).parts[STRUCTURE_PART]
    generator = np.random.default_rng(0)
    for at in range(0, len(good), 3):
        changed = bytearray(good)
        changed[at] ^= int(generator.integers(1, 256))
        try:
            assert read_interface(bytes(changed)) is not None
        except InvalidProof:
            continue
    for wrong in (b"", good[:-1], good + b"\0", b"\xff" * 100, bytes(10**6)):
        with pytest.raises(InvalidProof, match="verifying key is broken"):
            read_interface(wrong)


def test_requests_of_another_form_are_config_errors(job):
    model = kit_models().main
    circuit = ShownBackend().setup(model, samples(model), job)
    opening = ShownBackend().commit(circuit, model, PROVIDER, job).opening
    x = samples(model).inputs["x"][0]
    for inputs, context in (
        ({"x": x[:, :3]}, bytes(32)),
        ({"x": x, "z": x}, bytes(32)),
        ({}, bytes(32)),
        ({"x": np.array([["a"] * 4])}, bytes(32)),
        ({"x": x * np.nan}, bytes(32)),
        ({"x": x}, bytes(31)),
    ):
        with pytest.raises(ConfigError):
            ShownBackend().prove(circuit, opening, [Request(inputs, context)], job)
    for count in (0, 2):
        with pytest.raises(ConfigError, match="exactly one request"):
            ShownBackend().prove(circuit, opening, [Request({"x": x}, bytes(32))] * count, job)


def test_names_of_nodes_change_neither_circuit_nor_settings(job):
    proto = onnx.ModelProto()
    proto.CopyFrom(kit_models().main.proto())
    for node in proto.graph.node:
        node.name = ""
    model = kit_models().main
    first, second = (
        ShownBackend().setup(each, samples(model), job) for each in (model, load(proto, name="nameless"))
    )
    assert (first.circuit_id, first.settings) == (second.circuit_id, second.settings)


def test_a_recipe_is_given_on_the_command_line_as_its_text(job):
    from balance_core.settings import read_options

    model = kit_models().main
    circuit = ShownBackend().setup(model, samples(model), job)
    options = read_options([f"recipe={circuit.settings['recipe']}"])["backend"]
    settings = ShownBackend.settings_class.parse(options, owner=NAME)
    assert ShownBackend(settings).setup(model, None, job).circuit_id == circuit.circuit_id
    for wrong in ("5", "[]", "{}", "recipe.json"):
        with pytest.raises(ConfigError, match="recipe"):
            ShownBackend.settings_class.parse(read_options([f"recipe={wrong}"])["backend"], owner=NAME)
