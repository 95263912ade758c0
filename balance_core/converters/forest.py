"""Boosted trees of any library as an ONNX graph: one TreeEnsemble, and the link that makes answers of its scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import NodeProto, ValueInfoProto

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
_MODES: dict[Mode, int] = {"<=": 0, "<": 1, "in": 6}
"""Comparisons, in the numbering of TreeEnsemble (ai.onnx.ml 5)."""
_OPSETS = (("", 18), ("ai.onnx.ml", 5))


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
        self._check()
        nodes, constants = _ensemble(self)
        more, constants_more, outputs = _answers(self)
        graph = helper.make_graph(
            [*nodes, *more],
            "forest",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", self.features])],
            outputs,
            [numpy_helper.from_array(array, name) for name, array in (constants | constants_more).items()],
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
        return helper.make_model(graph, opset_imports=opsets, producer_name="balance", ir_version=10)

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


def _ensemble(forest: Forest) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """Return the nodes that make `scores` [N, results] and their constants; a tree of one leaf joins the base."""
    base = forest.base.astype(np.float64).copy()
    splits: list[tuple[Split, int, int]] = []
    roots: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for tree in forest.trees:
        if not tree.splits:
            base[tree.result] += tree.leaves[0]
            continue
        roots.append(len(splits))
        first, leaf = len(splits), len(targets)
        splits += [(split, first, leaf) for split in tree.splits]
        targets += [tree.result] * len(tree.leaves)
        weights += tree.leaves

    def branch(to: int, first: int, leaf: int) -> int:
        return to + first if to >= 0 else ~to + leaf

    members = [[*split.members, np.nan] for split, _, _ in splits if split.mode == "in"]
    attributes: dict[str, Any] = {
        "n_targets": len(base),
        "aggregate_function": 1,
        "post_transform": 0,
        "tree_roots": roots,
        "nodes_featureids": [split.feature for split, _, _ in splits],
        "nodes_modes": _tensor("modes", [_MODES[split.mode] for split, _, _ in splits], np.uint8),
        "nodes_splits": _tensor("splits", [float(split.threshold) for split, _, _ in splits], np.float32),
        "nodes_truenodeids": [branch(split.yes, first, leaf) for split, first, leaf in splits],
        "nodes_trueleafs": [int(split.yes < 0) for split, _, _ in splits],
        "nodes_falsenodeids": [branch(split.no, first, leaf) for split, first, leaf in splits],
        "nodes_falseleafs": [int(split.no < 0) for split, _, _ in splits],
        "nodes_missing_value_tracks_true": [int(split.missing) for split, _, _ in splits],
        "leaf_targetids": targets,
        "leaf_weights": _tensor("weights", weights, np.float32),
    }
    if members:
        attributes["membership_values"] = _tensor("members", [m for found in members for m in found], np.float32)
    node = helper.make_node("TreeEnsemble", ["x"], ["trees"], name="trees", domain="ai.onnx.ml", **attributes)
    total = helper.make_node("Add", ["trees", "base"], ["scores"], name="base_score")
    return [node, total], {"base": base.astype(np.float32).reshape(1, -1)}


def _tensor(name: str, values: Sequence[float], dtype: type) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def _answers(forest: Forest) -> tuple[list[NodeProto], dict[str, np.ndarray], list[ValueInfoProto]]:
    """Return nodes, constants and outputs that make answers of the scores."""
    results = len(forest.base)
    node = helper.make_node
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])
    constants: dict[str, np.ndarray] = {}
    scores = "scores"
    steep: list[NodeProto] = []
    if forest.sigmoid != 1 and forest.link in {"binary", "sigmoid", "one-vs-all"}:
        constants["steepness"] = np.array(forest.sigmoid, dtype=np.float32)
        scores = "logits"
        steep = [node("Mul", ["scores", "steepness"], ["logits"], name="logits")]
    match forest.link:
        case "identity" | "exp" | "sigmoid":
            op = {"identity": "Identity", "exp": "Exp", "sigmoid": "Sigmoid"}[forest.link]
            value = helper.make_tensor_value_info("value", TensorProto.FLOAT, ["N", results])
            return [*steep, node(op, [scores], ["value"], name="value")], constants, [value]
        case "binary" | "hinge":
            constants |= {"zero": np.zeros((), np.float32), "flat": np.array([-1], dtype=np.int64)}
            found = [
                node("Greater", ["scores", "zero"], ["positive"], name="positive"),
                node("Cast", ["positive"], ["number"], name="number", to=TensorProto.INT64),
                node("Reshape", ["number", "flat"], ["label"], name="label"),
            ]
            if forest.link == "hinge":
                return found, constants, [label]
            constants["one"] = np.ones((), np.float32)
            found += [
                *steep,
                node("Sigmoid", [scores], ["second"], name="second"),
                node("Sub", ["one", "second"], ["first"], name="first"),
                node("Concat", ["first", "second"], ["probabilities"], name="probabilities", axis=1),
            ]
            results = 2
        case "softmax" | "one-vs-all":
            op = "Softmax" if forest.link == "softmax" else "Sigmoid"
            extra: dict[str, Any] = {"axis": 1} if op == "Softmax" else {}
            found = [
                node("ArgMax", ["scores"], ["label"], name="label", axis=1, keepdims=0),
                *steep,
                node(op, [scores], ["probabilities"], name="probabilities", **extra),
            ]
    shares = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", results])
    return found, constants, [label, shares]
