"""A test set's file: the inputs by the names of the model's inputs, and the labels."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from balance_core.errors import ConfigError
from balance_core.model.inputs import as_batch, read_inputs
from balance_core.records import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from balance_core.contracts import Batch

LABELS = ("y", "labels", "label", "targets", "target")
"""What the labels may be called beside the inputs."""


def read_test_set(path: Path, specs: Sequence[TensorSpec], labels: Path | None = None) -> tuple[Batch, np.ndarray]:
    """Read inputs and labels from one .npz, or the labels from a file of their own; raises ConfigError."""
    batch = as_batch(read_inputs(path, specs), specs)
    name = "labels" if labels is not None else _label_name(path, {spec.name for spec in specs})
    spec = TensorSpec(name=name, dtype="float64", shape=())
    return batch, read_inputs(labels or path, [spec])[name]


def _label_name(path: Path, inputs: set[str]) -> str:
    names: list[str] = []
    if path.suffix.lower() == ".npz":
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
        except (OSError, zipfile.BadZipFile) as error:
            raise ConfigError(f"{path} is not a readable .npz file: {error}") from error
    found = [name for name in LABELS if name in names and name not in inputs]
    if not found:
        raise ConfigError(
            f"{path} holds no labels", hint="name them y in the .npz, or give their file with --labels y.npy"
        )
    return found[0]
