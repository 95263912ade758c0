"""Integer models in their own encoding, as `balance convert` writes them for formats that are integers already."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from balance_core.contracts import Converter

if TYPE_CHECKING:
    from pathlib import Path

    from balance_core.integer.model import IntegerModel


class EncodedConverter(Converter):
    """Reads the canonical encoding of an integer model, weights included."""

    api_version = 1
    suffixes: ClassVar[frozenset[str]] = frozenset({".integers"})

    @override
    def convert(self, source: Path) -> IntegerModel:
        from balance_core.converters.sources import read_bytes
        from balance_core.errors import ConfigError
        from balance_core.integer.encoding import MAX_FILE, loads

        model = loads(read_bytes(source, MAX_FILE, "write one with `balance convert`"))
        if len(model.weights) != len(model.weight_nodes):
            raise ConfigError(f"{source.name} holds the structure of a model without its weights")
        return model
