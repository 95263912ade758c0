from __future__ import annotations

import numpy as np
import pytest

from balance_core import registry
from balance_core.testing import models


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a tiny network, a retrained twin, and inputs for both."""
    if "ezkl" not in registry.names("backends"):
        pytest.skip("balance-ezkl is not installed")
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.onnx").write_bytes(models.mlp(seed=1).SerializeToString())
    (folder / "twin.onnx").write_bytes(models.mlp(seed=2).SerializeToString())
    np.save(folder / "x.npy", np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def used_home(tmp_path_factory):
    """A data folder that the tests of a module share, so that each setup is made once."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("data") / "home"
        patch.setenv("BALANCE_HOME", str(folder))
        yield folder
