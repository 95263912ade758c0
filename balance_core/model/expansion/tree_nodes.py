"""TreeEnsembleClassifier, TreeEnsembleRegressor and TreeEnsemble, answering as onnxruntime does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import UnsupportedModel
from balance_core.model.expansion import scores, trees
from balance_core.model.expansion.forest import Forest

if TYPE_CHECKING:
    from balance_core.model.expansion.build import Build


def classifier(build: Build) -> None:
    """TreeEnsembleClassifier, with integer labels."""
    labels = build.array("classlabels_int64s", np.int64)
    dtype = _comparison(build, trees.exact(build, "nodes_values"))
    found = trees.walk(trees.read_v3(build, "class", dtype))
    base = trees.exact(build, "base_values")
    if len(labels) < 2:
        raise UnsupportedModel(f"it has {len(labels)} classes")
    forest = Forest(build, found, dtype)
    (_two_classes if len(labels) == 2 else _classes)(forest, base, labels)


def _classes(forest: Forest, base: np.ndarray, labels: np.ndarray) -> None:
    """Three classes or more: the label is that of the largest score that the trees give."""
    build = forest.build
    if len(base) not in {0, len(labels)}:
        raise UnsupportedModel(f"it has {len(base)} base values for {len(labels)} classes")
    raw = forest.scores(len(labels), base)
    if build.output(0):
        everywhere = len(base) or all(forest.always(target) for target in range(len(labels)))
        eligible = raw if everywhere else forest.without_absent(raw, len(labels))
        scores.label_of_largest(build, eligible, labels, build.output(0))
    if build.output(1):
        scores.transform(build, raw, build.text("post_transform", "NONE"), build.output(1))


def _two_classes(forest: Forest, base: np.ndarray, labels: np.ndarray) -> None:
    """Two classes, in the cases in which onnxruntime's answer is what the scores mean.

    Scores for one class only are those of the positive class. Scores for both must come together in some tree.
    """
    build = forest.build
    weights = [weight for tree in forest.trees for leaf in tree.weights for weight in leaf]
    targets = {target for target, _ in weights}
    post_transform = build.text("post_transform", "NONE")
    threshold = 0.5 if all(weight >= 0 for _, weight in weights) else 0.0
    label, result = build.output(0), build.output(1)
    if len(base) > 1 or not targets or not targets <= {0, 1}:
        raise UnsupportedModel(f"it has two classes, {len(base)} base values, and scores for {sorted(targets)}")
    if targets == {0}:
        score = forest.scores(1, base)
        if label:
            scores.label_above(build, score, threshold, labels, label)
        if result:
            scores.complementary(build, score, post_transform, probability=threshold > 0, into=result)
        return
    both = targets == {0, 1}
    if not forest.always(1) or (both and not forest.always(0)):
        raise UnsupportedModel("it has two classes, and leaves that give a score to one of them only")
    raw = forest.scores(2, np.array([*(base if both else []), 0, 0][:2]))
    if label and both:
        # Here onnxruntime goes by the sign of the second score, and answers 1 or 0 whatever the labels are called.
        threshold, labels = 0.0, np.array([0, 1])
    if label:
        positive = build.add("Gather", raw, build.constant([1]), axis=1)
        scores.label_above(build, positive, threshold, labels, label)
    if result:
        scores.transform(build, raw, post_transform, result)


def regressor(build: Build) -> None:
    """TreeEnsembleRegressor."""
    dtype = _comparison(build, trees.exact(build, "nodes_values"))
    forest = Forest(build, trees.walk(trees.read_v3(build, "target", dtype)), dtype)
    _targets(forest, build.text("aggregate_function", "SUM"), build.text("post_transform", "NONE"))


def ensemble(build: Build) -> None:
    """TreeEnsemble of ai.onnx.ml 5, where settings are numbers."""
    dtype = _comparison(build, build.array("nodes_splits", None))
    transforms = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
    aggregates = ("AVERAGE", "SUM", "MIN", "MAX")
    how, post_transform = build.given.get("aggregate_function", 1), build.given.get("post_transform", 0)
    if how not in range(len(aggregates)) or post_transform not in range(len(transforms)):
        raise UnsupportedModel(f"it has the unknown aggregation {how} or transformation {post_transform}")
    forest = Forest(build, trees.walk(trees.read_v5(build, dtype)), dtype)
    _targets(forest, aggregates[how], transforms[post_transform])


def _targets(forest: Forest, how: str, post_transform: str) -> None:
    build = forest.build
    count = int(build.given.get("n_targets", 1))
    base = trees.exact(build, "base_values")
    if count < 1 or len(base) not in {0, count}:
        raise UnsupportedModel(f"it has {len(base)} base values for {count} targets")
    if count == 1 and post_transform != "NONE":
        raise UnsupportedModel(f"it transforms a single target by {post_transform}")
    scores.transform(build, forest.scores(count, base, how), post_transform, build.output(0))


def _comparison(build: Build, thresholds: np.ndarray) -> np.dtype:
    """Return the type in which features and thresholds are compared: double where either is, else float."""
    double = np.dtype(np.float64)
    return double if double in {build.dtype(build.node.input[0]), thresholds.dtype} else np.dtype(np.float32)
