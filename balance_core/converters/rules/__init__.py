"""Expert systems in YAML (docs/rules.md): decision tables, scorecards and rules with certainty factors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from balance_core.contracts import Converter
from balance_core.converters.sources import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

    from balance_core.converters.rules.language import RuleSet

_HINT = "docs/rules.md describes the language, and examples/rules has three rule sets"


class RulesConverter(Converter):
    """Reads a rule set, checks it as a whole, and makes a graph of whole numbers of it."""

    api_version = 1
    suffixes: ClassVar[frozenset[str]] = frozenset({".yaml", ".yml"})

    def convert(self, source: Path) -> ModelProto:
        """Return the graph; raises ConfigError that names every problem with its line."""
        from balance_core.converters.rules.graph import to_onnx

        return to_onnx(read_rules(source))


def read_rules(source: Path) -> RuleSet:
    """Return the rule set in a file; raises ConfigError that names every problem with its line."""
    from balance_core.converters.rules.document import MAX_BYTES
    from balance_core.converters.rules.reader import rule_set

    return rule_set(read_bytes(source, MAX_BYTES, _HINT), source.name)
