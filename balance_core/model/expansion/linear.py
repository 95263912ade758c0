"""LinearClassifier and LinearRegressor as Gemm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import UnsupportedModel
from balance_core.model.expansion import scores

if TYPE_CHECKING:
    from balance_core.model.expansion.build import Build


def classifier(build: Build) -> None:
    """X @ coefficients^T + intercepts; one row of coefficients for two classes scores the second of them."""
    raw, count = _product(build, len(build.array("intercepts")))
    labels = build.array("classlabels_ints", np.int64)
    post_transform = build.text("post_transform", "NONE")
    label, result = build.output(0), build.output(1)
    if count == 1:
        positive = labels if len(labels) == 2 else np.array([0, 1])
        if label:
            scores.label_above(build, raw, 0.0, positive, label)
        if result and len(labels) == 2:
            scores.complementary(build, raw, post_transform, probability=True, into=result)
        elif result:
            raise UnsupportedModel("it has one score, and its labels are not two")
        return
    if len(labels) != count:
        raise UnsupportedModel(f"it has {count} scores and {len(labels)} labels")
    if label:
        scores.label_of_largest(build, raw, labels, label)
    if result:
        scores.transform(build, raw, post_transform, result)


def regressor(build: Build) -> None:
    """X @ coefficients^T + intercepts."""
    raw, count = _product(build, int(build.given.get("targets", 1)))
    post_transform = build.text("post_transform", "NONE")
    if count == 1 and post_transform != "NONE":
        raise UnsupportedModel(f"it transforms a single target by {post_transform}")
    scores.transform(build, raw, post_transform, build.output(0))


def _product(build: Build, count: int) -> tuple[str, int]:
    """Return x @ coefficients^T + intercepts, of shape (rows, count), and the count."""
    x, _, features = build.matrix()
    coefficients, intercepts = build.array("coefficients"), build.array("intercepts")
    if count < 1 or coefficients.size != count * features or len(intercepts) not in {0, count}:
        raise UnsupportedModel(f"it has {coefficients.size} coefficients for {features} features and {count} scores")
    inputs = [x, build.floats(coefficients.reshape(count, features))]
    if len(intercepts):
        inputs.append(build.floats(intercepts))
    return build.add("Gemm", *inputs, transB=1), count
