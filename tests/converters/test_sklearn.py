"""scikit-learn's models: converted as they predict, and opened only when that runs nobody's code."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile

import joblib
import numpy as np
import onnxruntime
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from skops import io as skops

from balance_core.converters import sklearn
from balance_core.converters.sklearn import SklearnConverter, SklearnSettings
from balance_core.errors import ConfigError, ToolNotFound, UnsupportedModel
from balance_core.integer.calibration import calibrate
from balance_core.integer.executor import execute
from balance_core.integer.settings import IntegerSettings
from balance_core.model import load
from tests.converters.mutations import try_all

ROWS = 300
TRUSTING = SklearnConverter(SklearnSettings(trust_pickle=True))
WORDS = [
    b"\x00",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"builtins",
    b"os",
    b"system",
    b'"',
    b"{}",
    b"-1",
    b"\xff\xff\xff\xff",
]


def data():
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 4)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int), np.digitize(x[:, 0], [-0.5, 0.5])


X, TWO, THREE = data()
MODELS = {
    "tree": DecisionTreeClassifier(random_state=0).fit(X, THREE),
    "forest": RandomForestClassifier(5, random_state=0).fit(X, TWO),
    "boosted": GradientBoostingClassifier(n_estimators=4, random_state=0).fit(X, THREE),
    "scaled": make_pipeline(StandardScaler(), LogisticRegression()).fit(X, TWO),
    "network": MLPClassifier((8,), solver="lbfgs", max_iter=50, random_state=0),
    "columns": make_pipeline(
        ColumnTransformer([("a", StandardScaler(), [0, 2]), ("b", MinMaxScaler(), slice(3, 4))]), LogisticRegression()
    ).fit(X, TWO),
    "margin": LinearSVC().fit(X, TWO),
}


@pytest.fixture(autouse=True, scope="module")
def _fitted():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MODELS["network"].fit(X, THREE)


def answers(proto, x):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": x}), strict=True))


def saved(model, tmp_path):
    skops.dump(model, tmp_path / "model.skops")
    return tmp_path / "model.skops"


@pytest.mark.parametrize("name", MODELS)
def test_classifiers_answer_as_scikit_learn_does(name, tmp_path):
    model = MODELS[name]
    proto = SklearnConverter().convert(saved(model, tmp_path))
    found = answers(proto, X)
    np.testing.assert_array_equal(found["label"], model.predict(X))
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(X), atol=1e-5)
    normal = load.load(proto)
    assert [spec.shape for spec in normal.inputs] == [(1, 4)]


@pytest.mark.parametrize("model", [Ridge(), RandomForestRegressor(4, random_state=0)], ids=["linear", "forest"])
def test_regressors_answer_as_scikit_learn_does(model, tmp_path):
    model.fit(X, X[:, 0] * X[:, 1])
    found = answers(SklearnConverter().convert(saved(model, tmp_path)), X)["variable"]
    np.testing.assert_allclose(found[:, 0], model.predict(X), atol=1e-5)


def test_the_integer_model_of_a_tree_agrees_exactly(tmp_path):
    model = load.load(SklearnConverter().convert(saved(MODELS["tree"], tmp_path)))
    found = calibrate(model.proto(), {"x": X.reshape(-1, 1, 4)}, IntegerSettings(min_agreement=1.0, samples=ROWS))
    assert found.report.suffices
    labels = np.asarray(execute(found.model, {"x": X.reshape(-1, 1, 4)}).reals["label"]).ravel()
    np.testing.assert_array_equal(labels, MODELS["tree"].predict(X))


class Boom:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (os.environ["BOOM"],)


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".joblib"])
def test_a_pickle_is_not_opened_without_trust(suffix, tmp_path, monkeypatch):
    monkeypatch.setenv("BOOM", str(tmp_path / "boom"))
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Boom()))
    with pytest.raises(ConfigError, match="can run any code") as caught:
        SklearnConverter().convert(path)
    assert "skops" in (caught.value.hint or "")
    assert "--trust-pickle" in (caught.value.hint or "")
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("suffix", [".pkl", ".joblib"])
def test_a_trusted_pickle_is_opened(suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    joblib.dump(MODELS["scaled"], path)
    found = answers(TRUSTING.convert(path), X)
    np.testing.assert_array_equal(found["label"], MODELS["scaled"].predict(X))


def test_a_trusted_pickle_of_something_else_is_refused(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ConfigError, match="holds a dict, no estimator"):
        TRUSTING.convert(path)
    path.write_bytes(b"\x80\x04garbage")
    with pytest.raises(ConfigError, match="no readable pickle"):
        TRUSTING.convert(path)


def test_unknown_types_in_a_skops_file_are_refused_by_name_and_taken_when_named(tmp_path):
    model = make_pipeline(FunctionTransformer(np.linalg.norm), LogisticRegression())
    path = saved(model, tmp_path)
    with pytest.raises(ConfigError, match=r"not known as harmless: .*norm"):
        SklearnConverter().convert(path)
    named = tuple(skops.get_untrusted_types(file=path))
    with pytest.raises(ConfigError, match="not fitted"):
        SklearnConverter(SklearnSettings(trusted_types=named)).convert(path)


def test_a_crafted_tree_is_refused_before_anything_uses_it(tmp_path):
    from sklearn.tree import DecisionTreeClassifier as Fresh

    for change in ("outside", "circle", "feature"):
        model = Fresh(max_depth=3, random_state=0).fit(X, THREE)
        state = model.tree_.__getstate__()
        nodes = state["nodes"].copy()
        if change == "feature":
            nodes["feature"][0] = 4000
        else:
            nodes["left_child"][0] = 10**6 if change == "outside" else 0
        state["nodes"] = nodes
        model.tree_.__setstate__(state)
        path = saved(model, tmp_path)
        with pytest.raises(ConfigError, match=r"decision tree|no readable skops"):
            SklearnConverter().convert(path)


def test_what_has_no_converter_and_what_is_not_fitted_is_refused(tmp_path):
    model = make_pipeline(FunctionTransformer(np.abs), LogisticRegression()).fit(X, TWO)
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    with pytest.raises(UnsupportedModel, match="cannot convert the Pipeline") as caught:
        TRUSTING.convert(path)
    assert "\n" not in caught.value.message
    with pytest.raises(ConfigError, match="not fitted"):
        SklearnConverter().convert(saved(LogisticRegression(), tmp_path))


def test_a_bomb_of_zeros_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(sklearn, "MAX_BYTES", 2**20)
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}")
        with archive.open("x.npy", "w", force_zip64=True) as file:
            for _ in range(2):
                file.write(bytes(2**20))
    with pytest.raises(ConfigError, match="unpacks to more"):
        SklearnConverter().convert(path)


def test_a_missing_library_is_named_with_what_installs_it(tmp_path, monkeypatch):
    path = saved(MODELS["tree"], tmp_path)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ToolNotFound) as caught:
        SklearnConverter().convert(path)
    assert caught.value.hint == "pip install 'balance-core[sklearn]'"


def soaked(seeds, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(skops.dumps(MODELS["tree"]))) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return try_all(SklearnConverter().convert, buffer.getvalue(), seeds, WORDS, tmp_path / "model.skops")


def test_mutated_skops_files_are_read_or_refused(tmp_path):
    assert soaked(range(100), tmp_path)["refused"]


@pytest.mark.soak
def test_ten_thousand_mutated_skops_files_are_read_or_refused(tmp_path):
    assert soaked(range(10_000), tmp_path)["refused"]
