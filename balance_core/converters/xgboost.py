"""XGBoost: models that it saved as .json or .ubj, read without the library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from balance_core.contracts import Converter
from balance_core.converters.forest import MAX_FEATURES, MAX_RESULTS, Forest, Link, Split, Tree
from balance_core.converters.sources import read_bytes
from balance_core.converters.xgboost_json import MAX_BYTES, decode
from balance_core.errors import ConfigError, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

LINKS: dict[str, Link] = {
    "binary:hinge": "hinge",
    "binary:logistic": "binary",
    "binary:logitraw": "identity",
    "count:poisson": "exp",
    "multi:softmax": "softmax",
    "multi:softprob": "softmax",
    "rank:map": "identity",
    "rank:ndcg": "identity",
    "rank:pairwise": "identity",
    "reg:absoluteerror": "identity",
    "reg:gamma": "exp",
    "reg:logistic": "sigmoid",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "reg:squarederror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:tweedie": "exp",
}
"""The objectives that are taken, and what each makes of the scores."""
_LOGIT_BASE = frozenset({"binary:logistic", "reg:logistic"})
"""Objectives whose base score is kept as a probability."""
_LOG_BASE = frozenset({"count:poisson", "reg:gamma", "reg:tweedie"})
"""Objectives whose base score is kept as a mean, behind the exponential function."""
_HINT = "save the model with booster.save_model('model.json')"


class XGBoostConverter(Converter):
    """Reads a saved booster of trees (gbtree or dart), as it predicts: all rounds, or to the best of early stopping.

    Its answers are the library's for float32 inputs. Early stopping counts where scikit-learn's interface saved the
    model, as it does in that interface.
    """

    api_version = 1
    suffixes: ClassVar[frozenset[str]] = frozenset({".json", ".ubj"})

    def convert(self, source: Path) -> ModelProto:
        """Return the graph; raises ConfigError or UnsupportedModel."""
        value = decode(read_bytes(source, MAX_BYTES, _HINT), source.name)
        if not isinstance(value, dict) or not isinstance(value.get("learner"), dict):
            raise ConfigError(f"{source.name} is no model of XGBoost: it has no learner", hint=_HINT)
        return forest(value["learner"]).onnx()


def forest(learner: dict[str, Any]) -> Forest:
    """Return the trees and link of a learner, the main part of a model file."""
    objective = _text(_table(learner, "objective"), "name")
    if objective not in LINKS:
        raise UnsupportedModel(
            f"the objective {objective[:60]!r} is not supported", hint=f"known are {', '.join(sorted(LINKS))}"
        )
    sizes = _table(learner, "learner_model_param")
    classes, targets = _whole(sizes, "num_class", 0), _whole(sizes, "num_target", 1)
    results = max(classes, targets, 1)
    features = _whole(sizes, "num_feature")
    if results > MAX_RESULTS or features > MAX_FEATURES:
        raise ConfigError(f"the model declares {results} results and {features} features: too many")
    link = LINKS[objective]
    if (link == "softmax") != (classes > 1) or (link in {"binary", "hinge"} and results > 1):
        raise UnsupportedModel(f"the objective {objective} with {classes} classes and {targets} targets is unknown")
    trees, weights, groups = _trees(learner)
    return Forest(
        features,
        [_tree(tree, i, groups[i], weights[i]) for i, tree in enumerate(trees)],
        _base(sizes, objective, results),
        link,
    )


def _trees(learner: dict[str, Any]) -> tuple[list[Any], list[float], list[int]]:
    """Return the trees that predict, the weight of each, and the result that each adds to."""
    booster = _table(learner, "gradient_booster")
    kind = _text(booster, "name")
    if kind not in {"gbtree", "dart"}:
        raise UnsupportedModel(f"the booster {kind[:40]!r} is not supported", hint="known are gbtree and dart")
    model = _table(_table(booster, "gbtree") if kind == "dart" else booster, "model")
    cats = model.get("cats")
    if isinstance(cats, dict) and cats.get("enc"):
        raise UnsupportedModel(
            "the model encodes categories by itself, which only data frames have",
            hint="train on the codes of the categories, as numbers",
        )
    trees = _list(model, "trees")
    weights = _numbers(booster, "weight_drop", np.float64).tolist() if kind == "dart" else [1.0] * len(trees)
    groups = _integers(model, "tree_info").tolist()
    if {len(weights), len(groups)} != {len(trees)}:
        raise ConfigError("the lists that describe the trees differ in length", hint=_HINT)
    attributes = learner.get("attributes")
    if isinstance(attributes, dict) and "scikit_learn" in attributes and "best_iteration" in attributes:
        rounds = _whole(attributes, "best_iteration") + 1
        ends = _integers(model, "iteration_indptr")
        if rounds >= len(ends) or not 0 <= ends[rounds] <= len(trees):
            raise ConfigError(f"the model has fewer rounds than its best_iteration, {rounds - 1}", hint=_HINT)
        kept = int(ends[rounds])
        trees, weights, groups = trees[:kept], weights[:kept], groups[:kept]
    return trees, weights, groups


def _base(sizes: dict[str, Any], objective: str, results: int) -> np.ndarray:
    """Return the base score of each result as it is added to the leaves (a vector in files since XGBoost 3.1)."""
    text = _text(sizes, "base_score").strip()
    try:
        values = [float(part) for part in text.removeprefix("[").removesuffix("]").split(",")]
    except ValueError:
        raise ConfigError(f"the base score {text[:60]!r} is no number", hint=_HINT) from None
    if len(values) not in {1, results} or not all(map(math.isfinite, values)):
        raise ConfigError(f"the model has {len(values)} base scores for {results} results", hint=_HINT)
    low, high = (0.0, 1.0) if objective in _LOGIT_BASE else (0.0, math.inf)
    if objective in _LOGIT_BASE | _LOG_BASE and not all(low < value < high for value in values):
        raise ConfigError(f"the base score {text[:60]} of {objective} lies outside ({low:g}, {high:g})", hint=_HINT)
    if objective in _LOGIT_BASE:
        values = [math.log(value / (1 - value)) for value in values]
    elif objective in _LOG_BASE:
        values = [math.log(value) for value in values]
    return np.array(values * (results // len(values)), dtype=np.float64)


def _tree(value: Any, place: int, result: int, weight: float) -> Tree:
    """Return one tree; a leaf's weight stands where a split has its threshold."""
    here = f"tree {place}"
    if not isinstance(value, dict):
        raise ConfigError(f"{here} is no table", hint=_HINT)
    if _whole(_table(value, "tree_param"), "size_leaf_vector", 1) > 1:
        raise UnsupportedModel(
            f"{here} has vectors in its leaves", hint="train with multi_strategy='one_output_per_tree'"
        )
    left, right = _integers(value, "left_children").tolist(), _integers(value, "right_children").tolist()
    features = _integers(value, "split_indices").tolist()
    conditions = _numbers(value, "split_conditions", np.float32)
    default = _integers(value, "default_left").tolist()
    kinds = _integers(value, "split_type").tolist() if "split_type" in value else [0] * len(left)
    if {*map(len, (left, right, features, conditions, default, kinds))} != {len(left)} or not left:
        raise ConfigError(f"the lists that describe {here} differ in length", hint=_HINT)
    chosen = _categories(value, here) if any(kinds) else {}
    splits: list[Split] = []
    leaves: list[float] = []
    number: dict[int, int] = {}  # the places of nodes in what is returned: those of deleted nodes close up
    order: list[int] = []
    waiting = [0]
    while waiting:
        at = waiting.pop()
        if not 0 <= at < len(left) or at in number:
            raise ConfigError(f"{here} is no tree: it leads to node {at} twice, or has no such node", hint=_HINT)
        if left[at] == -1:
            number[at] = ~len(leaves)
            leaves.append(float(conditions[at]) * weight)
        else:
            number[at] = len(order)
            order.append(at)
            waiting += [right[at], left[at]]
    for at in order:
        yes, no, missing = number[left[at]], number[right[at]], bool(default[at])
        if kinds[at]:  # the categories listed go to the right
            members = chosen.get(at, ())
            if not members:
                raise ConfigError(f"node {at} of {here} lists no categories", hint=_HINT)
            first = np.float32(members[0])
            splits.append(Split(features[at], "in", first, no, yes, not missing, members))
        else:
            splits.append(Split(features[at], "<", conditions[at], yes, no, missing))
    return Tree(splits, leaves, result)


def _categories(tree: dict[str, Any], here: str) -> dict[int, tuple[int, ...]]:
    """Return the categories that go to the right, for each node that splits by them."""
    values = _integers(tree, "categories")
    nodes, starts, sizes = (_integers(tree, f"categories_{name}") for name in ("nodes", "segments", "sizes"))
    if not len(nodes) == len(starts) == len(sizes) or (len(values) and not 0 <= values.min() <= values.max() < 2**24):
        raise ConfigError(f"the categories of {here} are not readable", hint=_HINT)
    if sizes.sum() > len(values):
        raise ConfigError(f"the categories of {here} are fewer than its nodes take", hint=_HINT)
    return {
        int(node): tuple(int(v) for v in values[int(start) : int(start) + int(size)])
        for node, start, size in zip(nodes, starts, sizes, strict=True)
        if start >= 0 and size >= 0
    }


def _table(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    if not isinstance(found, dict):
        raise ConfigError(f"the model has no table {key!r}", hint=_HINT)
    return found


def _list(value: dict[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    if not isinstance(found, list):
        raise ConfigError(f"the model has no list {key!r}", hint=_HINT)
    return found


def _text(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    if not isinstance(found, str):
        raise ConfigError(f"the model has no text {key!r}", hint=_HINT)
    return found


def _whole(value: dict[str, Any], key: str, default: int | None = None) -> int:
    """Return a count, which XGBoost writes as a text."""
    found = value.get(key, default)
    text = str(found) if isinstance(found, (int, str)) else ""
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise ConfigError(f"{key} of the model is {str(found)[:40]!r}, no count", hint=_HINT)
    return int(text)


def _integers(value: dict[str, Any], key: str) -> np.ndarray:
    found = _list(value, key)
    if not all(isinstance(item, int) and -(2**31) <= item < 2**31 for item in found):
        raise ConfigError(f"{key} holds something else than integers", hint=_HINT)
    return np.array(found, dtype=np.int64)


def _numbers(value: dict[str, Any], key: str, dtype: type) -> np.ndarray:
    found = _list(value, key)
    if not all(isinstance(item, (int, float)) and abs(item) < 1e38 for item in found):  # NaN is not less either
        raise ConfigError(f"{key} holds something else than finite numbers", hint=_HINT)
    return np.array(found, dtype=dtype)
