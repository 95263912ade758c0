from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest

from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.model import reference
from balance_core.model.expand import expand
from balance_core.model.load import load
from balance_core.model.normalise import normalise

EVERY = 8
"""One case of so many is tried, so that the suite stays fast; a run over all of them found no difference."""


@pytest.fixture(scope="module")
def cases() -> list[tuple[str, bytes, list[np.ndarray]]]:
    """The cases that ONNX tests its backends by: a model of one operator, and inputs."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [case for case in collect_testcases(None) if case.model is not None]
    return [(case.name, case.model.SerializeToString(), case.data_sets[0][0]) for case in found[::EVERY]]


def test_every_operator_is_normalised_without_loss_or_refused(
    cases: list[tuple[str, bytes, list[np.ndarray]]],
) -> None:
    outcomes: Counter[str] = Counter()
    for name, data, arrays in cases:
        try:
            model = load(data)
        except (UnsupportedModel, ConfigError) as error:
            outcomes[type(error).__name__] += 1
            continue
        assert normalise(model.proto()).SerializeToString(deterministic=True) == model.onnx, name
        batch = {spec.name: np.asarray(array)[None] for spec, array in zip(model.inputs, arrays, strict=False)}
        try:
            before = reference.run(data, batch)
        except ConfigError:
            outcomes["onnxruntime lacks it"] += 1
            continue
        for form in (model.onnx, _with_bodies(model.onnx, model.operators)):
            after = reference.run(form, batch)
            for output, array in before.items():
                assert array.shape == after[output].shape, name
                tolerance = 1e-5 * max(
                    1.0, float(np.nan_to_num(np.abs(array.astype(np.float64)), posinf=0).max(initial=0))
                )
                assert reference.difference(array, after[output]).max(initial=0) <= tolerance, name
        outcomes["same"] += 1
    assert outcomes["same"] > 900 // EVERY
    assert outcomes["ConfigError"] < 20 // EVERY + 1


def _with_bodies(form: bytes, operators: tuple[str, ...]) -> bytes:
    """Expand what can be expanded."""
    from onnx import ModelProto

    try:
        return expand(ModelProto.FromString(form), operators).SerializeToString()
    except UnsupportedModel:
        return form
