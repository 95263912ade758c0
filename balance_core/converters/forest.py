"""Boosted trees of any library, checked.

This module does not import onnx: whoever looks for a converter imports all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

Mode = Literal["<=", "<", "in"]
Link = Literal["identity", "exp", "sigmoid", "binary", "hinge", "softmax", "one-vs-all"]
"""What stands between scores and answers: a value (`identity`, `exp`, `sigmoid`), or a label with probabilities."""

MAX_SPLITS = 2**20
"""Most comparisons of one forest."""
MAX_FEATURES = 2**20
"""Most columns of the input."""
MAX_RESULTS = 2**12
"""Most classes or targets."""
MAX_SCORE = 1e30
"""Scores beyond it are no answers, and their sums might leave float32."""


@dataclass(frozen=True, slots=True)
class Split:
    """One comparison: a float32 feature `mode` threshold, or membership in `members` (whole numbers).

    `yes` and `no` are the places of other splits of the tree, or, where negative, ~place of a leaf. `missing` says
    where NaN goes: to `yes`?
    """

    feature: int
    mode: Mode
    threshold: np.float32
    yes: int
    no: int
    missing: bool
    members: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tree:
    """A tree whose root is split 0; one without splits has one leaf. Its leaves add to one result."""

    splits: Sequence[Split]
    leaves: Sequence[float]
    result: int = 0


@dataclass(frozen=True)
class Forest:
    """Trees over `features` columns, whose leaves are added to `base`, a score for each result."""

    features: int
    trees: Sequence[Tree]
    base: np.ndarray
    link: Link
    sigmoid: float = 1.0
    """The steepness of the logistic function."""
    names: tuple[str, ...] = field(default=())

    def onnx(self) -> ModelProto:
        """Return the graph: input `x` [N, features] float32; output `value`, or `label` and `probabilities`."""
        from balance_core.converters.forest_graph import graph_of

        self._check()
        return graph_of(self)

    def _check(self) -> None:
        if not 1 <= self.features <= MAX_FEATURES:
            raise ConfigError(f"the model has {self.features} features: 1 to {MAX_FEATURES} are taken")
        if not 1 <= len(self.base) <= MAX_RESULTS or not (np.abs(self.base) < MAX_SCORE).all():
            raise ConfigError(f"the model has {len(self.base)} results, or base scores that are no numbers")
        if sum(len(tree.splits) for tree in self.trees) > MAX_SPLITS:
            raise ConfigError(f"the model has more than {MAX_SPLITS} splits")
        if not any(tree.splits for tree in self.trees):
            raise ConfigError("no tree of the model looks at its input", hint="train the model for more rounds")
        for place, tree in enumerate(self.trees):
            check_tree(tree, place, self.features, len(self.base))


def check_tree(tree: Tree, place: int, features: int, results: int) -> None:
    """Raise ConfigError unless every split and leaf is reached exactly once and all numbers are finite."""
    _check_numbers(tree, place, features, results)
    if tree.splits:
        _check_ways(tree, place)


def _check_numbers(tree: Tree, place: int, features: int, results: int) -> None:
    here = f"tree {place}"
    if not 0 <= tree.result < results:
        raise ConfigError(f"{here} adds to result {tree.result} of {results}")
    if not (np.abs(np.asarray(tree.leaves, dtype=np.float64)) < MAX_SCORE).all():
        raise ConfigError(f"{here} has a leaf that is no number, or beyond {MAX_SCORE:g}")
    if not tree.splits and len(tree.leaves) != 1:
        raise ConfigError(f"{here} has {len(tree.leaves)} leaves and no split")
    for split in tree.splits:
        if not 0 <= split.feature < features:
            raise ConfigError(f"{here} asks for feature {split.feature} of {features}")
        if not np.isfinite(split.threshold):
            raise ConfigError(f"{here} compares with {split.threshold}, no finite number")


def _check_ways(tree: Tree, place: int) -> None:
    here = f"tree {place}"
    splits, leaves, waiting = set[int](), set[int](), [0]
    while waiting:
        at = waiting.pop()
        if not -len(tree.leaves) <= at < len(tree.splits):
            raise ConfigError(f"{here} leads to node {at}, which it does not have")
        seen = splits if at >= 0 else leaves
        if at in seen:
            raise ConfigError(f"{here} reaches node {at} twice: it is no tree")
        seen.add(at)
        if at >= 0:
            waiting += [tree.splits[at].yes, tree.splits[at].no]
    if len(splits) < len(tree.splits) or len(leaves) < len(tree.leaves):
        raise ConfigError(f"{here} has nodes that its root does not lead to")
