"""What travels tells nothing of private weights."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import balance_core as balance
from balance_core.testing.models import mlp

from .workshop import native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]


def test_a_bundle_does_not_name_the_model_whose_weights_are_private(tmp_path):
    onnx.save(mlp(seed=1), tmp_path / "mlp.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(-1, 1, (4, 1, 4)).astype(np.float32))
    run = balance.run(tmp_path / "mlp.onnx", tmp_path / "x.npy", backend="zkml_halo2")
    bundle = balance.read_bundle(run.bundle)
    secret = run.receipt.model.model_id.encode()
    assert bundle.registration.check().model_id is None
    assert bundle.commitment is not None
    assert all(secret not in claim for claim in bundle.claims.values())
