from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent / "plugins"))

from compare_site import install

from balance_core.compare.machine import LOCK_VARIABLE
from balance_core.testing import models


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A folder with two tiny networks, and the inputs of each."""
    folder = tmp_path_factory.mktemp("small")
    for seed, name in ((1, "one"), (2, "two")):
        (folder / f"{name}.onnx").write_bytes(models.mlp(seed=seed).SerializeToString())
        np.savez(folder / f"{name}.npz", x=np.random.default_rng(seed).standard_normal((12, 4)).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of the module's own, with a data folder and a lock of its own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("compare")
        patch.setenv("BALANCE_HOME", str(folder / "home"))
        patch.setenv(LOCK_VARIABLE, str(folder / "lock"))
        yield folder


@pytest.fixture(scope="module")
def installed(place):
    """A function that installs backends for the module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        yield lambda backends, chains=None: install(place / "site", patch, backends, chains)
