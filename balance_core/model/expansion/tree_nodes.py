"""Tree ensembles as matrix products: all comparisons at once, then which leaf of each tree is reached.

With c the answers (0 or 1) of the splits of one tree and P[s, l] = +1 where the way to leaf l takes the yes of split
s, -1 where it takes the no, and 0 where it does not pass, the sum over s of c[s] P[s, l] is at most the number of
yeses on that way, Y[l], and equal to it exactly where leaf l is reached. So relu(c P - (Y - 1)) is 1 there and 0
elsewhere, without rounding, and the scores are its product with the leaves' weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from balance_core.errors import UnsupportedModel
from balance_core.model.expansion import scores, trees

if TYPE_CHECKING:
    from balance_core.model.expansion.build import Build
    from balance_core.model.expansion.trees import Nodes, Tree

MAX_PATH_ELEMENTS = 2**26
"""Largest matrix of the ways to all leaves."""


def classifier(build: Build) -> None:
    """TreeEnsembleClassifier, with the label that onnxruntime gives."""
    labels = build.array("classlabels_int64s", np.int64)
    element, dtype = _comparison(build, "nodes_values")
    found = trees.walk(trees.read_v3(build, "class", dtype))
    base = trees.exact(build, "base_values")
    if len(labels) == 2:
        _two_classes(build, found, base, labels, element)
    elif len(labels) > 2:
        _classes(build, found, base, labels, element)
    else:
        raise UnsupportedModel(f"it has {len(labels)} classes")


def _classes(build: Build, found: list[Tree], base: np.ndarray, labels: np.ndarray, element: int) -> None:
    """Three classes or more: the label is that of the largest score."""
    reached = _reached(build, found, element)
    raw = _aggregated(build, reached, found, len(labels), base)
    if build.output(0):
        eligible = raw
        if not len(base) and not all(_always(found, target) for target in range(len(labels))):
            eligible = _without_absent(build, reached, raw, found, len(labels))
        scores.label_of_largest(build, eligible, labels, build.output(0))
    if build.output(1):
        scores.transform(build, raw, build.text("post_transform", "NONE"), build.output(1))


def _two_classes(build: Build, found: list[Tree], base: np.ndarray, labels: np.ndarray, element: int) -> None:
    """Two classes, in the cases in which onnxruntime's answer is what the scores mean.

    Weights for one class only are those of the positive class. Weights for both must come together in each leaf.
    """
    weights = [weight for tree in found for leaf in tree.weights for weight in leaf]
    targets = {target for target, _ in weights}
    post_transform = build.text("post_transform", "NONE")
    threshold = 0.5 if all(weight >= 0 for _, weight in weights) else 0.0
    if len(base) > 1 or not targets <= {0, 1}:
        raise UnsupportedModel("it has two classes, and a base value for each")
    reached = _reached(build, found, element)
    if targets == {0}:
        score = _aggregated(build, reached, found, 1, base)
        if build.output(0):
            scores.label_above(build, score, threshold, labels, build.output(0))
        if build.output(1):
            scores.complementary(build, score, post_transform, probability=threshold > 0, into=build.output(1))
        return
    both = targets == {0, 1}
    if both and not (_always(found, 0) and _always(found, 1)):
        raise UnsupportedModel("it has two classes, and leaves that give a score to one of them only")
    bases = np.array([base[0] if both and len(base) else 0, 0], dtype=np.float32)
    raw = _aggregated(build, reached, found, 2, bases)
    if build.output(0):
        positive = build.add("Gather", raw, build.constant([1]), axis=1)
        # Where both classes have scores, onnxruntime answers 1 or 0 whatever the labels are called, and by the sign.
        scores.label_above(
            build, positive, 0.0 if both else threshold, np.array([0, 1]) if both else labels, build.output(0)
        )
    if build.output(1):
        scores.transform(build, raw, post_transform, build.output(1))


def regressor(build: Build) -> None:
    """TreeEnsembleRegressor."""
    element, dtype = _comparison(build, "nodes_values")
    found = trees.walk(trees.read_v3(build, "target", dtype))
    count = int(build.given.get("n_targets", 1))
    how = build.text("aggregate_function", "SUM")
    _targets(build, found, element, count, how, build.text("post_transform", "NONE"))


def ensemble(build: Build) -> None:
    """TreeEnsemble of ai.onnx.ml 5, where settings are numbers."""
    element, dtype = _comparison(build, "nodes_splits")
    found = trees.walk(trees.read_v5(build, dtype))
    transforms = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
    aggregates = ("AVERAGE", "SUM", "MIN", "MAX")
    how, post_transform = build.given.get("aggregate_function", 1), build.given.get("post_transform", 0)
    if how not in range(4) or post_transform not in range(5):
        raise UnsupportedModel(f"it has the unknown aggregation {how} or transformation {post_transform}")
    count = int(build.given.get("n_targets", 1))
    _targets(build, found, element, count, aggregates[how], transforms[post_transform])


def _targets(build: Build, found: list[Tree], element: int, count: int, how: str, post_transform: str) -> None:
    if count == 1 and post_transform != "NONE":
        raise UnsupportedModel(f"it transforms a single target by {post_transform}")
    base = trees.exact(build, "base_values")
    if len(base) not in {0, count}:
        raise UnsupportedModel(f"it has {len(base)} base values for {count} targets")
    raw = _aggregated(build, _reached(build, found, element), found, count, base, how)
    scores.transform(build, raw, post_transform, build.output(0))


def _comparison(build: Build, thresholds: str) -> tuple[int, np.dtype]:
    """Return the type in which features and thresholds are compared: double where either is, else float."""
    double = np.dtype(np.float64)
    given = trees.exact(build, thresholds) if thresholds == "nodes_values" else build.array(thresholds, None)
    if double in {build.dtype(build.node.input[0]), given.dtype}:
        return TensorProto.DOUBLE, double
    return TensorProto.FLOAT, np.dtype(np.float32)


def _always(found: list[Tree], target: int) -> bool:
    """Return whether every sample is given a score for the target, by one tree at least."""
    return any(all(target in dict(leaf) for leaf in tree.weights) for tree in found)


def _reached(build: Build, found: list[Tree], element: int) -> str:
    """Return which leaves are reached, as 0 and 1, of shape (rows, trees * leaves): trees are padded to one size."""
    x, rows, features = build.matrix(element)
    splits = max(1, *(len(tree.splits) for tree in found))
    leaves = max(len(tree.paths) for tree in found)
    count = len(found)
    if count * splits * leaves > MAX_PATH_ELEMENTS:
        raise UnsupportedModel(f"its {count} trees of up to {splits} nodes are too large for matrices")
    chosen = np.zeros((count, splits), dtype=np.int64)
    thresholds = np.zeros((count, splits), dtype=np.float64)
    equal = np.zeros((count, splits), dtype=np.bool_)
    ways = np.zeros((count, splits, leaves), dtype=np.float32)
    before = np.zeros((count, 1, leaves), dtype=np.float32)  # Y - 1; 0 keeps the padding unreached
    for number, tree in enumerate(found):
        for place, split in enumerate(tree.splits):
            if not 0 <= split.feature < features:
                raise UnsupportedModel(f"it asks for feature {split.feature} of {features}")
            chosen[number, place], thresholds[number, place] = split.feature, split.threshold
            equal[number, place] = split.equal
        for leaf, path in enumerate(tree.paths):
            for place, answer in path.items():
                ways[number, place, leaf] = 1 if answer else -1
            before[number, 0, leaf] = sum(path.values()) - 1
    answers = _answers(build, x, chosen.ravel(), thresholds.ravel(), equal.ravel(), element)
    if count == 1:
        met = build.add("MatMul", answers, build.floats(ways[0]))
        return build.add("Relu", build.add("Sub", met, build.floats(before[0])))
    answers = build.add("Reshape", answers, build.constant([rows, count, 1, splits]))
    met = build.add("Sub", build.add("MatMul", answers, build.floats(ways)), build.floats(before))
    return build.add("Reshape", build.add("Relu", met), build.constant([rows, count * leaves]))


def _answers(
    build: Build, x: str, chosen: np.ndarray, thresholds: np.ndarray, equal: np.ndarray, element: int
) -> str:
    """Return the answer of every split as 0 or 1, of shape (rows, splits)."""
    parts = []
    order = []
    for operator, places in (("LessOrEqual", np.flatnonzero(~equal)), ("Equal", np.flatnonzero(equal))):
        if len(places):
            values = build.add("Gather", x, build.constant(chosen[places]), axis=1)
            limits = thresholds[places].astype(np.float64 if element == TensorProto.DOUBLE else np.float32)
            answer = build.add(operator, values, build.constant(limits))
            parts.append(build.add("Cast", answer, to=TensorProto.FLOAT))
            order.append(places)
    if len(parts) == 1:
        return parts[0]
    back = np.argsort(np.concatenate(order))
    return build.add("Gather", build.add("Concat", *parts, axis=1), build.constant(back), axis=1)


def _weights(found: list[Tree], count: int) -> np.ndarray:
    """Return the leaves' weights, shape (trees, leaves, count), padded with 0."""
    leaves = max(len(tree.paths) for tree in found)
    weights = np.zeros((len(found), leaves, count), dtype=np.float32)
    for number, tree in enumerate(found):
        for leaf, given in enumerate(tree.weights):
            for target, weight in given:
                if not 0 <= target < count:
                    raise UnsupportedModel(f"it gives a score to target {target} of {count}")
                weights[number, leaf, target] += np.float32(weight)
    return weights


def _aggregated(build: Build, reached: str, found: list[Tree], count: int, base: np.ndarray, how: str = "SUM") -> str:
    """Return the scores before any transformation, shape (rows, count)."""
    weights = _weights(found, count)
    trees_, leaves, _ = weights.shape
    match how:
        case "SUM" | "AVERAGE":
            raw = build.add("MatMul", reached, build.floats(weights.reshape(-1, count)))
            if how == "AVERAGE":
                raw = build.add("Div", raw, build.floats(trees_))
        case "MIN" | "MAX":
            if not all(_always([tree], target) for tree in found for target in range(count)):
                raise UnsupportedModel(f"it takes the {how} of scores that not every tree gives")
            rows = build.shape(build.node.input[0])
            apart = build.add(
                "Reshape", reached, build.constant([rows[0] if len(rows) == 2 else 1, trees_, 1, leaves])
            )
            each = build.add("MatMul", apart, build.floats(weights))
            raw = build.reduce(f"Reduce{how.capitalize()}", each, [1, 2])
        case _:
            raise UnsupportedModel(f"it aggregates by {how}")
    if base.any():
        raw = build.add("Add", raw, build.floats(base))
    return raw


def _without_absent(build: Build, reached: str, raw: str, found: list[Tree], count: int) -> str:
    """Return the scores, lowered below all others for the classes that no reached leaf gives a score to."""
    given = np.zeros_like(_weights(found, count))
    for number, tree in enumerate(found):
        for leaf, weights in enumerate(tree.weights):
            for target, _ in weights:
                given[number, leaf, target] = 1
    largest = sum(max((abs(w) for leaf in tree.weights for _, w in leaf), default=0.0) for tree in found)
    present = build.add("MatMul", reached, build.floats(given.reshape(-1, count)))
    absent = build.add("Cast", build.add("Equal", present, build.floats(0)), to=TensorProto.FLOAT)
    return build.add("Sub", raw, build.add("Mul", absent, build.floats(2 * largest + 1)))
