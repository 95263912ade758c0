"""Tree ensembles: every comparison at once, a leaf is reached when its whole path agrees, the result is linear."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.rules import ML, rule
from balance_core.integer.lowering.rules.classic import LEAF_BITS, classify, transform
from balance_core.integer.lowering.scaling import half_up, power_of_two_at_least

if TYPE_CHECKING:
    import onnx

    from balance_core.integer.lowering.graph import Real
    from balance_core.integer.lowering.node import Node, Value

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
"""Comparisons, in the numbering of TreeEnsemble (ai.onnx.ml 5)."""
ENSEMBLES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble")
MAX_TREE_BITS = 32
"""Most bits of an input that is compared by trees."""
MAX_PATHS = 2**24
"""Most elements of the matrix of paths."""


@dataclass(frozen=True)
class Split:
    """One comparison: feature `mode` value, or membership in `members`."""

    feature: int
    mode: str
    value: float
    members: tuple[float, ...] = ()


@dataclass
class Leaf:
    """A leaf: its path as (split, outcome), and what it adds to each result."""

    path: list[tuple[int, bool]]
    weights: dict[int, float]


@dataclass
class Tree:
    """The splits of a tree in the order of their discovery, and its leaves."""

    splits: list[Split] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)


def parse(node: Node) -> list[Tree]:
    """Read an ensemble of either generation; raises Inadmissible for cycles and missing nodes."""
    return _new_trees(node) if node.op == "TreeEnsemble" else _old_trees(node)


def _old_trees(node: Node) -> list[Tree]:
    node.ignore("nodes_hitrates", "nodes_hitrates_as_tensor", "nodes_missing_value_tracks_true")
    trees_of, ids = node.integers("nodes_treeids") or (), node.integers("nodes_nodeids") or ()
    features, modes = node.integers("nodes_featureids") or (), node.texts("nodes_modes") or ()
    values = _floats(node, "nodes_values")
    yes, no = node.integers("nodes_truenodeids") or (), node.integers("nodes_falsenodeids") or ()
    kind = "class" if node.op == "TreeEnsembleClassifier" else "target"
    leaf_weights: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    keys = zip(node.integers(f"{kind}_treeids") or (), node.integers(f"{kind}_nodeids") or (), strict=True)
    for key, target, weight in zip(
        keys, node.integers(f"{kind}_ids") or (), _floats(node, f"{kind}_weights"), strict=True
    ):
        leaf_weights[key][target] = leaf_weights[key].get(target, 0.0) + float(weight)
    place = {key: i for i, key in enumerate(zip(trees_of, ids, strict=True))}
    trees = []
    for tree_id in dict.fromkeys(trees_of):
        first = next(i for i, t in enumerate(trees_of) if t == tree_id)
        tree = Tree()
        stack: list[tuple[int, list[tuple[int, bool]]]] = [(first, [])]
        visited = 0
        while stack:
            at, path = stack.pop()
            visited += 1
            if visited > len(ids):
                raise Inadmissible(f"tree {tree_id} holds a cycle")
            if modes[at] == "LEAF":
                tree.leaves.append(Leaf(path, leaf_weights.get((tree_id, ids[at]), {})))
                continue
            if modes[at] not in MODES:
                raise Inadmissible(f"mode {modes[at]} is not supported")
            tree.splits.append(Split(features[at], modes[at], float(values[at])))
            split = len(tree.splits) - 1
            for child, outcome in ((no[at], False), (yes[at], True)):
                if (tree_id, child) not in place:
                    raise Inadmissible(f"tree {tree_id} has no node {child}")
                stack.append((place[tree_id, child], [*path, (split, outcome)]))
        trees.append(tree)
    return trees


def _new_trees(node: Node) -> list[Tree]:
    node.ignore("nodes_hitrates", "nodes_missing_value_tracks_true")
    roots = node.integers("tree_roots") or ()
    features = node.integers("nodes_featureids") or ()
    modes = numpy_helper.to_array(node.attribute("nodes_modes"))
    values = numpy_helper.to_array(node.attribute("nodes_splits"))
    yes, no = node.integers("nodes_truenodeids") or (), node.integers("nodes_falsenodeids") or ()
    yes_leaf, no_leaf = node.integers("nodes_trueleafs") or (), node.integers("nodes_falseleafs") or ()
    targets = node.integers("leaf_targetids") or ()
    weights = numpy_helper.to_array(node.attribute("leaf_weights"))
    members = node.attribute("membership_values")
    sets: list[tuple[float, ...]] = [()]
    for value in [] if members is None else numpy_helper.to_array(members):
        if np.isnan(value):
            sets.append(())
        else:
            sets[-1] = (*sets[-1], float(value))
    # Each set belongs to the next node, in order, whose comparison is a membership.
    set_of = {at: sets[i] for i, at in enumerate([i for i, m in enumerate(modes) if MODES[int(m)] == MODES[6]])}
    trees = []
    for root in roots:
        tree = Tree()
        stack: list[tuple[int, bool, list[tuple[int, bool]]]] = [(root, False, [])]
        visited = 0
        while stack:
            at, is_leaf, path = stack.pop()
            visited += 1
            if visited > len(modes) + len(targets) or not 0 <= at < (len(targets) if is_leaf else len(modes)):
                raise Inadmissible("a tree holds a cycle or a missing node")
            if is_leaf:
                tree.leaves.append(Leaf(path, {targets[at]: float(weights[at])}))
                continue
            if yes_leaf[at] and no_leaf[at] and yes[at] == no[at]:  # how a tree of one leaf is written
                stack.append((yes[at], True, path))
                continue
            mode = MODES[int(modes[at])]
            tree.splits.append(Split(features[at], mode, float(values[at]), set_of.get(at, ())))
            split = len(tree.splits) - 1
            stack.append((no[at], bool(no_leaf[at]), [*path, (split, False)]))
            stack.append((yes[at], bool(yes_leaf[at]), [*path, (split, True)]))
        trees.append(tree)
    return trees


def _floats(node: Node, name: str) -> np.ndarray:
    """Return a list of floats that may also be given as a tensor of doubles."""
    tensor = node.attribute(f"{name}_as_tensor")
    if tensor is not None:
        return numpy_helper.to_array(tensor)
    found = node.numbers(name)
    return np.zeros(0) if found is None else found


def scores(node: Node, x: Real, trees: list[Tree], results: int, combine: str) -> Real:
    """Return [N, results]: the sum (or least, or largest) over the trees of the leaves reached."""
    r = node.reals
    rows = x.shape[0]
    splits = [split for tree in trees for split in tree.splits]
    most_splits = max(1, *(len(tree.splits) for tree in trees))
    most_leaves = max(len(tree.leaves) for tree in trees)
    if len(trees) * most_splits * most_leaves > MAX_PATHS:
        raise Inadmissible(f"{len(trees)} trees of up to {most_leaves} leaves are too large")
    paths = np.zeros((len(trees), most_splits, most_leaves), dtype=np.int64)
    needed = np.full((len(trees), 1, most_leaves), most_splits + 1, dtype=np.int64)
    weights = np.zeros((len(trees), most_leaves, results))
    index = np.full((len(trees), rows, most_splits), rows * len(splits), dtype=np.int64)
    at = 0
    for t, tree in enumerate(trees):
        for s in range(len(tree.splits)):
            index[t, :, s] = np.arange(rows) * len(splits) + at
            at += 1
        for place, leaf in enumerate(tree.leaves):
            for split, outcome in leaf.path:
                paths[t, split, place] = 1 if outcome else -1
            needed[t, 0, place] = sum(outcome for _, outcome in leaf.path) - 1
            for target, weight in leaf.weights.items():
                if not 0 <= target < results:
                    raise Inadmissible(f"a leaf adds to result {target} of {results}")
                weights[t, place, target] = weight
    nothing = r.structural(np.zeros(1))
    met = decisions(node, x, splits) if splits else None
    spread = r.wire(index, met, nothing) if met is not None else r.structural(np.zeros(index.shape))
    agreed = r.mul_paths(spread, paths)
    reached = r.less(r.graph.weight(needed, Fraction(1)), agreed)
    if combine == "SUM":
        flat = r.reshape(r.transpose(reached, (1, 0, 2)), (rows, len(trees) * most_leaves))
        return r.matmul_exact(flat, r.weight(weights.reshape(-1, results), LEAF_BITS))
    each = r.matmul_exact(reached, r.weight(weights, LEAF_BITS))
    chosen = r.max(each, [0]) if combine == "MAX" else r.min(each, [0])
    return r.reshape(chosen, (rows, results))


def decisions(node: Node, x: Real, splits: list[Split]) -> Real:
    """Return [N, splits]: 1 where a comparison holds."""
    r = node.reals
    order: list[int] = []
    parts = []
    for mode in MODES[:-1]:
        members = [i for i, split in enumerate(splits) if split.mode == mode]
        if not members:
            continue
        order += members
        columns = np.array([splits[i].feature for i in members])
        if columns.min() < 0 or columns.max() >= x.shape[1]:
            raise Inadmissible(f"a feature is outside the {x.shape[1]} columns of the input")
        picked = r.wire(np.arange(x.fact.size).reshape(x.shape)[:, columns], x)
        bounds = [threshold(splits[i].value, mode, x) for i in members]
        bound = r.graph.weight(np.array(bounds).reshape(1, -1), x.scale)
        parts.append(_holds(node, picked, bound, mode))
    for i, split in enumerate(splits):
        if split.mode == MODES[-1]:
            order.append(i)
            column = r.wire(np.arange(x.fact.size).reshape(x.shape)[:, [split.feature] * len(split.members)], x)
            bounds = [threshold(value, "BRANCH_EQ", x) for value in split.members]
            same = _holds(node, column, r.graph.weight(np.array(bounds).reshape(1, -1), x.scale), "BRANCH_EQ")
            parts.append(r.clamp(r.sum(same, [1]), 0, 1))
    joined = parts[0] if len(parts) == 1 else r.concat(parts, 1)
    return r.wire(np.arange(joined.fact.size).reshape(joined.shape)[:, np.argsort(order)], joined)


def threshold(value: float, mode: str, x: Real) -> int:
    """Return the bound for the integers of x: rounded like the input, or exactly for ONNX integers."""
    exact = Fraction(value) / x.scale
    if not x.exact:
        bound = half_up(exact)
    elif mode in {"BRANCH_LT", "BRANCH_GTE"}:
        bound = exact.__ceil__()
    elif mode in {"BRANCH_EQ", "BRANCH_NEQ"} and exact.denominator != 1:
        bound = x.fact.hi + 1
    else:
        bound = exact.__floor__()
    return min(max(bound, x.fact.lo - 1), x.fact.hi + 1)


def _holds(node: Node, x: Real, bound: Real, mode: str) -> Real:
    r = node.reals
    match mode:
        case "BRANCH_LEQ":
            return r.negated(r.less(bound, x))
        case "BRANCH_LT":
            return r.less(x, bound)
        case "BRANCH_GTE":
            return r.negated(r.less(x, bound))
        case "BRANCH_GT":
            return r.less(bound, x)
        case "BRANCH_EQ":
            return r.equal(x, bound)
    return r.negated(r.equal(x, bound))


def _operand(node: Node) -> Real:
    x = node.real(0)
    return node.reals.reshape(x, (1, *x.shape)) if len(x.shape) == 1 else x


@rule("TreeEnsembleClassifier", domain=ML)
def tree_classifier(node: Node) -> list[Value | None]:
    """The class with the highest score, and the scores."""
    trees = parse(node)
    labels = node.integers("classlabels_int64s")
    count = len(labels) if labels is not None else len(node.texts("classlabels_strings") or ())
    targets = {target for tree in trees for leaf in tree.leaves for target in leaf.weights}
    single = count == 2 and len(targets) == 1
    positive = all(weight >= 0 for tree in trees for leaf in tree.leaves for weight in leaf.weights.values())
    if single:
        for tree in trees:
            for leaf in tree.leaves:
                leaf.weights = {0: sum(leaf.weights.values())}
    found = scores(node, _operand(node), trees, 1 if single else max(count, 1), "SUM")
    base = _floats(node, "base_values")
    if base.size:
        found = node.reals.add_constant(found, base[-1:].reshape(1, 1) if single else base.reshape(1, -1))
    return classify(node, found, labels, probabilities=positive and single)


@rule("TreeEnsembleRegressor", domain=ML, precision=8)
def tree_regressor(node: Node) -> Value:
    """The sum, mean, least or largest over the trees."""
    trees = parse(node)
    results = node.integer("n_targets", 1)
    combine = node.text("aggregate_function", "SUM")
    found = _combined(node, trees, results, combine)
    base = _floats(node, "base_values")
    if base.size:
        found = node.reals.add_constant(found, base.reshape(1, -1))
    return transform(node, found, node.text("post_transform", "NONE"))


@rule("TreeEnsemble", domain=ML, precision=8)
def tree_ensemble(node: Node) -> Value:
    """The second generation: results for each target."""
    trees = parse(node)
    combine = ("AVERAGE", "SUM", "MIN", "MAX")[node.integer("aggregate_function", 1)]
    post = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")[node.integer("post_transform", 0)]
    return transform(node, _combined(node, trees, node.integer("n_targets", 1), combine), post)


def _combined(node: Node, trees: list[Tree], results: int, combine: str) -> Real:
    if combine in {"MIN", "MAX"} and results > 1:
        raise Inadmissible(f"{combine} over trees with several results is not supported")
    found = scores(node, _operand(node), trees, results, "SUM" if combine == "AVERAGE" else combine)
    return node.reals.times(found, Fraction(1, len(trees))) if combine == "AVERAGE" else found


def tree_scale(proto: onnx.ModelProto, name: str, samples: np.ndarray) -> Fraction | None:
    """Return the coarsest scale at which all samples fall on the right side of every threshold, if trees read them.

    Thresholds and samples closer than MAX_TREE_BITS can tell are left to chance; the report shows the agreement.
    """
    values = []
    for node in proto.graph.node:
        if node.op_type not in ENSEMBLES or name not in node.input:
            continue
        for attribute in node.attribute:
            if attribute.name == "nodes_values":
                values += list(zip(_ints_of(node, "nodes_featureids"), attribute.floats, strict=True))
            elif attribute.name in {"nodes_values_as_tensor", "nodes_splits"}:
                bounds = numpy_helper.to_array(attribute.t).astype(np.float64).tolist()
                values += list(zip(_ints_of(node, "nodes_featureids"), bounds, strict=True))
    if not values:
        return None
    flat = samples.reshape(len(samples), -1)
    nearest = np.inf
    for feature, bound in values:
        if 0 <= feature < flat.shape[1]:
            gaps = np.abs(flat[:, feature] - bound)
            nearest = min(nearest, float(gaps[gaps > 0].min(initial=np.inf)))
    span = max(float(np.abs(samples).max()), 2.0**-30)
    if not np.isfinite(nearest):
        return power_of_two_at_least(Fraction(span) / 2**12)
    finest = power_of_two_at_least(Fraction(span) / 2 ** (MAX_TREE_BITS - 2))
    return max(finest, power_of_two_at_least(Fraction(nearest)) / 4)


def _ints_of(node: onnx.NodeProto, name: str) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == name), [])
