"""The SDK's class, with proofs made here."""

from __future__ import annotations

import numpy as np
import pytest
from balance_orion.giza import GizaModel

from balance_core.errors import ConfigError
from balance_core.testing.models import mlp

pytest.importorskip("balance_orion_prover")


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))
    target = tmp_path / "model.onnx"
    target.write_bytes(mlp(seed=1).SerializeToString())
    return target


FEED = {"x": np.array([[0.5, -0.25, 0.75, 0.1]], dtype=np.float32)}


def test_predicts_as_the_float_model(path):
    result, handle = GizaModel(model_path=str(path)).predict(input_feed=FEED)
    assert result.shape == (1, 3)
    assert handle is None


@pytest.mark.slow
def test_a_verifiable_prediction_comes_with_a_proof_that_is_checked_here(path):
    model = GizaModel(model_path=path)
    expected, _ = model.predict(input_feed=FEED)
    result, handle = model.predict(input_feed=FEED, verifiable=True, fp_impl="FP16x16")
    assert np.abs(result - expected).max() < 0.01
    assert handle.verify().statements == (handle.run.statement,)
    assert str(handle) == handle.run.statement.context
    assert [tensor.scale for tensor in handle.run.statement.inputs] == [2**-16]


@pytest.mark.parametrize("options", [{"id": 3, "version": 1}, {}])
def test_models_of_the_service_are_refused_with_a_hint(options):
    with pytest.raises(ConfigError) as refused:
        GizaModel(**options)
    assert "model_path" in refused.value.hint


def test_unknown_formats_and_missing_inputs_are_refused(path):
    with pytest.raises(ConfigError, match="FP64x64"):
        GizaModel(model_path=path).predict(input_feed=FEED, verifiable=True, fp_impl="FP64x64")
    with pytest.raises(ConfigError, match="nothing to predict"):
        GizaModel(model_path=path).predict(verifiable=True)
