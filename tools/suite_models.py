# ruff: noqa: INP001 - a script of the repository
"""Makes the models and samples of the comparison suites: the same from the same seeds, but for the last bits of sums.

    python tools/suite_models.py

The classic models are trained here, on data sets that come with scikit-learn. The residual network and the LSTM keep
random features from a seed, and only their last layer is trained: their shape is what is compared, and their
answers still mean something. The MNIST networks were trained by Balance's authors and are not made again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CLASSIC = Path(__file__).resolve().parents[1] / "balance_core" / "compare" / "suites" / "classic"
SEED = 20
MOST_SAMPLES = 120
"""Held samples kept for each model."""


def keep(name: str, model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> None:
    """Write a model without what changes from one making to the next, and its samples."""
    onnx.checker.check_model(model)
    model.producer_name, model.producer_version, model.doc_string = "balance", "", ""
    (CLASSIC / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    np.savez_compressed(CLASSIC / f"{name}.npz", x=x[:MOST_SAMPLES].astype(np.float32), y=y[:MOST_SAMPLES])


def split(data: object) -> list[np.ndarray]:
    """Return training and held inputs, training and held answers of a data set, inputs standardised."""
    scaled = StandardScaler().fit_transform(data.data)  # type: ignore[attr-defined]  # scikit-learn's Bunch
    return train_test_split(scaled, data.target, test_size=0.33, random_state=SEED)  # type: ignore[attr-defined,no-any-return]


def fitted(name: str, estimator: object, data: object, options: Mapping[str, object] | None = None) -> None:
    """Train one of scikit-learn's own and keep it as ONNX."""
    train, held, train_y, held_y = split(data)
    estimator.fit(train, train_y)  # type: ignore[attr-defined]  # what all estimators have
    given = {id(estimator): options} if options else None
    rows = [("x", FloatTensorType([None, train.shape[1]]))]
    keep(name, convert_sklearn(estimator, name, rows, options=given, target_opset=15), held, held_y)


def digits() -> list[np.ndarray]:
    """Return training and held images of 8 x 8 grey values from 0 to 1, and the digits that they show."""
    found = load_digits()
    return train_test_split(found.images / 16.0, found.target, test_size=0.33, random_state=SEED)  # type: ignore[no-any-return]


def enlarged(images: np.ndarray) -> np.ndarray:
    """Return images of 8 x 8 as 28 x 28, flattened: each pixel thrice, with a border."""
    return np.pad(np.kron(images, np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2))).reshape(len(images), 784)


def network(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shape: tuple[int, ...]) -> onnx.ModelProto:
    """Return a model from `x` to ten scores `y`."""
    graph = helper.make_graph(
        nodes,
        "suite",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def readout(name: str, make: Callable[[dict[str, np.ndarray]], onnx.ModelProto], width: int, x: list[np.ndarray],
            y: list[np.ndarray]) -> None:  # fmt: skip
    """Train the last layer of a network on what its random layers give, and keep it."""
    import onnxruntime

    last = {"w": np.eye(width, 10), "b": np.zeros(10)}
    probe = make(last)
    features = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(probe)).extract_model(["x"], ["features"])
    session = onnxruntime.InferenceSession(features.SerializeToString())
    (seen,) = session.run(None, {"x": x[0].astype(np.float32)})
    trained = LogisticRegression(max_iter=5000, C=1.0).fit(seen, y[0])
    keep(name, make({"w": trained.coef_.T, "b": trained.intercept_}), x[1], y[1])


def perceptron() -> None:
    """Keep a 784-56-10 network, the shape of an older public comparison."""
    train, held, train_y, held_y = digits()
    trained = MLPClassifier((56,), random_state=SEED, max_iter=300).fit(enlarged(train), train_y)
    (w1, w2), (b1, b2) = trained.coefs_, trained.intercepts_
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    model = network(nodes, {"w1": w1, "b1": b1, "w2": w2, "b2": b2}, (784,))
    keep("mlp_784_56_10", model, enlarged(held), held_y)


def residual() -> None:
    """Keep a convolutional network with two residual blocks."""
    random = np.random.default_rng(SEED)
    channels, blocks = 8, 2
    weights = {"stem": random.normal(0, 0.4, (channels, 1, 3, 3))}
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["stemmed"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["stemmed"], ["block0"]),
    ]
    for block in range(blocks):
        for half in "ab":
            weights[f"w{block}{half}"] = random.normal(0, 0.6 / channels, (channels, channels, 3, 3))
        nodes += [
            helper.make_node("Conv", [f"block{block}", f"w{block}a"], [f"a{block}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"a{block}"], [f"r{block}"]),
            helper.make_node("Conv", [f"r{block}", f"w{block}b"], [f"b{block}"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", [f"block{block}", f"b{block}"], [f"s{block}"]),
            helper.make_node("Relu", [f"s{block}"], [f"block{block + 1}"]),
        ]
    nodes += [
        helper.make_node("AveragePool", [f"block{blocks}"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "w", "b"], ["y"]),
    ]
    train, held, train_y, held_y = digits()
    images = [train[:, None], held[:, None]]
    readout("residual", lambda last: network(nodes, {**weights, **last}, (1, 8, 8)), channels * 16, images,
            [train_y, held_y])  # fmt: skip


def recurrent() -> None:
    """Keep an LSTM that reads a digit row by row."""
    random = np.random.default_rng(SEED)
    hidden = 24
    weights = {
        "gates": random.normal(0, 0.5, (1, 4 * hidden, 8)),
        "state": random.normal(0, 0.5 / hidden**0.5, (1, 4 * hidden, hidden)),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["rows"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["rows", "gates", "state"], ["states"], hidden_size=hidden),
        helper.make_node("Squeeze", ["states", "axis"], ["steps"]),
        helper.make_node("Transpose", ["steps"], ["sample"], perm=[1, 0, 2]),
        helper.make_node("Flatten", ["sample"], ["features"]),
        helper.make_node("Gemm", ["features", "w", "b"], ["y"]),
    ]

    def make(last: dict[str, np.ndarray]) -> onnx.ModelProto:
        model = network(nodes, {**weights, **last}, (8, 8))
        model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
        return model

    train, held, train_y, held_y = digits()
    readout("lstm", make, 8 * hidden, [train, held], [train_y, held_y])


APPLICANTS = {
    "age": (18, 75), "income": (120, 900), "debt": (0, 200), "months_in_job": (0, 240), "home": (0, 3),
    "missed_payments": (0, 3), "utilisation": (0, 180), "bankrupt": (0, 0), "customer": (0, 1),
}  # fmt: skip
"""Between which steps the facts of usual applicants lie; the scorecard declares wider ranges."""


def applicants() -> None:
    """Draw applicants for the scorecard."""
    random = np.random.default_rng(SEED)
    drawn: dict[str, Any] = {
        fact: random.integers(least, most + 1, MOST_SAMPLES) for fact, (least, most) in APPLICANTS.items()
    }
    drawn["bankrupt"][::20] = 1
    np.savez_compressed(CLASSIC / "scorecard.npz", **drawn)


def main() -> None:
    """Make all of them."""
    CLASSIC.mkdir(parents=True, exist_ok=True)
    cancer = load_breast_cancer()
    scores = {"zipmap": False}
    fitted("linear_regression", LinearRegression(), load_diabetes())
    fitted("logistic_regression", LogisticRegression(max_iter=1000), cancer, scores)
    fitted("tree", DecisionTreeClassifier(max_depth=5, random_state=SEED), cancer, scores)
    fitted("forest", RandomForestClassifier(10, max_depth=5, random_state=SEED), cancer, scores)
    fitted("boosted_trees", GradientBoostingClassifier(n_estimators=10, random_state=SEED), cancer, scores)
    perceptron()
    residual()
    recurrent()
    applicants()


if __name__ == "__main__":
    main()
