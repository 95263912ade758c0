"""The TensorFlow Lite converter keeps the kit's promises."""

from __future__ import annotations

from pathlib import Path

from balance_core.testing import ConverterConformance

DATA = Path(__file__).parent.parent / "data" / "tflite"


class TestTFLite(ConverterConformance):
    converter = "tflite"

    def examples(self) -> dict[str, bytes]:
        names = ("conv_maxpool.tflite", "embedding.tflite", "int8_conv.tflite")
        return {name: (DATA / name).read_bytes() for name in names}
