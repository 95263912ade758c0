"""Lowering: refusals that name the node, and models that onnx's node tests do not hold."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser

from balance_core.errors import UnsupportedModel
from balance_core.integer import IntegerSettings, calibrate, execute, lower
from balance_core.integer import operations as ops
from balance_core.integer.lowering.driver import Lowering
from balance_core.model import reference

STATE = {}


@pytest.fixture(autouse=True)
def seeded():
    """Give each test the same random numbers, whichever tests ran before."""
    STATE["generator"] = np.random.Generator(np.random.PCG64(5))


def model(text, opset=17, **constants):
    """Write a model as text, with constants by name."""
    proto = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}, "ai.onnx.ml" : 3]> m {text}')
    for name, array in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return proto


def check(proto, batch, bits=12, tolerance=0.01):
    """Lower and compare all outputs with onnxruntime's; return the integer model."""
    lowered = Lowering(proto, batch, bits, bits).run().model
    expected, found = reference.run(proto, batch), execute(lowered, batch).reals
    for name, array in expected.items():
        limit = tolerance * max(1e-9, float(np.abs(array).max())) if array.dtype.kind == "f" else 0
        assert np.abs(found[name] - array).max() <= limit, name
    return lowered


def normal(*shape):
    return STATE["generator"].normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "node", "words"),
    [
        ("(float[1,4] x) => (float[1,4] y) { [first] z = Det (x) [second] y = Relu (z) }", "first", "no lowering"),
        ("(float[1,4] x, int64[2] s) => (float[2,2] y) { [bend] y = Reshape (x, s) }", "bend", "must be a constant"),
        ("(float[1,1,4,4] x) => (float[1,1,2,2] y) { [m] y = MaxPool <kernel_shape=[2,2], odd=1> (x) }", "m", "odd"),
        ("(float[1,4] x) => (float[1,4] y) { [f] y = CumSum (x) }", "f", "no lowering"),
        ("(float[2,2] x, float[3,3] w) => (float[2,2] y) { [p] y = MatMul (x, w) }", "p", "do not"),
        ("(float[1,4] x) => (float[1,4] y) <float[1] c = {0}> { [d] y = Div (x, c) }", "d", "constant 0"),
    ],
)
def test_what_has_no_integer_form_is_refused_by_name(text, node, words):
    proto = model(text)
    samples = {
        i.name: normal(3, *(d.dim_value for d in i.type.tensor_type.shape.dim))
        if i.type.tensor_type.elem_type == TensorProto.FLOAT
        else np.full((3, 2), 2)
        for i in proto.graph.input
    }
    with pytest.raises(UnsupportedModel) as caught:
        Lowering(proto, samples, 8, 8).run()
    assert node in [issue.node for issue in caught.value.issues]
    assert words in str(caught.value)


def test_every_unknown_operator_is_named_at_once():
    proto = model("(float[2,2] x) => (float y) { [a] z = Det (x) [b] w = CumSum (x, z) [c] y = Det (w) }")
    with pytest.raises(UnsupportedModel) as caught:
        Lowering(proto, {"x": normal(2, 2, 2)}, 8, 8).run()
    assert [issue.node for issue in caught.value.issues] == ["a", "b", "c"]


def test_an_output_that_ignores_the_input_is_refused():
    proto = model("(float[2] x) => (float[2] y) { y = Constant <value = float[2] {1, 2}> () }")
    with pytest.raises(UnsupportedModel, match="does not depend"):
        Lowering(proto, {"x": normal(2, 2)}, 8, 8).run()


def test_a_layer_with_bias_and_relu_has_one_rescale_and_one_clamp():
    text = "(float[1,8] x) => (float[1,2] y) { h = MatMul (x, w) a = Add (h, b) r = Relu (a) y = MatMul (r, v) }"
    proto = model(text, w=normal(8, 4), b=normal(4), v=normal(4, 2))
    lowered = check(proto, {"x": normal(40, 1, 8)}, bits=10)
    names = [node.operation.name for node in lowered.nodes]
    assert names.count("rescale") == 1
    assert names.count("clamp") == 1


def test_a_relu_before_a_reshape_still_joins_the_one_clamp():
    text = """(float[1,2,4] x) => (float[1,2] y) {
        h = MatMul (x, w)  r = Relu (h)  t = Transpose <perm=[0,2,1]> (r)  f = Flatten (t)  y = MatMul (f, v) }"""
    proto = model(text, w=normal(4, 4), v=normal(8, 2))
    names = [node.operation.name for node in check(proto, {"x": normal(40, 1, 2, 4)}, bits=10).nodes]
    assert (names.count("rescale"), names.count("clamp")) == (1, 1)


def test_weights_are_never_rescaled_when_the_model_runs():
    proto = model("(float[1,8] x) => (float[1,4] y) { y = MatMul (x, w) }", w=normal(8, 4))
    lowered = Lowering(proto, {"x": normal(40, 1, 8)}, 6, 12).run().model
    assert [node.operation.name for node in lowered.nodes] == ["input", "constant", "matmul"]


def test_a_chain_of_functions_of_one_tensor_becomes_one_table():
    text = """(float[1,8] x) => (float[1,8] y) {
        d = Div (x, root)  e = Erf (d)  a = Add (e, one)  m = Mul (x, a)  y = Mul (m, half) }"""
    proto = model(text, root=np.float32(2**0.5), one=np.float32(1), half=np.float32(0.5))
    lowered = check(proto, {"x": normal(40, 1, 8)}, bits=10)
    assert [node.operation.name for node in lowered.nodes] == ["input", "lookup"]


def test_chained_reindexing_becomes_one_wire():
    text = """(float[1,2,6] x) => (float[6,2] y) { a = Transpose <perm=[0,2,1]> (x)
        b = Reshape (a, s)  c = Transpose <perm=[0,1,2]> (b)  y = Reshape (c, t) }"""
    proto = model(text, s=np.array([1, 3, 4]), t=np.array([6, 2]))
    lowered = check(proto, {"x": normal(4, 1, 2, 6)}, bits=12)
    assert [node.operation.name for node in lowered.nodes] == ["input", "wire"]


def test_equal_work_is_done_once():
    proto = model("(float[1,4] x) => (float[1,4] y) { a = Tanh (x)  b = Tanh (x)  y = Mul (a, b) }")
    lowered = check(proto, {"x": normal(20, 1, 4)})
    assert sum(isinstance(node.operation, ops.Lookup) for node in lowered.nodes) == 1


def test_a_variable_index_picks_from_weights_and_wraps_when_negative():
    proto = model("(int64[1,3] i) => (float[1,3,2] y) { y = Gather <axis=0> (w, i) }", w=normal(5, 2))
    check(proto, {"i": np.array([[[0, 4, -1]], [[2, -5, 3]]])}, tolerance=0.001)


@pytest.mark.parametrize("low", [-1e4, -1e9, np.finfo(np.float32).min, -np.inf])
def test_attention_with_a_mask_follows_the_float_model(low):
    mask = np.where(np.arange(4)[:, None] >= np.arange(4), 0, low).astype(np.float32)
    text = """(float[1,4,8] x) => (float[1,4,8] y) {
        a = MatMul (x, q)  b = MatMul (x, k)  t = Transpose <perm=[0,2,1]> (b)  s = MatMul (a, t)
        m = Add (s, mask)  p = Softmax <axis=-1> (m)  y = MatMul (p, x) }"""
    proto = model(text, q=normal(8, 8) / 3, k=normal(8, 8) / 3, mask=mask)
    check(proto, {"x": normal(30, 1, 4, 8)}, bits=12, tolerance=0.03)


def test_a_selected_mask_follows_the_float_model():
    text = """(float[1,4,4] x) => (float[1,4,4] y) { m = Where (c, x, low)  y = Softmax <axis=-1> (m) }"""
    proto = model(text, c=np.tri(4, dtype=bool)[None], low=np.float32(-np.inf))
    check(proto, {"x": normal(30, 1, 4, 4)}, bits=12, tolerance=0.01)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_follow_onnxruntime(kind):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    constants = {"w": normal(2, gates * 3, 5) / 2, "r": normal(2, gates * 3, 3) / 2, "b": normal(2, gates * 6) / 2}
    node = helper.make_node(kind, ["x", "w", "r", "b"], ["y", "h"], hidden_size=3, direction="bidirectional")
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6, 1, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [6, 2, 1, 3]),
         helper.make_tensor_value_info("h", TensorProto.FLOAT, [2, 1, 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    lowered = check(proto, {"x": normal(10, 6, 1, 5)}, bits=10, tolerance=0.03)
    tables = {node.operation.key for node in lowered.nodes if isinstance(node.operation, ops.Lookup)}
    assert len(tables) <= 4  # sigmoid and tanh, at most two intervals each


def test_a_quantised_network_keeps_its_own_scales():
    text = """(float[1,4] x) => (float[1,4] y) {
        q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  m = MatMul (d, w)
        p = QuantizeLinear (m, t, u)  y = DequantizeLinear (p, t, u) }"""
    scales = {"s": np.float32(0.037), "t": np.float32(0.11), "z": np.int8(3), "u": np.int8(-5)}
    proto = model(text, w=normal(4, 4), **scales)
    batch = {"x": normal(60, 1, 4)}
    lowered = Lowering(proto, batch, 12, 12).run().model
    found, expected = execute(lowered, batch).reals["y"], reference.run(proto, batch)["y"]
    assert np.abs(found - expected).max() <= 0.11 * 1.01
    assert (np.abs(found - expected) > 0.01).mean() < 0.02


def test_grouped_dilated_and_one_dimensional_convolutions_follow_onnxruntime():
    text = """(float[1,4,9] x) => (float[1,6,5] y) {
        y = Conv <group=2, strides=[2], auto_pad="SAME_UPPER"> (x, w, b) }"""
    proto = model(text, w=normal(6, 2, 3), b=normal(6))
    check(proto, {"x": normal(8, 1, 4, 9)})


def sklearn_cases():
    from sklearn.datasets import load_breast_cancer, load_iris
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    iris, cancer = load_iris(return_X_y=True), load_breast_cancer(return_X_y=True)
    return {
        "binary boosting": (GradientBoostingClassifier(n_estimators=12, random_state=0), cancer),
        "forest": (RandomForestClassifier(n_estimators=10, max_depth=5, random_state=0), iris),
        "boosted regression": (GradientBoostingRegressor(n_estimators=12, random_state=0), iris),
        "tree regression": (DecisionTreeRegressor(max_depth=4, random_state=0), cancer),
        "scaled logistic": (make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)), cancer),
        "multinomial": (LogisticRegression(max_iter=500), iris),
        "linear regression": (LinearRegression(), iris),
    }


@pytest.mark.parametrize("name", ["binary boosting", "forest", "boosted regression", "tree regression",
                                  "scaled logistic", "multinomial", "linear regression"])  # fmt: skip
def test_scikit_learn_models_keep_their_decisions(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from skl2onnx import to_onnx

        estimator, (x, y) = sklearn_cases()[name]
        x = x.astype(np.float32)
        estimator.fit(x, y)
        options = {"zipmap": False} if hasattr(estimator, "predict_proba") else {}
        proto = to_onnx(estimator, x[:1], options={id(estimator): options} if options else None, target_opset=17)
    for dim in proto.graph.input[0].type.tensor_type.shape.dim[:1]:
        dim.dim_value = 1
    half = len(x) // 2
    order = np.random.Generator(np.random.PCG64(1)).permutation(len(x))
    samples, test = ({proto.graph.input[0].name: x[part][:, None]} for part in (order[:half], order[half:]))
    calibration = calibrate(proto, samples, IntegerSettings(min_agreement=1.0, max_error=0.01))
    assert calibration.report.suffices
    expected, found = reference.run(proto, test), execute(calibration.model, test).reals
    for output, array in expected.items():
        errors = np.abs(found[output] - array)
        if array.dtype.kind in "iu":
            assert (errors > 0).mean() <= 0.01, output
        else:
            assert np.quantile(errors, 0.98) <= 0.02 * float(np.ptp(array)), output


def test_tree_membership_follows_the_reference():
    from onnx.reference import ReferenceEvaluator

    sets = np.array([1.2, 3.7, 8.0, 9.0, np.nan, 12.0, 7.0, np.nan], dtype=np.float32)
    tensor = onnx.numpy_helper.from_array
    node = helper.make_node(
        "TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=4, membership_values=tensor(sets),
        nodes_missing_value_tracks_true=None, aggregate_function=1, post_transform=0, tree_roots=[0],
        nodes_modes=tensor(np.array([0, 6, 6], dtype=np.uint8)), nodes_featureids=[0, 0, 0],
        nodes_splits=tensor(np.array([11.0, 232344.0, 1.0], dtype=np.float32)),
        nodes_truenodeids=[1, 0, 1], nodes_trueleafs=[0, 1, 1], nodes_falsenodeids=[2, 2, 3],
        nodes_falseleafs=[0, 1, 1],
        leaf_targetids=[0, 1, 2, 3], leaf_weights=tensor(np.array([1.0, 10.0, 1000.0, 100.0], dtype=np.float32)),
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("ai.onnx.ml", 5), helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets)
    values = np.array([1.2, 3.4, 8.0, 12.0, 7.0, 13.0, 11.0], dtype=np.float32).reshape(-1, 1, 1)
    lowered = Lowering(proto, {"x": values}, 12, 12).run().model
    expected = [ReferenceEvaluator(proto).run(None, {"x": v})[0] for v in values]
    assert np.abs(execute(lowered, {"x": values}).reals["y"] - expected).max() <= 0.05


def test_integer_inputs_saturate_instead_of_wrapping_around():
    proto = model("(uint8[2] x, uint8[2] y) => (uint8[2] z) { z = Sub (x, y) }", opset=17)
    batch = {"x": np.array([[5, 9]], dtype=np.uint8), "y": np.array([[5, 2]], dtype=np.uint8)}
    lowered = Lowering(proto, batch, 8, 8).run().model
    assert execute(lowered, batch).outputs["z"].tolist() == [[0, 7]]
    other = {"x": np.array([[1, 9]], dtype=np.uint8), "y": np.array([[5, 2]], dtype=np.uint8)}
    assert execute(lowered, other).outputs["z"].tolist() == [[0, 7]]
    with pytest.raises(UnsupportedModel, match="wraps around"):
        Lowering(proto, other, 8, 8).run()


def test_casts_to_integers_are_exact_at_any_budget():
    proto = model("(float[1,4] x) => (int64[1,4] y) { y = Cast <to=7> (x) }")
    batch = {"x": np.array([[[0.0, 4999.0, -3.5, 17.0]], [[-4000.25, 1.5, 2.0, -0.5]]], dtype=np.float32)}
    lowered = Lowering(proto, batch, 6, 6).run().model
    assert execute(lowered, batch).outputs["y"].tolist() == [[[0, 4999, -3, 17]], [[-4000, 1, 2, 0]]]


def test_an_infinity_outside_a_softmax_mask_is_refused():
    proto = model("(float[1,4] x, bool[1,4] c) => (float[1,4] y) { y = Where (c, x, low) }", low=np.float32(-np.inf))
    with pytest.raises(UnsupportedModel, match="not finite"):
        Lowering(proto, {"x": normal(3, 1, 4), "c": np.ones((3, 1, 4), dtype=bool)}, 8, 8).run()


def test_lower_returns_the_model_alone():
    proto = model("(float[1,4] x) => (float[1,4] y) { y = Tanh (x) }")
    samples = {"x": normal(20, 1, 4)}
    assert lower(proto, samples).digest == calibrate(proto, samples).model.digest
