"""LightGBM: models that it saved as .txt, read without the library."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from balance_core.contracts import Converter
from balance_core.converters.forest import MAX_FEATURES, MAX_RESULTS, Forest, Link, Split, Tree
from balance_core.converters.sources import read_bytes
from balance_core.errors import ConfigError, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

MAX_BYTES = 2**28
"""Largest model file."""
MAX_TREES = 2**16
MAX_CATEGORIES = 2**16
"""Most categories of one feature."""
LINKS: dict[str, Link] = {
    "binary": "binary",
    "cross_entropy": "sigmoid",
    "fair": "identity",
    "gamma": "exp",
    "huber": "identity",
    "lambdarank": "identity",
    "mape": "identity",
    "multiclass": "softmax",
    "multiclassova": "one-vs-all",
    "poisson": "exp",
    "quantile": "identity",
    "rank_xendcg": "identity",
    "regression": "identity",
    "regression_l1": "identity",
    "tweedie": "exp",
}
"""The objectives that are taken, and what each makes of the scores."""
_PARAMETERS = frozenset({"sigmoid", "num_class"})
"""Parameters after an objective's name that this reader knows; those of ranking and losses change no answer."""
_TRAINING_ONLY = frozenset({"alpha", "c", "lambdarank", "max_delta_step", "rho"})
_ZERO = np.float32(1e-35)
"""What LightGBM takes for zero (kZeroThreshold of its meta.h)."""
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_SHIFT = 1, 2, 2
"""The bits of decision_type (tree.h): how it compares, where missing values go, and what is missing."""
_NONE, _AS_ZERO, _NAN = 0, 1, 2
_HINT = "save the model with booster.save_model('model.txt')"

Fields = dict[str, str]


class LightGBMConverter(Converter):
    """Reads a saved booster, as it predicts with all the trees in the file; its answers are for float32 inputs."""

    api_version = 1
    suffixes: ClassVar[frozenset[str]] = frozenset({".txt"})

    def convert(self, source: Path) -> ModelProto:
        """Return the graph; raises ConfigError or UnsupportedModel."""
        try:
            text = read_bytes(source, MAX_BYTES, _HINT).decode("utf-8")
        except UnicodeDecodeError:
            raise ConfigError(f"{source.name} is no text", hint=_HINT) from None
        if text.split("\n", 1)[0].strip() != "tree":
            raise ConfigError(f"{source.name} is no model of LightGBM: its first line is not `tree`", hint=_HINT)
        return forest(text).onnx()


def forest(text: str) -> Forest:
    """Return the trees and the link of a model's text."""
    header, blocks, averaged = _sections(text)
    if not blocks:
        raise ConfigError("the model has no trees", hint=_HINT)
    per_round, classes = _whole(header, "num_tree_per_iteration"), _whole(header, "num_class")
    features = _whole(header, "max_feature_idx") + 1
    if not 1 <= per_round <= MAX_RESULTS or features > MAX_FEATURES or len(blocks) % per_round:
        raise ConfigError(f"the model has {len(blocks)} trees, {per_round} to a round, of {features} features")
    link, sigmoid = _objective(header, classes, per_round)
    factor = per_round / len(blocks) if averaged else 1.0
    trees = [_tree(block, i, i % per_round, factor) for i, block in enumerate(blocks)]
    return Forest(features, trees, np.zeros(per_round), link, sigmoid)


def _sections(text: str) -> tuple[Fields, list[Fields], bool]:
    """Return the header, the trees, and whether their answers are averaged (as random forests are)."""
    header: Fields = {}
    blocks: list[Fields] = []
    averaged = ended = False
    current = header
    for line in text.splitlines()[1:]:
        key, separator, value = line.strip().partition("=")
        if key == "end of trees":
            ended = True
            break
        if key == "average_output" and not separator:
            averaged = True
        elif not separator:
            if key:
                raise ConfigError(f"the line {line[:60]!r} is not understood", hint=_HINT)
        elif key == "Tree":
            if value != str(len(blocks)) or len(blocks) >= MAX_TREES:
                raise ConfigError(f"tree {value[:20]!r} is out of order, or one of too many", hint=_HINT)
            current = {}
            blocks.append(current)
        elif key in current:
            raise ConfigError(f"{key[:40]!r} is given twice", hint=_HINT)
        else:
            current[key] = value
    if not ended:
        raise ConfigError("the model is cut short: `end of trees` is missing", hint=_HINT)
    return header, blocks, averaged


def _objective(header: Fields, classes: int, per_round: int) -> tuple[Link, float]:
    """Return the link and the steepness of its logistic function."""
    name, *rest = header.get("objective", "").split() or [""]
    parameters = dict(part.partition(":")[::2] for part in rest)
    unknown = parameters.keys() - _PARAMETERS - _TRAINING_ONLY
    if name not in LINKS or unknown:
        what = f" with {', '.join(sorted(unknown))}"[:60] if name in LINKS else ""
        raise UnsupportedModel(
            f"the objective {name[:40]!r}{what} is not supported", hint=f"known are {', '.join(sorted(LINKS))}"
        )
    link = LINKS[name]
    several = link in {"softmax", "one-vs-all"}
    if several != (per_round > 1) or (several and classes != per_round):
        raise ConfigError(f"the objective {name} has {classes} classes and {per_round} trees to a round")
    sigmoid = _floats(parameters.get("sigmoid", "1"), "sigmoid")
    if len(sigmoid) != 1 or not sigmoid[0] > 0:
        raise ConfigError(f"the sigmoid of the objective {name} is no positive number", hint=_HINT)
    return link, float(sigmoid[0])


def _tree(block: Fields, place: int, result: int, factor: float) -> Tree:
    here = f"tree {place}"
    count = _whole(block, "num_leaves")
    if block.get("is_linear", "0") != "0":
        raise UnsupportedModel(f"{here} has linear models in its leaves", hint="train with linear_tree=false")
    leaves = (_floats(_field(block, "leaf_value"), f"the leaves of {here}") * factor).tolist()
    if count == 1:
        return Tree([], leaves, result)
    left, right, features, kinds = (
        _integers(_field(block, key), f"{key} of {here}").tolist()
        for key in ("left_child", "right_child", "split_feature", "decision_type")
    )
    thresholds = _floats(_field(block, "threshold"), f"the thresholds of {here}")
    if {*map(len, (left, right, features, kinds, thresholds))} != {count - 1} or len(leaves) != count:
        raise ConfigError(f"the lists that describe {here} differ in length", hint=_HINT)
    sets = _categories(block, here) if any(kind & _CATEGORICAL for kind in kinds) else []
    splits = []
    for i, kind in enumerate(kinds):
        where = f"split {i} of {here}"
        if not 0 <= kind < 16 or kind >> _MISSING_SHIFT > _NAN:
            raise ConfigError(f"{where} has the unknown decision type {kind}", hint=_HINT)
        if kind & _CATEGORICAL:
            at = int(thresholds[i])
            if at != thresholds[i] or not 0 <= at < len(sets) or not sets[at]:
                raise ConfigError(f"{where} has no set of categories", hint=_HINT)
            members = sets[at]
            splits.append(Split(features[i], "in", np.float32(members[0]), left[i], right[i], False, members))
        else:
            missing = _missing(kind, float(thresholds[i]), where)
            splits.append(Split(features[i], "<=", _below(float(thresholds[i])), left[i], right[i], missing))
    return Tree(splits, leaves, result)


def _missing(kind: int, threshold: float, where: str) -> bool:
    """Return whether NaN goes to the left."""
    default_left = bool(kind & _DEFAULT_LEFT)
    what = kind >> _MISSING_SHIFT
    if what == _NAN:
        return default_left
    if what == _NONE:  # NaN is taken for 0
        return threshold >= 0
    zeros = {bool(np.float64(-_ZERO) <= threshold), bool(np.float64(_ZERO) <= threshold)}
    if zeros != {default_left}:
        raise UnsupportedModel(
            f"{where} sends zeros, as missing values, where the comparison with {threshold:g} does not",
            hint="train with zero_as_missing=false",
        )
    return default_left


def _below(threshold: float) -> np.float32:
    """Return the largest float32 that is not above: it parts float32 inputs as the double does."""
    with np.errstate(over="ignore"):
        found = np.float32(threshold)
    if float(found) > threshold:
        found = np.nextafter(found, np.float32(-np.inf))
    largest = np.finfo(np.float32).max
    return np.float32(min(max(found, -largest), largest))


def _categories(block: Fields, here: str) -> list[tuple[int, ...]]:
    """Return the sets that go to the left, which are kept as bits of 32-bit words."""
    bounds = _integers(_field(block, "cat_boundaries"), f"cat_boundaries of {here}")
    words = _integers(_field(block, "cat_threshold"), f"cat_threshold of {here}", 2**32)
    if not len(bounds) or bounds[0] != 0 or bounds[-1] != len(words) or (np.diff(bounds) < 1).any():
        raise ConfigError(f"the categories of {here} are not readable", hint=_HINT)
    if (words < 0).any() or np.diff(bounds).max(initial=0) * 32 > MAX_CATEGORIES:
        raise ConfigError(f"{here} has categories above {MAX_CATEGORIES}", hint="number the categories from 0")
    found = []
    for first, last in pairwise(bounds.tolist()):
        bits = np.unpackbits(words[first:last].astype("<u4").view(np.uint8), bitorder="little")
        found.append(tuple(np.flatnonzero(bits).tolist()))
    return found


def _field(fields: Fields, key: str) -> str:
    if key not in fields:
        raise ConfigError(f"the model lacks {key}", hint=_HINT)
    return fields[key]


def _whole(fields: Fields, key: str) -> int:
    text = _field(fields, key).strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConfigError(f"{key} is {text[:40]!r}, no count", hint=_HINT)
    return int(text)


def _integers(text: str, what: str, limit: int = 2**31) -> np.ndarray:
    try:
        found = np.array([int(part) for part in text.split()], dtype=np.int64)
    except (ValueError, OverflowError):
        raise ConfigError(f"{what} holds something else than integers", hint=_HINT) from None
    if len(found) and (found.min() < -limit or found.max() >= limit):
        raise ConfigError(f"{what} holds an integer that is too large", hint=_HINT)
    return found


def _floats(text: str, what: str) -> np.ndarray:
    try:
        found = np.array([float(part) for part in text.split()], dtype=np.float64)
    except ValueError:
        raise ConfigError(f"{what} hold something else than numbers", hint=_HINT) from None
    if not np.isfinite(found).all():
        raise ConfigError(f"{what} hold infinity or NaN", hint=_HINT)
    return found
