"""The trees of one node as matrix products: all comparisons at once, then which leaf of each tree is reached.

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

if TYPE_CHECKING:
    from balance_core.model.expansion.build import Build
    from balance_core.model.expansion.trees import Tree

MAX_PATH_ELEMENTS = 2**26
"""Largest matrix of the ways to all leaves."""


class Forest:
    """Trees padded to one size: `reached` says of each leaf whether it is reached, shape (rows, trees * leaves)."""

    def __init__(self, build: Build, trees: list[Tree], dtype: np.dtype) -> None:
        """Write the comparisons, in `dtype`; raises UnsupportedModel for trees too large and features not there."""
        self.build = build
        self.trees = trees
        self.leaves = max(len(tree.paths) for tree in trees)
        self._splits = max(1, *(len(tree.splits) for tree in trees))
        if len(trees) * self._splits * self.leaves > MAX_PATH_ELEMENTS:
            raise UnsupportedModel(f"its {len(trees)} trees of up to {self._splits} nodes are too large for matrices")
        element = TensorProto.DOUBLE if dtype == np.float64 else TensorProto.FLOAT
        x, self.rows, self._features = build.matrix(element)
        self.reached = self._reached(self._answers(x, dtype))

    def always(self, target: int) -> bool:
        """Return whether every sample is given a score for the target, by one tree at least."""
        return any(_always(tree, target) for tree in self.trees)

    def scores(self, count: int, base: np.ndarray, how: str = "SUM") -> str:
        """Write the scores of each class or target before any transformation, shape (rows, count)."""
        build, weights = self.build, self._weights(count)
        match how:
            case "SUM" | "AVERAGE":
                raw = build.add("MatMul", self.reached, build.floats(weights.reshape(-1, count)))
                if how == "AVERAGE":
                    raw = build.add("Div", raw, build.floats(len(self.trees)))
            case "MIN" | "MAX":
                if not all(_always(tree, target) for tree in self.trees for target in range(count)):
                    raise UnsupportedModel(f"it takes the {how} of scores that not every tree gives")
                apart = build.constant([self.rows, len(self.trees), 1, self.leaves])
                each = build.add("MatMul", build.add("Reshape", self.reached, apart), build.floats(weights))
                raw = build.reduce(f"Reduce{how.capitalize()}", each, [1, 2])
            case _:
                raise UnsupportedModel(f"it aggregates by {how}")
        return build.add("Add", raw, build.floats(base)) if base.any() else raw

    def without_absent(self, raw: str, count: int) -> str:
        """Write the scores, lowered below all others for the classes that no reached leaf gives a score to."""
        build = self.build
        given = np.zeros((len(self.trees), self.leaves, count), dtype=np.float32)
        for number, tree in enumerate(self.trees):
            for leaf, weights in enumerate(tree.weights):
                for target, _ in weights:
                    given[number, leaf, target] = 1
        largest = sum(max((abs(w) for leaf in tree.weights for _, w in leaf), default=0.0) for tree in self.trees)
        present = build.add("MatMul", self.reached, build.floats(given.reshape(-1, count)))
        absent = build.add("Cast", build.add("Equal", present, build.floats(0)), to=TensorProto.FLOAT)
        return build.add("Sub", raw, build.add("Mul", absent, build.floats(2 * largest + 1)))

    def _answers(self, x: str, dtype: np.dtype) -> str:
        """Write the answer of every split as 0 or 1, shape (rows, trees * splits); the padding's do not matter."""
        build, shape = self.build, (len(self.trees), self._splits)
        features = np.zeros(shape, dtype=np.int64)
        thresholds = np.zeros(shape, dtype=dtype)
        equal = np.zeros(shape, dtype=np.bool_)
        for number, tree in enumerate(self.trees):
            for place, split in enumerate(tree.splits):
                if not 0 <= split.feature < self._features:
                    raise UnsupportedModel(f"it asks for feature {split.feature} of {self._features}")
                features[number, place], thresholds[number, place] = split.feature, split.threshold
                equal[number, place] = split.equal
        parts, order = [], []
        for operator, places in (("LessOrEqual", np.flatnonzero(~equal)), ("Equal", np.flatnonzero(equal))):
            if len(places):
                values = build.add("Gather", x, build.constant(features.ravel()[places]), axis=1)
                answer = build.add(operator, values, build.constant(thresholds.ravel()[places]))
                parts.append(build.add("Cast", answer, to=TensorProto.FLOAT))
                order.append(places)
        if len(parts) == 1:
            return parts[0]
        return build.add(
            "Gather", build.add("Concat", *parts, axis=1), build.constant(np.argsort(np.concatenate(order))), axis=1
        )

    def _reached(self, answers: str) -> str:
        build, count = self.build, len(self.trees)
        ways = np.zeros((count, self._splits, self.leaves), dtype=np.float32)
        limits = np.zeros((count, 1, self.leaves), dtype=np.float32)  # Y - 1; 0 keeps the padding unreached
        for number, tree in enumerate(self.trees):
            for leaf, path in enumerate(tree.paths):
                for place, answer in path.items():
                    ways[number, place, leaf] = 1 if answer else -1
                limits[number, 0, leaf] = sum(path.values()) - 1
        if count == 1:
            met = build.add("MatMul", answers, build.floats(ways[0]))
            return build.add("Relu", build.add("Sub", met, build.floats(limits[0])))
        apart = build.add("Reshape", answers, build.constant([self.rows, count, 1, self._splits]))
        met = build.add("Sub", build.add("MatMul", apart, build.floats(ways)), build.floats(limits))
        return build.add("Reshape", build.add("Relu", met), build.constant([self.rows, count * self.leaves]))

    def _weights(self, count: int) -> np.ndarray:
        """Return the leaves' weights, shape (trees, leaves, count)."""
        weights = np.zeros((len(self.trees), self.leaves, count), dtype=np.float32)
        for number, tree in enumerate(self.trees):
            for leaf, given in enumerate(tree.weights):
                for target, weight in given:
                    if not 0 <= target < count:
                        raise UnsupportedModel(f"it gives a score to target {target} of {count}")
                    weights[number, leaf, target] += np.float32(weight)
        return weights


def _always(tree: Tree, target: int) -> bool:
    return all(target in dict(leaf) for leaf in tree.weights)
