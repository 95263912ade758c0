"""Registrations of the reference backend are reproduced by the recipe in their settings, without samples."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import balance_core as balance
from balance_core.errors import ConfigError
from balance_core.testing.models import mlp


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproduction")
    onnx.save(mlp(seed=1), folder / "mlp.onnx")
    for name, factor in (("retrained", 0.97), ("larger", 5.0)):
        proto = mlp(seed=1)
        for tensor in proto.graph.initializer:
            values = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(proto, folder / f"{name}.onnx")
    np.save(folder / "x.npy", np.random.default_rng(0).uniform(-1, 1, (20, 1, 4)).astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BALANCE_HOME", str(folder / "home"))
        yield folder, balance.run(folder / "mlp.onnx", folder / "x.npy", backend="integer")


def test_the_registered_model_is_recognised_and_a_retrained_one_is_not(place):
    folder, run = place
    assert balance.reproduce(folder / "mlp.onnx", run.bundle).agrees
    assert not balance.reproduce(folder / "retrained.onnx", run.bundle).agrees
    with pytest.raises(ConfigError, match=r"weights of \w+ reach"):
        balance.reproduce(folder / "larger.onnx", run.bundle)


def test_what_travels_holds_a_recipe_and_no_sample(place):
    folder, run = place
    making = json.loads(balance.read_bundle(run.bundle).claims["making"])
    assert json.loads(making["settings"]["recipe"])["choices"]
    text = json.dumps(making["settings"])
    first = np.load(folder / "x.npy")[0, 0]
    assert not any(f"{value:.4f}"[1:] in text for value in first)
    assert len(text) < 2000


def test_a_commit_stage_runs_only_where_there_is_something_to_commit_to(place):
    _, run = place
    assert "commit" not in [stage.stage for stage in run.receipt.stages]
