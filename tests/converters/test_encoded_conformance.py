"""Encoded integer models are read back as they were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from balance_core.cli import invoke
from balance_core.converters.encoded import EncodedConverter
from balance_core.converters.tflite import TFLiteConverter
from balance_core.errors import ConfigError
from balance_core.integer.encoding import dumps
from balance_core.testing import ConverterConformance

DATA = Path(__file__).parent.parent / "data" / "tflite"


def encoded(*, weights: bool = True) -> bytes:
    return dumps(TFLiteConverter().convert(DATA / "int8_conv.tflite"), weights=weights)


class TestEncoded(ConverterConformance):
    converter = "integers"

    def examples(self) -> dict[str, bytes]:
        return {"int8_conv.integers": encoded()}


def test_a_structure_without_weights_is_refused(tmp_path):
    (tmp_path / "model.integers").write_bytes(encoded(weights=False))
    with pytest.raises(ConfigError, match="without its weights"):
        EncodedConverter().convert(tmp_path / "model.integers")


def test_what_convert_writes_is_the_same_model(tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))
    target = tmp_path / "model.integers"
    assert invoke(["convert", str(DATA / "int8_conv.tflite"), "-o", str(target)]) == 0
    assert target.read_bytes() == encoded()
