from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import ModelProto


@pytest.fixture(scope="session")
def parse() -> Callable[..., ModelProto]:
    """Write a model as text: the body of a graph, at one opset."""

    def parsed(text: str, opset: int = 17) -> ModelProto:
        return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}, "ai.onnx.ml" : 3]> model {text}')

    return parsed


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20240607)
