"""What a proof says: the context, the inputs as they were rounded, and the outputs that `execute` gives."""

from __future__ import annotations

import numpy as np
import pytest
from balance_ezkl import witness
from balance_ezkl.backend import EzklBackend
from balance_ezkl.verifier import EzklVerifier

from balance_core.contracts import Request
from balance_core.errors import ConfigError
from balance_core.records import Opening, TensorSpec

from .workshop import CONTEXT, mlp, sample, sampled

SPEC = TensorSpec(name="x", dtype="float32", shape=(1, 4))


def test_statement_names_circuit_and_context(tiny):
    statement = tiny.verify()
    assert statement.circuit_id == tiny.circuit.circuit_id == tiny.key.circuit_id
    assert statement.context == CONTEXT.hex()
    assert statement.commitment_id is None


def test_statement_holds_the_inputs_as_they_were_rounded(tiny):
    (stated,) = tiny.verify().inputs
    scale = tiny.circuit.facts["input_scale"]
    given = sample(tiny.samples, 0)["x"]
    assert (stated.name, stated.shape, stated.denominator) == ("x", (1, 4), 2**scale)
    assert np.abs(stated.real() - given).max() <= 2.0 ** -(scale + 1)


def test_outputs_are_those_of_execute_and_near_the_float_models(tiny, tiny_bench):
    answers = tiny_bench.execute(tiny.circuit, tiny.samples.inputs)
    assert len(answers) == 24
    assert tiny.verify().outputs == tuple(answers[0])
    for answer, expected in zip(answers, tiny.samples.outputs["y"], strict=True):
        assert np.abs(answer[0].real() - expected).max() < 0.1


def test_every_bit_of_the_context_arrives(tiny, tiny_bench):
    for context in (bytes(32), b"\xff" * 32):
        proof = tiny_bench.prove(tiny.circuit, sample(tiny.samples, 1), context)
        assert tiny.verify(proof=proof).context == context.hex()


def test_context_of_another_length_is_refused(tiny, tiny_bench):
    with pytest.raises(ConfigError, match="31 bytes"):
        tiny_bench.prove(tiny.circuit, sample(tiny.samples, 0), bytes(31))


def test_two_proofs_of_one_request_differ(tiny, tiny_bench):
    again = tiny_bench.prove(tiny.circuit, sample(tiny.samples, 0))
    assert again != tiny.proof
    assert tiny.verify(proof=again) == tiny.verify()


def test_no_request_and_two_requests_are_refused(tiny, tiny_bench):
    request = Request(sample(tiny.samples, 0), CONTEXT)
    for requests in ([], [request, request]):
        with tiny_bench.job() as job, pytest.raises(ConfigError, match="one request at a time"):
            EzklBackend().prove(tiny.circuit, Opening(), requests, job)


def test_values_are_rounded_half_away_from_zero():
    array = np.array([[0.5, -0.5, 0.49999999999999994, 1.5]])
    assert witness.quantise(array, SPEC, 0, 100) == [1, -1, 0, 2]
    assert witness.quantise(np.array([[0.25, -0.25, 0.1, 3.0]]), SPEC, 1, 100) == [1, -1, 0, 6]


def test_whole_numbers_of_any_size_are_kept_exactly():
    spec = TensorSpec(name="n", dtype="int64", shape=(2,))
    assert witness.quantise(np.array([2**62 - 1, -(2**62)]), spec, 0, 2**63) == [2**62 - 1, -(2**62)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_input_that_is_no_number_is_refused_by_name(tiny, tiny_bench, bad):
    array = np.full((1, 4), bad, dtype=np.float32)
    with pytest.raises(ConfigError, match="'x' holds values that are not finite"):
        tiny_bench.prove(tiny.circuit, {"x": array})


def test_input_beyond_the_circuits_range_is_refused_by_name(tiny, tiny_bench):
    with pytest.raises(ConfigError, match=r"'x' holds 1e\+30, the circuit takes values below"):
        tiny_bench.execute(tiny.circuit, {"x": np.full((1, 1, 4), 1e30)})


def test_input_that_leads_beyond_the_range_is_refused_with_what_to_do(tiny, tiny_bench):
    limit = tiny.circuit.facts["decomp_base"] ** tiny.circuit.facts["decomp_legs"]
    largest = (limit - 1) / 2 ** tiny.circuit.facts["input_scale"]
    with pytest.raises(ConfigError, match="out of the range") as refused:
        tiny_bench.prove(tiny.circuit, {"x": np.full((1, 4), largest)})
    assert "samples like it" in refused.value.hint


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({}, "'x' is missing"),
        ({"x": np.zeros((1, 4)), "z": np.zeros(1)}, "'z' is none of the model's"),
        ({"x": np.zeros((4,))}, r"'x' has shape \[4\]"),
        ({"x": np.array([["a", "b", "c", "d"]])}, "'x' holds <U1"),
    ],
)
def test_inputs_of_another_form_are_refused_by_name(tiny, tiny_bench, inputs, named):
    with pytest.raises(ConfigError, match=named):
        tiny_bench.prove(tiny.circuit, inputs)


def test_inputs_of_different_lengths_are_refused(tiny, tiny_bench):
    for inputs in ({}, {"x": np.zeros((2, 1, 4)), "z": np.zeros((3, 1))}):
        with pytest.raises(ConfigError, match="same number of samples"):
            tiny_bench.execute(tiny.circuit, inputs)


def test_two_inputs_and_two_outputs_keep_their_places(bench):
    model = mlp(seed=3, sizes=(2, 3))
    proto = model.proto()
    from onnx import TensorProto, helper

    proto.graph.input.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT, [1, 3]))
    proto.graph.node.append(helper.make_node("Add", ["y", "extra"], ["total"], name="total"))
    proto.graph.output.append(helper.make_tensor_value_info("total", TensorProto.FLOAT, [1, 3]))
    from balance_core.model.load import load

    model = load(proto)
    samples = sampled(model)
    circuit = bench.setup(model, samples)
    proof = bench.prove(circuit, sample(samples, 4))
    (statement,) = EzklVerifier().verify(bench.key(circuit), None, proof)
    assert [tensor.name for tensor in statement.inputs] == [spec.name for spec in model.inputs]
    assert [tensor.name for tensor in statement.outputs] == [spec.name for spec in model.outputs]
    for tensor in statement.outputs:
        assert np.abs(tensor.real() - samples.outputs[tensor.name][4]).max() < 0.2
