"""LightGBM's files: the same answers as the library, which the conversion does not need."""

from __future__ import annotations

import re
import subprocess
import sys

import lightgbm
import numpy as np
import onnxruntime
import pytest

from balance_core.converters.lightgbm import LINKS, LightGBMConverter
from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.integer.calibration import calibrate
from balance_core.integer.executor import execute
from balance_core.integer.settings import IntegerSettings
from balance_core.model import load
from tests.converters.mutations import try_all

ROWS = 400
WORDS = [
    b"-1", b"99999999999", b"nan", b"inf", b"1e400", b"=", b"\n", b"Tree=0\n", b"Tree=7\n", b"num_leaves=1\n", b" ",
    b"num_leaves=999999999\n", b"end of trees\n", b"\xff", b"decision_type=1 1 1\n", b"cat_threshold=4294967296\n",
    b"is_linear=1\n", b"objective=custom\n", b"sigmoid:0",
]  # fmt: skip


def data(seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(ROWS, 5)).astype(np.float32)
    x[:, 3] = random.integers(0, 40, ROWS)
    x[:, 4] = np.round(x[:, 4], 1)
    return x, (x[:, 0] + x[:, 1] * x[:, 2] + 0.05 * x[:, 3] > 1).astype(int), np.digitize(x[:, 0], [-0.5, 0.5])


def trained(parameters, labels, x, rounds=5, **options):
    usual = {"verbose": -1, "num_leaves": 8, "min_data_in_leaf": 5, "num_threads": 1, "seed": 1}
    return lightgbm.train({**usual, **parameters}, lightgbm.Dataset(x, labels, **options), rounds)


def answers(proto, x):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": x}), strict=True))


def converted(booster, tmp_path):
    path = tmp_path / "model.txt"
    booster.save_model(path)
    return LightGBMConverter().convert(path)


def at_thresholds(booster, x):
    """Return inputs at the float32 numbers around every threshold of the trees, which are doubles."""
    x, row = x.copy(), 0
    text = booster.model_to_string()
    pairs = zip(
        re.findall(r"^split_feature=(.*)$", text, re.MULTILINE),
        re.findall(r"^threshold=(.*)$", text, re.MULTILINE),
        strict=True,
    )
    for features, thresholds in pairs:
        for feature, value in zip(features.split(), thresholds.split(), strict=True):
            if row + 3 <= len(x):
                at = np.float32(value)
                around = [np.nextafter(at, np.float32(-9e9)), at, np.nextafter(at, np.float32(9e9))]
                x[row : row + 3, int(feature)] = around
                row += 3
    return x


@pytest.mark.parametrize(
    "parameters",
    [
        {"objective": "binary"},
        {"objective": "binary", "sigmoid": 2.5},
        {"objective": "binary", "boosting": "dart"},
        {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
        {"objective": "multiclass", "num_class": 3},
        {"objective": "multiclassova", "num_class": 3},
    ],
    ids=lambda p: "-".join(map(str, p.values())),
)
def test_classifiers_answer_as_the_library_does(parameters, tmp_path):
    x, two, three = data()
    booster = trained(parameters, three if "num_class" in parameters else two, x)
    x = at_thresholds(booster, x)
    found = answers(converted(booster, tmp_path), x)
    expected = booster.predict(x)
    shares = found["probabilities"] if expected.ndim > 1 else found["probabilities"][:, 1]
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    wanted = expected.argmax(axis=1) if expected.ndim > 1 else expected > 0.5
    np.testing.assert_array_equal(found["label"], wanted)


@pytest.mark.parametrize(
    "objective", sorted(o for o, link in LINKS.items() if link in {"identity", "exp", "sigmoid"})
)
def test_regressions_and_rankers_answer_as_the_library_does(objective, tmp_path):
    x, two, _ = data()
    ranks = "rank" in objective
    labels = two if ranks or objective == "cross_entropy" else np.abs(x[:, 0]) + 0.1
    booster = trained({"objective": objective}, labels, x, **({"group": [20] * (ROWS // 20)} if ranks else {}))
    x = at_thresholds(booster, x)
    found = answers(converted(booster, tmp_path), x)["value"]
    np.testing.assert_allclose(found[:, 0], booster.predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("one_hot", [1, 60])
def test_categories_and_missing_values_go_the_way_that_the_library_sends_them(one_hot, tmp_path):
    x, _, _ = data()
    x[::7, 1] = np.nan
    labels = np.isin(x[:, 3], [1, 4, 5, 18, 33, 34, 35]).astype(int) ^ (x[:, 0] > 1)
    parameters = {"objective": "binary", "max_cat_to_onehot": one_hot, "min_data_per_group": 1, "cat_smooth": 0}
    booster = trained(parameters, labels, x, categorical_feature=[3])
    assert "num_cat=0" not in booster.model_to_string()
    x[:150, 3] = np.repeat(np.arange(50), 3)  # beyond the categories of training, too
    x[200:220, 3] = np.nan
    x[220:230, 3] = -1
    found = answers(converted(booster, tmp_path), x)["probabilities"][:, 1]
    np.testing.assert_allclose(found, booster.predict(x), atol=1e-6)


def test_nan_counts_as_zero_where_training_saw_none_missing(tmp_path):
    x, two, _ = data()
    booster = trained({"objective": "binary", "use_missing": False}, two, x)
    x[::3] = np.where(np.random.default_rng(1).random((len(x[::3]), 5)) < 0.5, np.nan, x[::3])
    found = answers(converted(booster, tmp_path), x)["probabilities"][:, 1]
    np.testing.assert_allclose(found, booster.predict(x), atol=1e-6)


def test_zero_as_missing_is_refused_by_name_where_a_comparison_would_differ(tmp_path):
    x, two, _ = data()
    x[np.random.default_rng(0).random(x.shape) < 0.4] = 0
    booster = trained({"objective": "binary", "zero_as_missing": True}, two, x)
    with pytest.raises(UnsupportedModel, match=r"split \d+ of tree \d+ sends zeros") as caught:
        converted(booster, tmp_path)
    assert caught.value.hint == "train with zero_as_missing=false"


def test_the_integer_model_agrees_exactly_and_the_report_says_at_how_many_bits(tmp_path):
    x, two, _ = data()
    x, fresh = x[:300], x[300:]
    booster = trained({"objective": "binary"}, two[:300], x)
    model = load.load(converted(booster, tmp_path))
    found = calibrate(model.proto(), {"x": x.reshape(-1, 1, 5)}, IntegerSettings(min_agreement=1.0, max_error=0.01))
    assert found.report.suffices
    assert found.report.chosen.agreement == 1.0
    assert 6 <= found.report.chosen.bits <= 14
    labels = np.asarray(execute(found.model, {"x": fresh.reshape(-1, 1, 5)}).reals["label"]).ravel()
    assert (labels == (booster.predict(fresh) > 0.5)).mean() >= 0.99


def test_the_library_is_not_needed_to_convert(tmp_path):
    x, two, _ = data()
    trained({"objective": "binary"}, two, x).save_model(tmp_path / "model.txt")
    code = (
        "import sys; sys.modules['lightgbm'] = None; from pathlib import Path\n"
        "from balance_core.converters.lightgbm import LightGBMConverter\n"
        f"LightGBMConverter().convert(Path({str(tmp_path / 'model.txt')!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("pattern", "new", "error", "what"),
    [
        (r"^tree$", "forest", ConfigError, "no model of LightGBM"),
        (r"objective=binary", "objective=custom", UnsupportedModel, "custom"),
        (r"objective=binary", "objective=regression sqrt", UnsupportedModel, "sqrt"),
        (r"sigmoid:1", "sigmoid:-1", ConfigError, "sigmoid"),
        (r"end of trees", "", ConfigError, "not understood"),
        (r"is_linear=0", "is_linear=1", UnsupportedModel, "tree 0 has linear"),
        (r"left_child=\S+", "left_child=0", ConfigError, "tree 0 reaches node 0 twice"),
        (r"left_child=\S+", "left_child=999", ConfigError, "tree 0 leads to node 999"),
        (r"left_child=\S+ ", "left_child=", ConfigError, "differ in length"),
        (r"threshold=\S+", "threshold=nan", ConfigError, "thresholds of tree 0"),
        (r"split_feature=\S+", "split_feature=5", ConfigError, "feature 5 of 5"),
        (r"decision_type=\S+", "decision_type=74", ConfigError, "split 0 of tree 0"),
        (r"leaf_value=\S+", "leaf_value=1e300", ConfigError, "leaf"),
        (r"Tree=1", "Tree=3", ConfigError, "out of order"),
        (r"max_feature_idx=4", "max_feature_idx=99999999", ConfigError, "features"),
        (r"num_tree_per_iteration=1", "num_tree_per_iteration=2", ConfigError, "2 trees|2 to a round"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_name(pattern, new, error, what, tmp_path):
    x, two, _ = data()
    text = trained({"objective": "binary"}, two, x, rounds=3).model_to_string()
    changed = re.sub(pattern, new, text, count=1, flags=re.MULTILINE)
    assert changed != text
    (tmp_path / "model.txt").write_text(changed)
    with pytest.raises(error, match=what):
        LightGBMConverter().convert(tmp_path / "model.txt")


def soaked(seeds, tmp_path):
    x, two, _ = data()
    booster = trained({"objective": "binary", "min_data_per_group": 1}, two, x, rounds=2, categorical_feature=[3])
    path = tmp_path / "model.txt"
    booster.save_model(path)
    return try_all(LightGBMConverter().convert, path.read_bytes(), seeds, WORDS, path)


def test_mutated_models_are_read_or_refused(tmp_path):
    assert min(soaked(range(150), tmp_path).values()) > 0


@pytest.mark.soak
def test_ten_thousand_mutated_models_are_read_or_refused(tmp_path):
    assert min(soaked(range(10_000), tmp_path).values()) > 0
