"""A converter's settings: from the command line to the one converter that the file's ending names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from balance_core.cli.options import plugin_settings
from balance_core.conversion import load_model, random_samples
from balance_core.errors import ConfigError

EXAMPLES = Path(__file__).parents[2] / "examples" / "rules"


@pytest.fixture
def pickled(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    path = tmp_path / "model.joblib"
    joblib.dump(LogisticRegression().fit(x, x[:, 0] > 0), path)
    return path


def test_onnx_is_imported_where_a_converter_makes_it_and_not_where_one_is_looked_for():
    code = """
import sys
from importlib.metadata import distribution
for point in distribution("balance-core").entry_points.select(group="balance.converters"):
    point.load()
print(sorted({"onnx", "onnxruntime", "sklearn", "yaml"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_trust_comes_from_the_flag_or_the_option():
    assert plugin_settings(None, trust_pickle=True)["converter_settings"] == {"trust_pickle": True}
    assert plugin_settings(["converter.trust_pickle=true"])["converter_settings"] == {"trust_pickle": True}
    assert plugin_settings([])["converter_settings"] == {}


def test_a_pickle_is_loaded_with_trust_only(pickled):
    with pytest.raises(ConfigError, match="can run any code"):
        load_model(pickled, {})
    assert load_model(pickled, {}, {"trust_pickle": True}).inputs[0].shape == (1, 3)


def test_settings_that_the_converter_does_not_have_are_refused():
    with pytest.raises(ConfigError, match="rules has no setting 'trust_pickle'"):
        load_model(EXAMPLES / "bank.yaml", {}, {"trust_pickle": True})
    with pytest.raises(ConfigError, match="ONNX already"):
        load_model(Path("model.onnx"), {}, {"trust_pickle": True})


def test_random_inputs_of_a_rule_set_fill_the_ranges_of_its_facts():
    model = load_model(EXAMPLES / "bank.yaml", {})
    drawn = random_samples(model)
    assert drawn["age"].min() >= 16
    assert drawn["age"].max() <= 110
    assert len(np.unique(drawn["age"])) > 10
    assert set(np.unique(drawn["bankrupt"])) == {0, 1}
