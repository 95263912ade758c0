"""Tree ensembles, whichever generation of ONNX wrote them, as lists of splits and of paths to leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from balance_core.errors import UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from balance_core.model.expansion.build import Build

MAX_LEAVES = 2**17
"""Most leaves of one ensemble."""


class Split(NamedTuple):
    """An inner node: is x[feature] <= threshold, or equal to it? Nodes are named by numbers."""

    feature: int
    threshold: float
    equal: bool
    yes: int
    no: int


@dataclass
class Tree:
    """The splits of a tree, and for each leaf the way to it and what it adds to each class or target."""

    splits: list[Split] = field(default_factory=list)
    paths: list[dict[int, bool]] = field(default_factory=list)
    """For each leaf: the positions of the splits on the way to it, and whether their answer is yes."""
    weights: list[list[tuple[int, float]]] = field(default_factory=list)


class Nodes(NamedTuple):
    """The inner nodes and leaves of an ensemble by number, and where its trees begin."""

    splits: dict[int, Split]
    leaves: dict[int, list[tuple[int, float]]]
    roots: list[int]


_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")


def split(feature: int, mode: str, threshold: np.floating, yes: int, no: int) -> Split:
    """Write any comparison as <= or ==, exactly: x > t is not x <= t, and x < t is x <= the number before t."""
    if not np.isfinite(threshold):
        raise UnsupportedModel(f"it compares with {threshold}")
    if mode in {"BRANCH_GT", "BRANCH_GTE", "BRANCH_NEQ"}:
        yes, no = no, yes
    if mode in {"BRANCH_LT", "BRANCH_GTE"}:
        threshold = np.nextafter(threshold, threshold.dtype.type(-np.inf))
    elif mode not in _MODES[:6]:
        raise UnsupportedModel(f"it compares by {mode}")
    return Split(feature, float(threshold), mode in {"BRANCH_EQ", "BRANCH_NEQ"}, yes, no)


def walk(nodes: Nodes) -> list[Tree]:
    """Return the trees with the way to every leaf. Raises UnsupportedModel for cycles, gaps and too many leaves."""
    trees = []
    count = 0
    for root in nodes.roots:
        tree = Tree()
        waiting: list[tuple[int, dict[int, bool]]] = [(root, {})]
        while waiting:
            number, path = waiting.pop()
            if len(path) > len(nodes.splits) or len(path) > 512:
                raise UnsupportedModel("its nodes form a cycle, or a tree deeper than 512")
            if number in nodes.splits:
                position = len(tree.splits)
                found = nodes.splits[number]
                tree.splits.append(found)
                waiting += [(found.no, {**path, position: False}), (found.yes, {**path, position: True})]
                continue
            if number not in nodes.leaves:
                raise UnsupportedModel("one of its branches leads to a node that it does not have")
            tree.paths.append(path)
            tree.weights.append(nodes.leaves[number])
            count += 1
            if count > MAX_LEAVES:
                raise UnsupportedModel(f"it has more than {MAX_LEAVES} leaves")
        trees.append(tree)
    return trees


def read_v3(build: Build, prefix: str, dtype: np.dtype) -> Nodes:
    """Read TreeEnsembleClassifier (prefix `class`) or TreeEnsembleRegressor (`target`), to compare in `dtype`."""
    trees, ids, yes, no, features = (
        build.array(f"nodes_{name}", np.int64).tolist()
        for name in ("treeids", "nodeids", "truenodeids", "falsenodeids", "featureids")
    )
    modes = [bytes(mode).decode("utf-8", "replace") for mode in build.given.get("nodes_modes", ())]
    thresholds = exact(build, "nodes_values").astype(dtype)
    if not modes or {*map(len, (trees, ids, yes, no, features, thresholds))} != {len(modes)}:
        raise UnsupportedModel("the lists that describe its nodes differ in length")
    keys = list(zip(trees, ids, strict=True))
    number = {key: position for position, key in enumerate(keys)}
    if len(number) < len(keys):
        raise UnsupportedModel("it has two nodes of one number")
    nodes = Nodes({}, {}, [])
    for position, (tree, mode) in enumerate(zip(trees, modes, strict=True)):
        if position == 0 or trees[position - 1] != tree:
            nodes.roots.append(position)
        if mode == "LEAF":
            nodes.leaves[position] = []
            continue
        branches = number.get((tree, yes[position]), -1), number.get((tree, no[position]), -1)
        nodes.splits[position] = split(features[position], mode, thresholds[position], *branches)
    columns = [build.array(f"{prefix}_{name}", np.int64).tolist() for name in ("treeids", "nodeids", "ids")]
    weights = exact(build, f"{prefix}_weights").tolist()
    if {*map(len, columns)} != {len(weights)}:
        raise UnsupportedModel("the lists that describe its leaves differ in length")
    for tree, node, target, weight in zip(*columns, weights, strict=True):
        leaf = nodes.leaves.get(number.get((tree, node), -1))
        if leaf is None:
            raise UnsupportedModel(f"it gives a weight to node {node} of tree {tree}, which is no leaf")
        leaf.append((target, weight))
    return nodes


def read_v5(build: Build, dtype: np.dtype) -> Nodes:
    """Read TreeEnsemble: inner nodes and leaves in lists of their own; compares in `dtype`."""
    yes, no, yes_leaf, no_leaf, features, roots = (
        build.array(name, np.int64).tolist()
        for name in ("nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs", "nodes_falseleafs",
                     "nodes_featureids", "tree_roots")
    )  # fmt: skip
    modes = build.array("nodes_modes", np.uint8).tolist()
    thresholds = build.array("nodes_splits", None).astype(dtype)
    if not modes or {*map(len, (yes, no, yes_leaf, no_leaf, features, thresholds))} != {len(modes)}:
        raise UnsupportedModel("the lists that describe its nodes differ in length")
    if max(modes) >= len(_MODES):
        raise UnsupportedModel(f"it compares by mode {max(modes)}")
    targets, weights = build.array("leaf_targetids", np.int64).tolist(), build.array("leaf_weights", None).tolist()
    if len(targets) != len(weights):
        raise UnsupportedModel("the lists that describe its leaves differ in length")
    count = len(modes)
    leaves = {count + place: [leaf] for place, leaf in enumerate(zip(targets, weights, strict=True))}
    nodes = Nodes({}, leaves, roots)
    members = _members(build, dtype)
    for position, mode in enumerate(modes):
        to_yes = yes[position] + (count if yes_leaf[position] else 0)
        to_no = no[position] + (count if no_leaf[position] else 0)
        if _MODES[mode] != "BRANCH_MEMBER":
            nodes.splits[position] = split(features[position], _MODES[mode], thresholds[position], to_yes, to_no)
            continue
        here = position  # one question for each member, in a chain: the first at the node's own number
        wanted = next(members, None)
        if wanted is None or not len(wanted):
            raise UnsupportedModel("a node asks for membership of a set that it does not have")
        for place, member in enumerate(wanted):
            after = to_no if place == len(wanted) - 1 else count + len(leaves) + len(nodes.splits) + count
            nodes.splits[here] = split(features[position], "BRANCH_EQ", member, to_yes, after)
            here = after
    return nodes


def _members(build: Build, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Yield the sets that nodes ask membership of, in order: NaN stands between them.

    Members are compared exactly, as ONNX says; onnxruntime 1.32 cuts fractions off in some sets first.
    """
    values = build.array("membership_values", None).astype(dtype)
    ends = [*np.flatnonzero(np.isnan(values)).tolist(), len(values)]
    start = 0
    for end in ends:
        if end > start:
            yield values[start:end]
        start = end + 1


def exact(build: Build, name: str) -> np.ndarray:
    """Return the float32 or float64 numbers of an attribute that has a tensor form as well."""
    tensor = f"{name}_as_tensor"
    return build.array(tensor, None) if tensor in build.given else build.array(name)
