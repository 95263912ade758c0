from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from balance_core.errors import UnsupportedModel
from balance_core.model import inputs, reference
from balance_core.model.expand import expand
from balance_core.model.load import load

if TYPE_CHECKING:
    from collections.abc import Callable

BODIES = {
    "Gelu": ("y = Gelu(x)", 20),
    "Gelu by tanh": ('y = Gelu<approximate = "tanh">(x)', 20),
    "Mish": ("y = Mish(x)", 18),
    "HardSwish": ("y = HardSwish(x)", 17),
    "Swish": ("y = Swish(x)", 24),
    "Celu": ("y = Celu<alpha: float = 2.0>(x)", 17),
    "LayerNormalization": ("y = LayerNormalization<axis: int = -1>(x, s, b)", 17),
    "LayerNormalization over all axes": ("y = LayerNormalization<axis: int = 1, epsilon: float = 0.01>(x, full)", 17),
    "RMSNormalization": ("y = RMSNormalization<axis: int = -1>(x, s)", 23),
    "GroupNormalization": ("y = GroupNormalization<num_groups: int = 2>(x, c, d)", 21),
    "InstanceNormalization": ("y = InstanceNormalization<epsilon: float = 0.01>(x, c, d)", 17),
    "InstanceNormalization of a later opset": ("y = InstanceNormalization(x, c, d)", 22),
    "MeanVarianceNormalization": ("y = MeanVarianceNormalization<axes = [0, 2]>(x)", 17),
}


@pytest.mark.parametrize("what", BODIES)
def test_operators_become_what_onnx_defines_them_by(
    parse: Callable[..., ModelProto], random: np.random.Generator, what: str
) -> None:
    body, opset = BODIES[what]
    weights = (
        "float[6] s = {1,2,-1,0.5,3,1}, float[6] b = {0,1,2,3,4,5}, float[4] c = {1,2,-3,4}, float[4] d = {4,3,2,1}"
    )
    proto = parse(f"(float[N,4,6] x) => (float[N,4,6] y) <{weights}> {{ {body} }}", opset)
    proto.graph.initializer.append(numpy_helper.from_array(random.normal(size=(4, 6)).astype(np.float32), "full"))
    model = load(proto)
    operator = what.split(maxsplit=1)[0]
    assert operator in model.operators
    expanded = expand(model.proto(), [operator, "NotInTheModel"])
    assert operator not in {node.op_type for node in expanded.graph.node}
    batch = {"x": random.normal(size=(16, 1, 4, 6)).astype(np.float32)}
    left, right = reference.run(model.onnx, batch)["y"], reference.run(expanded, batch)["y"]
    assert np.abs(left - right).max() <= 1e-5
    assert expand(expanded, [operator]).SerializeToString() == expanded.SerializeToString()


def test_a_model_that_needs_no_expansion_stays_as_it_is(parse: Callable[..., ModelProto]) -> None:
    proto = load(parse("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }")).proto()
    assert expand(proto, ["Gelu"]).SerializeToString() == proto.SerializeToString()


def test_every_node_that_cannot_be_expanded_is_named(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(float[N,4] x) => (float[N,4] y) { [one] a = Erf(x) [two] b = Tanh(a) [three] y = Erf(b) }")
    with pytest.raises(UnsupportedModel) as caught:
        expand(load(proto).proto(), ["Erf"])
    assert [issue.node for issue in caught.value.issues] == ["one", "three"]


def test_new_nodes_are_called_after_the_one_they_replace(parse: Callable[..., ModelProto]) -> None:
    text = """(float[N,4] x) => (float[N,4] y) {
        [scaling] y = ai.onnx.ml.Scaler<offset = [1.0], scale = [2.0, 3.0, 4.0, 5.0]>(x)
    }"""
    expanded = expand(load(parse(text)).proto(), ["ai.onnx.ml::Scaler"])
    assert [node.name for node in expanded.graph.node] == ["scaling/Sub", "scaling/Mul"]


STEPS = {
    "Scaler": (
        "float",
        "float[N,4] y",
        "y = ai.onnx.ml.Scaler<offset = [1.0, 2.0, -3.0, 0.5], scale = [2.0, 1.0, 0.5, 4.0]>(x)",
    ),
    "Scaler of integers": ("int64", "float[N,4] y", "y = ai.onnx.ml.Scaler<offset = [1.0], scale = [2.5]>(x)"),
    "Normalizer MAX": ("float", "float[N,4] y", 'y = ai.onnx.ml.Normalizer<norm = "MAX">(x)'),
    "Normalizer L1": ("float", "float[N,4] y", 'y = ai.onnx.ml.Normalizer<norm = "L1">(x)'),
    "Normalizer L2": ("float", "float[N,4] y", 'y = ai.onnx.ml.Normalizer<norm = "L2">(x)'),
    "Normalizer of integers": ("int64", "float[N,4] y", 'y = ai.onnx.ml.Normalizer<norm = "L1">(x)'),
    "Binarizer": ("float", "float[N,4] y", "y = ai.onnx.ml.Binarizer<threshold: float = 0.5>(x)"),
    "ArrayFeatureExtractor": ("float", "float[N,2] y", "y = ai.onnx.ml.ArrayFeatureExtractor(x, i)"),
    "LinearRegressor": (
        "float",
        "float[N,2] y",
        """y = ai.onnx.ml.LinearRegressor<coefficients = [1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 0.0, 2.0],
                                          intercepts = [0.5, -0.5], targets: int = 2>(x)""",
    ),
}


@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize("what", STEPS)
def test_steps_of_a_pipeline_become_plain_operations(
    parse: Callable[..., ModelProto], random: np.random.Generator, what: str, opset: int
) -> None:
    element, output, body = STEPS[what]
    proto = parse(f"({element}[N,4] x) => ({output}) <int64[2] i = {{2, 0}}> {{ {body} }}", opset)
    model = load(proto)
    expanded = expand(model.proto(), model.operators)
    assert all(not node.domain for node in expanded.graph.node)
    array = random.normal(size=(32, 1, 4)) if element == "float" else random.integers(-3, 4, (32, 1, 4))
    array[:3] = [[[0, 0, 0, 0]], [[0, -1, 0, -2]], [[0.5, 0.5, 0, 1]]]
    batch = {"x": array.astype(np.float32 if element == "float" else np.int64)}
    assert reference.largest_difference(proto, expanded, batch) <= 1e-5


@pytest.mark.parametrize("post_transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64])
def test_linear_classifiers(random: np.random.Generator, post_transform: str, classes: int, element: int) -> None:
    rows = 1 if classes == 2 else classes
    for scores in {rows, classes}:
        node = helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", post_transform=post_transform,
            coefficients=[float(c) for c in random.integers(-3, 4, scores * 4)], intercepts=[0.0, 1.0, 0.0][:scores],
            classlabels_ints=[5, 2, 9][:classes],
        )  # fmt: skip
        outputs = [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", classes]),
        ]
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", element, ["N", 4])], outputs)
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        proto = helper.make_model(graph, opset_imports=imports, ir_version=8)
        expanded = expand(load(proto).proto(), ["ai.onnx.ml::LinearClassifier"])
        x = random.integers(-1, 2, (64, 1, 4)).astype(helper.tensor_dtype_to_np_dtype(element))  # with many ties
        assert reference.largest_difference(proto, expanded, {"x": x}) <= 1e-5


def test_linear_models_that_do_not_fit_are_refused(parse: Callable[..., ModelProto]) -> None:
    text = """(float[N,4] x) => (float[N,1] y) {
        y = ai.onnx.ml.LinearRegressor<coefficients = [1.0, 2.0, 3.0], intercepts = [0.5]>(x)
    }"""
    with pytest.raises(UnsupportedModel, match="3 coefficients for 4 features"):
        expand(load(parse(text)).proto(), ["ai.onnx.ml::LinearRegressor"])


# --- what scikit-learn's users have -------------------------------------------------------------------------------


def estimators() -> dict[str, tuple[Any, str]]:
    from sklearn import ensemble, linear_model, neural_network, preprocessing, tree
    from sklearn.pipeline import make_pipeline

    return {
        "tree": (tree.DecisionTreeClassifier(max_depth=4), "iris"),
        "tree of two classes": (tree.DecisionTreeClassifier(max_depth=4), "cancer"),
        "tree with names": (tree.DecisionTreeClassifier(max_depth=3), "names"),
        "tree regression": (tree.DecisionTreeRegressor(max_depth=4), "diabetes"),
        "forest": (ensemble.RandomForestClassifier(5, max_depth=4), "iris"),
        "forest of two classes": (ensemble.RandomForestClassifier(5, max_depth=4), "cancer"),
        "forest with names": (ensemble.RandomForestClassifier(4, max_depth=3), "names"),
        "forest regression": (ensemble.RandomForestRegressor(4, max_depth=4), "diabetes"),
        "extra trees": (ensemble.ExtraTreesClassifier(4, max_depth=4), "iris"),
        "boosting": (ensemble.GradientBoostingClassifier(n_estimators=3), "iris"),
        "boosting of two classes": (ensemble.GradientBoostingClassifier(n_estimators=4), "cancer"),
        "boosting regression": (ensemble.GradientBoostingRegressor(n_estimators=4), "diabetes"),
        "logistic regression": (linear_model.LogisticRegression(max_iter=100), "iris"),
        "logistic regression of two classes": (linear_model.LogisticRegression(max_iter=100), "cancer"),
        "logistic regression with names": (linear_model.LogisticRegression(max_iter=100), "names"),
        "linear regression": (linear_model.LinearRegression(), "diabetes"),
        "network": (neural_network.MLPClassifier((6,), max_iter=2000, tol=0.01), "names"),
        "pipeline": (
            make_pipeline(
                preprocessing.StandardScaler(), preprocessing.Normalizer(), linear_model.LogisticRegression()
            ),
            "iris",
        ),
        "pipeline of a forest": (
            make_pipeline(preprocessing.Normalizer("l1"), ensemble.RandomForestClassifier(3, max_depth=3)),
            "names",
        ),
        "pipeline of features in range": (
            make_pipeline(
                preprocessing.MinMaxScaler(), preprocessing.Normalizer("max"), tree.DecisionTreeClassifier()
            ),
            "iris",
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    from sklearn import datasets

    iris = datasets.load_iris(return_X_y=True)
    return {
        "cancer": datasets.load_breast_cancer(return_X_y=True),
        "diabetes": datasets.load_diabetes(return_X_y=True),
        "iris": iris,
        "names": (iris[0], np.array(["setosa", "versicolor", "virginica"])[iris[1]]),
    }


@pytest.mark.parametrize(
    ("what", "zipmap"),
    [
        (what, zipmap)
        for what, (_, name) in estimators().items()
        for zipmap in (False, True)[: 2 - (name == "diabetes")]
    ],
)
def test_models_of_scikit_learn_answer_as_before(
    data: dict[str, tuple[np.ndarray, np.ndarray]], what: str, *, zipmap: bool
) -> None:
    from skl2onnx import to_onnx

    estimator, name = estimators()[what]
    x, y = data[name]
    estimator.set_params(**{key: 0 for key in estimator.get_params() if key.endswith("random_state")})
    classifies = name != "diabetes"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge
        estimator.fit(x, y)
        proto = to_onnx(
            estimator,
            x[:1].astype(np.float32),
            options={"zipmap": zipmap} if classifies else None,
            target_opset={"": 17, "ai.onnx.ml": 3},
        )
    model = load(proto)
    batch = inputs.as_batch(x[::3].astype(np.float32), model.inputs)
    expanded = expand(model.proto(), [operator for operator in model.operators if "::" in operator])
    assert all(not node.domain for node in expanded.graph.node)
    scale = 1.0 if classifies else float(np.abs(y).max())
    for form in (model.onnx, expanded):
        assert reference.largest_difference(proto, form, batch) <= 1e-5 * scale
    if name == "names":
        assert list(reference.labels(expanded).values()) == [("setosa", "versicolor", "virginica")]
        predicted = estimator.predict(x[::3].astype(np.float32))
        found = reference.run(expanded, batch)[model.outputs[0].name].ravel()
        assert np.mean(np.array(["setosa", "versicolor", "virginica"])[found] == predicted) > 0.98
