"""TensorFlow Lite models: floating-point ones become ONNX, fully quantised ones become the integers that they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from balance_core.contracts import Converter

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

    from balance_core.integer.model import IntegerModel


class TFLiteConverter(Converter):
    """Reads a .tflite flatbuffer; no TensorFlow is needed.

    A model whose activations are floating-point (with weights of any type) becomes ONNX, one whose activations are
    8-bit integers an integer model. A mixture of both is refused.
    """

    api_version = 1
    suffixes: ClassVar[frozenset[str]] = frozenset({".tflite"})

    @override
    def convert(self, source: Path) -> ModelProto | IntegerModel:
        from balance_core.converters.tflite.floats import to_onnx
        from balance_core.converters.tflite.quantised import is_quantised, to_integers
        from balance_core.converters.tflite.reader import read

        graph = read(source)
        return to_integers(graph) if is_quantised(graph) else to_onnx(graph)
