from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from balance_core.errors import UnsupportedModel
from balance_core.model import reference
from balance_core.model.expand import expand
from balance_core.model.load import load

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
FEATURES = 3
ML = "ai.onnx.ml"


class Trees:
    """Random trees over features that take few values, so that many comparisons are ties."""

    def __init__(self, random: np.random.Generator, modes: Sequence[str] = ("BRANCH_LEQ",)) -> None:
        self.random = random
        self.modes = modes
        self.columns: dict[str, list[Any]] = {
            key: [] for key in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
        }
        self.leaves: list[tuple[int, int]] = []

    def grow(self, tree: int, depth: int) -> None:
        """Add a tree in which every node is an inner one down to a random depth."""
        self._node(tree, depth, is_root=True)

    def _node(self, tree: int, depth: int, *, is_root: bool = False) -> int:
        """Add a node and all below it, and return its number in the tree."""
        place = len(self.columns["treeids"])
        number = self.columns["treeids"].count(tree)
        inner = depth > 0 and (is_root or self.random.random() < 0.8)
        row = {
            "treeids": tree,
            "nodeids": number,
            "featureids": int(self.random.integers(FEATURES)) if inner else 0,
            "modes": str(self.random.choice(self.modes)) if inner else "LEAF",
            "values": float(self.random.integers(-2, 3)) / 2 if inner else 0.0,
            "truenodeids": 0,
            "falsenodeids": 0,
        }
        for key, value in row.items():
            self.columns[key].append(value)
        if inner:
            self.columns["truenodeids"][place] = self._node(tree, depth - 1)
            self.columns["falsenodeids"][place] = self._node(tree, depth - 1)
        else:
            self.leaves.append((tree, number))
        return number

    def attributes(self, prefix: str, weights: dict[tuple[int, int], list[tuple[int, float]]]) -> dict[str, Any]:
        given: dict[str, Any] = {f"nodes_{key}": value for key, value in self.columns.items()}
        rows = [(tree, node, target, weight) for (tree, node), found in weights.items() for target, weight in found]
        for key, column in zip(("treeids", "nodeids", "ids", "weights"), zip(*rows, strict=True), strict=True):
            given[f"{prefix}_{key}"] = list(column)
        return given


def forest(random: np.random.Generator, count: int, modes: Sequence[str] = ("BRANCH_LEQ",), depth: int = 4) -> Trees:
    trees = Trees(random, modes)
    for tree in range(count):
        trees.grow(tree, depth)
    return trees


def model(
    operator: str, outputs: list[Any], given: dict[str, Any], element: int = TensorProto.FLOAT, ml: int = 3
) -> ModelProto:
    node = helper.make_node(operator, ["x"], [output.name for output in outputs], domain=ML, **given)
    x = helper.make_tensor_value_info("x", element, ["N", FEATURES])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(ML, ml)]
    return helper.make_model(helper.make_graph([node], "g", [x], outputs), opset_imports=imports, ir_version=8)


def classifier(given: dict[str, Any], classes: int, element: int = TensorProto.FLOAT) -> ModelProto:
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", classes])
    given.setdefault("classlabels_int64s", list(range(classes)))
    return model("TreeEnsembleClassifier", [label, scores], given, element)


def regressor(given: dict[str, Any], targets: int, element: int = TensorProto.FLOAT) -> ModelProto:
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", targets])
    return model("TreeEnsembleRegressor", [scores], {"n_targets": targets, **given}, element)


def grid(dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Every combination of values at, just below and just above the thresholds that Trees draws."""
    at = np.arange(-2, 3).astype(dtype) / 2 if np.dtype(dtype).kind == "f" else np.arange(-2, 3).astype(dtype)
    if np.dtype(dtype).kind == "f":
        at = np.concatenate([at, np.nextafter(at, dtype(-9)), np.nextafter(at, dtype(9))])[::2]
    points = np.stack(np.meshgrid(*[at] * FEATURES), axis=-1).reshape(-1, 1, FEATURES)
    return {"x": points.astype(dtype)}


def check(proto: ModelProto, batch: dict[str, np.ndarray] | None = None, tolerance: float = 1e-5) -> ModelProto:
    loaded = load(proto)
    expanded = expand(loaded.proto(), loaded.operators)
    assert all(not node.domain for node in expanded.graph.node)
    batch = batch or grid()
    left, right = reference.run(proto, batch), reference.run(expanded, batch)
    for name, answers in left.items():
        if answers.dtype.kind == "i":
            assert (answers == right[name]).all(), name
        else:
            assert np.abs(answers - right[name]).max() <= tolerance, name
    return expanded


def weights_for(
    trees: Trees, random: np.random.Generator, targets: Sequence[int], *, positive: bool = True, sparse: bool = False
) -> dict[tuple[int, int], list[tuple[int, float]]]:
    """Return weights for the leaves, exact in binary, so that equal scores are equal in any order of summing."""
    result = {}
    for leaf in trees.leaves:
        chosen = [t for t in targets if not sparse or random.random() < 0.5] or [targets[0]]
        low = 1 if positive else -8
        result[leaf] = [(target, float(random.integers(low, 9)) / 8) for target in chosen]
    return result


@pytest.mark.parametrize("mode", [*MODES, "mixed"])
@pytest.mark.parametrize("count", [1, 4])
def test_ties_go_the_way_of_onnxruntime(random: np.random.Generator, mode: str, count: int) -> None:
    trees = forest(random, count, MODES if mode == "mixed" else [mode])
    given = trees.attributes("class", weights_for(trees, random, range(3)))
    check(classifier(given, 3))


@pytest.mark.parametrize("post_transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("base", [None, [0.5, -0.25, 0.125]])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("sparse", [False, True])
def test_scores_of_three_classes(
    random: np.random.Generator, post_transform: str, base: list[float] | None, *, positive: bool, sparse: bool
) -> None:
    trees = forest(random, 3)
    weights = weights_for(trees, random, range(3), positive=positive, sparse=sparse)
    given = {**trees.attributes("class", weights), "post_transform": post_transform, "classlabels_int64s": [7, -3, 5]}
    if base:
        given["base_values"] = base
    check(classifier(given, 3))


@pytest.mark.parametrize("post_transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("base", [None, [0.25]])
@pytest.mark.parametrize("targets", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("positive", [True, False])
def test_scores_of_two_classes(
    random: np.random.Generator,
    post_transform: str,
    base: list[float] | None,
    targets: tuple[int, ...],
    *,
    positive: bool,
) -> None:
    trees = forest(random, 2)
    weights = weights_for(trees, random, targets, positive=positive)
    if positive:
        weights = {leaf: [(target, weight / 2) for target, weight in found] for leaf, found in weights.items()}
    given = {**trees.attributes("class", weights), "post_transform": post_transform, "classlabels_int64s": [4, 9]}
    if base:
        given["base_values"] = base
    check(classifier(given, 2))


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("base", [False, True])
def test_regressors(random: np.random.Generator, aggregate: str, targets: int, *, base: bool) -> None:
    trees = forest(random, 3, MODES)
    given = trees.attributes("target", weights_for(trees, random, range(targets), positive=False))
    given["aggregate_function"] = aggregate
    if base:
        given["base_values"] = [0.5, -1.5][:targets]
    check(regressor(given, targets))


@pytest.mark.parametrize(("dtype", "element"), [(np.float64, 11), (np.int64, 7), (np.int32, 6)])
def test_other_types_of_input_are_compared_as_onnxruntime_does(
    random: np.random.Generator, dtype: type[np.generic], element: int
) -> None:
    trees = forest(random, 2, MODES)
    given = trees.attributes("class", weights_for(trees, random, range(3)))
    check(classifier(given, 3, element), grid(dtype))


def test_a_tree_that_is_one_leaf_beside_another_tree(random: np.random.Generator) -> None:
    trees = Trees(random)
    trees.grow(0, 0)
    trees.grow(1, 3)
    check(regressor(trees.attributes("target", weights_for(trees, random, [0])), 1))


def v5(given: dict[str, Any], targets: int, dtype: Any = np.float32) -> ModelProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    scores = helper.make_tensor_value_info("scores", element, ["N", targets])
    return model("TreeEnsemble", [scores], {"n_targets": targets, **given}, element, ml=5)


@pytest.mark.parametrize("aggregate", range(4))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tree_ensembles_of_the_fifth_generation(aggregate: int, dtype: Any) -> None:
    given = {
        "nodes_featureids": [0, 1, 2, 0],
        "nodes_modes": numpy_helper.from_array(np.array([0, 4, 3, 6], np.uint8)),
        "nodes_splits": numpy_helper.from_array(np.array([0.0, 0.5, -0.5, 0.0], dtype)),
        "nodes_truenodeids": [1, 0, 2, 4],
        "nodes_trueleafs": [0, 1, 1, 1],
        "nodes_falsenodeids": [2, 1, 3, 5],
        "nodes_falseleafs": [0, 1, 1, 1],
        "tree_roots": [0, 3],
        "membership_values": numpy_helper.from_array(np.array([0, -1, 1], dtype)),
        "leaf_targetids": [0, 0, 0, 0, 0, 0],
        "leaf_weights": numpy_helper.from_array(np.array([1, 2, 4, 8, 16, 32], dtype)),
        "aggregate_function": aggregate,
    }
    batch = grid(dtype)
    batch["x"][..., 0] = np.round(batch["x"][..., 0])  # onnxruntime takes fractions for members
    check(v5(given, 1, dtype), batch)


BROKEN = {
    "a cycle": ("cycle", {"nodes_truenodeids": [0, 0, 0]}),
    "a node that is not there": ("does not have", {"nodes_truenodeids": [7, 0, 0]}),
    "two nodes of one number": ("one number", {"nodes_nodeids": [0, 1, 1]}),
    "lists of different lengths": ("differ in length", {"nodes_values": [0.0]}),
    "a feature that is not there": ("feature 9 of 3", {"nodes_featureids": [9, 0, 0]}),
    "a negative feature": ("feature -1 of 3", {"nodes_featureids": [-1, 0, 0]}),
    "a threshold that is no number": ("compares with nan", {"nodes_values": [float("nan"), 0.0, 0.0]}),
    "an unknown comparison": ("compares by BRANCH_ODD", {"nodes_modes": ["BRANCH_ODD", "LEAF", "LEAF"]}),
    "a target that is not there": ("target 5 of 1", {"target_ids": [5, 0]}),
    "a weight on no leaf": ("no leaf", {"target_nodeids": [0, 1]}),
    "an unknown transformation": ("PROBIT", {"post_transform": "PROBIT"}),
    "an unknown aggregation": ("aggregates by ODD", {"aggregate_function": "ODD"}),
    "base values of another count": ("base values", {"base_values": [1.0, 2.0]}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_trees_are_refused_with_the_node_s_name(what: str) -> None:
    words, spoilt = BROKEN[what]
    given: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_values": [0.0, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [1.0, 2.0],
    } | spoilt
    loaded = load(regressor(given, 1))
    with pytest.raises(UnsupportedModel, match=words) as caught:
        expand(loaded.proto(), loaded.operators)
    assert caught.value.issues[0].operator == "ai.onnx.ml::TreeEnsembleRegressor"
    assert caught.value.issues[0].node


def test_answers_of_onnxruntime_that_mean_nothing_are_refused(random: np.random.Generator) -> None:
    trees = forest(random, 1)
    both = weights_for(trees, random, [0, 1])
    one_each = {leaf: [(place % 2, 1.0)] for place, leaf in enumerate(trees.leaves)}
    cases = [
        {**trees.attributes("class", both), "base_values": [0.1, 0.2]},
        trees.attributes("class", one_each),
        {**trees.attributes("class", both), "classlabels_int64s": [1]},
    ]
    for given in cases:
        loaded = load(classifier(given, len(given.get("classlabels_int64s", (0, 1)))))
        with pytest.raises(UnsupportedModel, match=r"two classes|1 classes"):
            expand(loaded.proto(), loaded.operators)


def test_a_tree_too_deep_is_refused_in_time() -> None:
    count = 40_000  # a tree that is a chain
    inner = count // 2
    given = {
        "nodes_treeids": [0] * count,
        "nodes_nodeids": list(range(count)),
        "nodes_featureids": [0] * count,
        "nodes_modes": ["BRANCH_LEQ"] * inner + ["LEAF"] * inner,
        "nodes_values": [0.0] * count,
        "nodes_truenodeids": [*range(inner, count), *[0] * inner],
        "nodes_falsenodeids": [*range(1, inner), count - 1, *[0] * inner],
        "target_treeids": [0],
        "target_nodeids": [count - 1],
        "target_ids": [0],
        "target_weights": [1.0],
    }
    loaded = load(regressor(given, 1))
    with pytest.raises(UnsupportedModel, match="deeper than 512"):
        expand(loaded.proto(), loaded.operators)
