"""XGBoost's files: the same answers as the library, which the conversion does not need."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import xgboost

from balance_core.converters.xgboost import LINKS, XGBoostConverter
from balance_core.converters.xgboost_json import decode
from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.integer.calibration import calibrate
from balance_core.integer.executor import execute
from balance_core.integer.settings import IntegerSettings
from balance_core.model import load
from tests.converters.mutations import try_all

ROWS = 400
WORDS = [
    b"-1", b"99999999999", b"[]", b"{}", b"null", b"true", b"1e400", b"NaN", b'"', b"[1,2]",
    b"[[[[[[[[", b"0.5", b",",
    b"L\xff\xff\xff\xff\xff\xff\xff\xff", b"[$l#L\x00\x00\x00\x7f\x00\x00\x00\x00", b"[#i\x7f", b"Z", b"{" * 40,
]  # fmt: skip


def data(seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(ROWS, 5)).astype(np.float32)
    x[:, 3] = random.integers(0, 9, ROWS)
    x[:, 4] = np.round(x[:, 4], 1)
    return x, (x[:, 0] + x[:, 1] * x[:, 2] + 0.2 * x[:, 3] > 0.5).astype(int), np.digitize(x[:, 0], [-0.5, 0.5])


def trained(parameters, labels, x, rounds=6, **options):
    matrix = xgboost.DMatrix(x, labels, **options)
    return xgboost.train({"max_depth": 3, "seed": 1, "nthread": 1, **parameters}, matrix, rounds)


def answers(proto, x):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": x}), strict=True))


def at_thresholds(booster, x):
    """Return inputs at the very thresholds of the trees, and at the floats beside them."""
    trees = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
    trees = trees.get("gbtree", trees)["model"]["trees"]
    x = x.copy()
    row = 0
    for tree in trees:
        for child, feature, value in zip(
            tree["left_children"], tree["split_indices"], tree["split_conditions"], strict=True
        ):
            if child != -1 and row + 3 <= len(x):
                at = np.float32(value)
                x[row : row + 3, feature] = [
                    np.nextafter(at, np.float32(-9e9)),
                    at,
                    np.nextafter(at, np.float32(9e9)),
                ]
                row += 3
    return x


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"objective": "binary:logistic"},
        {"objective": "binary:logistic", "base_score": 0.2},
        {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5},
        {"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.5},
        {"objective": "multi:softprob", "num_class": 3},
        {"objective": "multi:softmax", "num_class": 3},
        {"objective": "binary:hinge"},
    ],
    ids=lambda p: "-".join(map(str, p.values())),
)
def test_classifiers_answer_as_the_library_does(parameters, suffix, tmp_path):
    x, two, three = data()
    booster = trained(parameters, three if "num_class" in parameters else two, x)
    path = tmp_path / f"model{suffix}"
    booster.save_model(path)
    x = at_thresholds(booster, x)
    found = answers(XGBoostConverter().convert(path), x)
    expected = booster.predict(xgboost.DMatrix(x))
    if parameters["objective"] in {"multi:softmax", "binary:hinge"}:
        np.testing.assert_array_equal(found["label"], expected)
        return
    shares = found["probabilities"] if expected.ndim > 1 else found["probabilities"][:, 1]
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    wanted = expected.argmax(axis=1) if expected.ndim > 1 else expected > 0.5
    np.testing.assert_array_equal(found["label"], wanted)


@pytest.mark.parametrize(
    "objective", sorted(o for o in LINKS if o.startswith(("reg:", "count:")) or o.endswith("raw"))
)
def test_regressions_answer_as_the_library_does(objective, tmp_path):
    x, two, _ = data()
    labels = two if objective in {"reg:logistic", "binary:logitraw"} else np.abs(x[:, 0]) + 0.1
    extra = {"quantile_alpha": 0.4} if "quantile" in objective else {}
    booster = trained({"objective": objective, **extra}, labels, x)
    booster.save_model(tmp_path / "model.json")
    x = at_thresholds(booster, x)
    found = answers(XGBoostConverter().convert(tmp_path / "model.json"), x)["value"]
    np.testing.assert_allclose(found[:, 0], booster.predict(xgboost.DMatrix(x)), rtol=1e-5, atol=1e-6)


def test_rankers_answer_as_the_library_does(tmp_path):
    x, two, _ = data()
    booster = trained({"objective": "rank:ndcg"}, two, x, qid=np.arange(ROWS) // 20)
    booster.save_model(tmp_path / "model.ubj")
    found = answers(XGBoostConverter().convert(tmp_path / "model.ubj"), x)["value"]
    np.testing.assert_allclose(found[:, 0], booster.predict(xgboost.DMatrix(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("one_hot", [1, 100])
def test_categories_and_missing_values_go_the_way_that_the_library_sends_them(one_hot, tmp_path):
    x, _, _ = data()
    x[::7, 1] = np.nan
    x[::11, 3] = np.nan
    labels = np.isin(x[:, 3], [1, 4, 5, 8]).astype(int) ^ (x[:, 0] > 1)
    kinds = {"feature_types": ["q", "q", "q", "c", "q"], "enable_categorical": True}
    parameters = {"objective": "binary:logistic", "max_cat_to_onehot": one_hot, "tree_method": "hist"}
    booster = trained(parameters, labels, x, **kinds)
    booster.save_model(tmp_path / "model.json")
    x[: 3 * 14, 3] = np.repeat(np.arange(14), 3)  # beyond the categories of training, too
    found = answers(XGBoostConverter().convert(tmp_path / "model.json"), x)["probabilities"][:, 1]
    np.testing.assert_allclose(found, booster.predict(xgboost.DMatrix(x, **kinds)), atol=1e-6)


def test_early_stopping_counts_where_scikit_learns_interface_saved_the_model(tmp_path):
    x, two, _ = data()
    model = xgboost.XGBClassifier(n_estimators=60, max_depth=3, early_stopping_rounds=2, learning_rate=0.9, n_jobs=1)
    model.fit(x[:200], two[:200], eval_set=[(x[200:], two[200:])], verbose=False)
    model.save_model(tmp_path / "model.json")
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    found = answers(XGBoostConverter().convert(tmp_path / "model.json"), x)
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(x), atol=1e-6)
    np.testing.assert_array_equal(found["label"], model.predict(x))


def test_the_integer_model_agrees_exactly_and_the_report_says_at_how_many_bits(tmp_path):
    x, two, _ = data()
    x, fresh = x[:300], x[300:]
    booster = trained({"objective": "binary:logistic"}, two[:300], x)
    booster.save_model(tmp_path / "model.json")
    model = load.load(XGBoostConverter().convert(tmp_path / "model.json"))
    given = {"x": x.reshape(-1, 1, 5)}
    found = calibrate(model.proto(), given, IntegerSettings(min_agreement=1.0, max_error=0.01))
    assert found.report.suffices
    assert found.report.chosen.agreement == 1.0
    assert 6 <= found.report.chosen.bits <= 14
    labels = np.asarray(execute(found.model, {"x": fresh.reshape(-1, 1, 5)}).reals["label"]).ravel()
    expected = booster.predict(xgboost.DMatrix(fresh)) > 0.5
    assert (labels == expected).mean() >= 0.99


def test_the_library_is_not_needed_to_convert(tmp_path):
    x, two, _ = data()
    trained({"objective": "binary:logistic"}, two, x).save_model(tmp_path / "model.ubj")
    code = (
        "import sys; sys.modules['xgboost'] = None; from pathlib import Path\n"
        "from balance_core.converters.xgboost import XGBoostConverter\n"
        f"XGBoostConverter().convert(Path({str(tmp_path / 'model.ubj')!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = tmp_path_factory.mktemp("xgboost") / "model.json"
    x, two, _ = data()
    trained({"objective": "binary:logistic"}, two, x, rounds=2).save_model(path)
    return json.loads(path.read_text())


def changed(document, path, value, tmp_path):
    copy = json.loads(json.dumps(document))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    target = tmp_path / "model.json"
    target.write_text(json.dumps(copy))
    return target


TREE = ("learner", "gradient_booster", "model", "trees", 0)


@pytest.mark.parametrize(
    ("path", "value", "error", "what"),
    [
        (("learner", "objective", "name"), "survival:cox", UnsupportedModel, "survival:cox"),
        (("learner", "gradient_booster", "name"), "gblinear", UnsupportedModel, "gblinear"),
        (("learner", "learner_model_param", "base_score"), "1.5", ConfigError, "base score"),
        (("learner", "learner_model_param", "num_feature"), "2", ConfigError, "feature"),
        (("learner", "learner_model_param", "num_feature"), "-3", ConfigError, "num_feature"),
        (("learner", "gradient_booster", "model", "tree_info"), [0], ConfigError, "differ in length"),
        (("learner", "gradient_booster", "model", "tree_info"), [0, 7], ConfigError, "result 7"),
        ((*TREE, "left_children", 0), 0, ConfigError, "tree 0 is no tree"),
        ((*TREE, "left_children", 0), 10**6, ConfigError, "tree 0 is no tree"),
        ((*TREE, "split_conditions", 0), 1e300, ConfigError, "split_conditions"),
        ((*TREE, "split_conditions", 0), "x", ConfigError, "split_conditions"),
        ((*TREE, "split_type", 0), 1, ConfigError, "no categories"),
        ((*TREE, "tree_param", "size_leaf_vector"), "3", UnsupportedModel, "vectors"),
        (("learner",), [], ConfigError, "no learner"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_name(document, path, value, error, what, tmp_path):  # noqa: PLR0917
    with pytest.raises(error, match=what):
        XGBoostConverter().convert(changed(document, path, value, tmp_path))


def test_another_json_file_is_told_from_a_model(tmp_path):
    path = tmp_path / "model.json"
    path.write_text('{"input_data": [[1, 2]]}')
    with pytest.raises(ConfigError, match="no model of XGBoost"):
        XGBoostConverter().convert(path)


def test_both_formats_hold_the_same(tmp_path):
    x, two, _ = data()
    booster = trained({"objective": "binary:logistic"}, two, x)
    protos = []
    for suffix in (".json", ".ubj"):
        booster.save_model(tmp_path / f"model{suffix}")
        protos.append(XGBoostConverter().convert(tmp_path / f"model{suffix}").SerializeToString())
        assert decode((tmp_path / f"model{suffix}").read_bytes(), "model")["version"][0] >= 3
    assert protos[0] == protos[1]


def soaked(suffix, seeds, tmp_path):
    x, two, _ = data()
    path = tmp_path / f"model{suffix}"
    trained({"objective": "binary:logistic"}, two, x, rounds=2).save_model(path)
    return try_all(XGBoostConverter().convert, path.read_bytes(), seeds, WORDS, path)


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_mutated_models_are_read_or_refused(suffix, tmp_path):
    assert soaked(suffix, range(150), tmp_path)["refused"]


@pytest.mark.soak
@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_ten_thousand_mutated_models_are_read_or_refused(suffix, tmp_path):
    assert soaked(suffix, range(10_000), tmp_path)["refused"]
