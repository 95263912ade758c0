"""The zkml project's model files (model.msgpack, both generations), as exact integer models."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from balance_core.contracts import Converter

if TYPE_CHECKING:
    from pathlib import Path

    from balance_core.integer.model import IntegerModel


class ZkmlConverter(Converter):
    """Reads a model.msgpack; its integers, at the one scale of the file, are the model's own."""

    api_version = 1
    suffixes: ClassVar[frozenset[str]] = frozenset({".msgpack"})

    @override
    def convert(self, source: Path) -> IntegerModel:
        from balance_core.converters.zkml.graph import convert
        from balance_core.converters.zkml.reader import read_model

        return convert(read_model(source))
