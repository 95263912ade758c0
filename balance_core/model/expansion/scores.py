"""What classifiers and regressors do with raw scores, as onnxruntime does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from balance_core.errors import UnsupportedModel

if TYPE_CHECKING:
    from balance_core.model.expansion.build import Build


def transform(build: Build, scores: str, post_transform: str, into: str) -> None:
    """Write the transformed scores of classes or targets, shape (rows, classes), in the type that the node has."""
    if build.dtype(into) == np.float64:
        scores = build.add("Cast", scores, to=TensorProto.DOUBLE)
    match post_transform:
        case "NONE":
            build.add("Identity", scores, into=into)
        case "LOGISTIC":
            build.add("Sigmoid", scores, into=into)
        case "SOFTMAX":
            build.add("Softmax", scores, axis=1, into=into)
        case _:
            raise UnsupportedModel(f"it transforms its scores by {post_transform}")


def complementary(build: Build, score: str, post_transform: str, *, probability: bool, into: str) -> None:
    """Write the scores (negative, positive) of two classes from the one score of the positive class, (rows, 1).

    The negative one is 1 - p for a probability p, -s for another score s, and LOGISTIC makes both sigmoids.
    """
    if post_transform not in {"NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"}:
        raise UnsupportedModel(f"it transforms its scores by {post_transform}")
    if post_transform == "LOGISTIC":
        negative = build.add("Sigmoid", build.add("Neg", score))
        positive = build.add("Sigmoid", score)
    else:
        negative = build.add("Sub", build.floats(1), score) if probability else build.add("Neg", score)
        positive = score
    build.add("Concat", negative, positive, axis=1, into=into)


def label_of_largest(build: Build, scores: str, labels: np.ndarray, into: str) -> None:
    """Write the label of the largest score in each row; the first of equal ones wins."""
    _label(build, build.add("ArgMax", scores, axis=1, keepdims=0), labels, into)


def label_above(build: Build, score: str, threshold: float, labels: np.ndarray, into: str) -> None:
    """Write labels[1] where the score, (rows, 1), is above the threshold, labels[0] where it is not."""
    above = build.add("Greater", score, build.floats([threshold]))
    number = build.add("Cast", above, to=TensorProto.INT64)
    _label(build, build.add("Reshape", number, build.constant([-1])), labels, into)


def _label(build: Build, number: str, labels: np.ndarray, into: str) -> None:
    if np.array_equal(labels, np.arange(len(labels))):
        build.add("Identity", number, into=into)
    else:
        build.add("Gather", build.constant(labels.astype(np.int64)), number, axis=0, into=into)
