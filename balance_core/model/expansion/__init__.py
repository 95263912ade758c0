"""Expansions of our own, for operators that ONNX defines by no body; one file for each family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.model.expansion import linear, norms, preparation, tree_nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.model.expansion.build import Build

EXPANSIONS: dict[str, Callable[[Build], None]] = {
    "InstanceNormalization": norms.instance_normalization,
    "ai.onnx.ml::ArrayFeatureExtractor": preparation.array_feature_extractor,
    "ai.onnx.ml::Binarizer": preparation.binarizer,
    "ai.onnx.ml::LinearClassifier": linear.classifier,
    "ai.onnx.ml::LinearRegressor": linear.regressor,
    "ai.onnx.ml::Normalizer": preparation.normalizer,
    "ai.onnx.ml::Scaler": preparation.scaler,
    "ai.onnx.ml::TreeEnsemble": tree_nodes.ensemble,
    "ai.onnx.ml::TreeEnsembleClassifier": tree_nodes.classifier,
    "ai.onnx.ml::TreeEnsembleRegressor": tree_nodes.regressor,
}
"""Each writes, with the Build it is given, the operations that stand in place of the node."""
