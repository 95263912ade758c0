"""YAML as a tree of texts that know their lines: no types, no tags, no anchors, nothing that grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from balance_core.errors import ConfigError, ToolNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 2**18
"""Largest document."""
MAX_DEPTH = 16
MAX_NODES = 2**14
"""Most texts, lists and tables of one document."""


@dataclass(frozen=True)
class Text:
    """A scalar as it is written: the reader of a field decides what it means."""

    value: str
    line: int


@dataclass(frozen=True)
class Items:
    """A list."""

    values: tuple[Any, ...]
    line: int


@dataclass(frozen=True)
class Table:
    """A mapping from distinct texts; `lines` has the line of each key."""

    values: dict[str, Any]
    lines: dict[str, int]
    line: int


Tree = Text | Items | Table


class Problems:
    """What is wrong with a document, by line; all of it is reported at once."""

    SHOWN = 8

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: list[tuple[int, str]] = []

    def add(self, line: int, what: str) -> None:
        """Note one problem; names of the document in it are brought onto one line."""
        what = " ".join(what.split())
        if (line, what) not in self.found:
            self.found.append((line, what))

    def check(self) -> None:
        """Raise ConfigError if there is any."""
        if self.found:
            raise self.error()

    def error(self) -> ConfigError:
        """Return the error that names them all."""
        shown = [f"line {line}: {what}" for line, what in sorted(self.found)[: self.SHOWN]]
        more = len(self.found) - len(shown)
        return ConfigError(
            f"{self.name}: " + "; ".join(shown) + (f"; and {more} more" if more else ""),
            hint="docs/rules.md describes the language",
        )


class Flaw(ValueError):
    """Something at a line of the document cannot be read."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def read(data: bytes, name: str) -> Table:
    """Return the document's table; raises ConfigError, with the line, for anything but one plain table."""
    try:
        import yaml
    except ImportError as error:
        raise ToolNotFound(
            "PyYAML is not installed, which reads rules", hint="pip install 'balance-core[rules]'"
        ) from error
    problems = Problems(name)
    try:
        return _table(data)
    except Flaw as flaw:
        problems.add(flaw.line, str(flaw))
    except UnicodeDecodeError as error:
        problems.add(data[: error.start].count(b"\n") + 1, "the text is not UTF-8")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.add(mark.line + 1 if mark else 1, f"this is not YAML: {error.problem or error.context}")
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        problems.add(1, f"this is not YAML: {(str(error).splitlines() or ['unreadable'])[0][:120]}")
    raise problems.error()


def _table(data: bytes) -> Table:
    import yaml

    if len(data) > MAX_BYTES:
        raise Flaw(1, f"the document has more than {MAX_BYTES} bytes")
    tree = _Composer(yaml.parse(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)).document()
    if not isinstance(tree, Table):
        raise Flaw(tree.line, "the document is no table of `key: value` lines")
    return tree


class _Composer:
    """Makes the tree from the parser's events, and stops at the first one that a rule set has no need of."""

    def __init__(self, events: Iterator[Any]) -> None:
        self.events = events
        self.count = 0

    def document(self) -> Tree:
        """Return the only document."""
        import yaml

        tree: Tree | None = None
        for event in self.events:
            if isinstance(event, (yaml.StreamStartEvent, yaml.DocumentEndEvent, yaml.StreamEndEvent)):
                continue
            if isinstance(event, yaml.DocumentStartEvent):
                if tree is not None:
                    raise Flaw(_line(event), "a second document begins")
                continue
            tree = self._tree(event, 0)
        if tree is None:
            raise Flaw(1, "the document is empty")
        return tree

    def _tree(self, event: Any, depth: int) -> Tree:
        import yaml

        line = _line(event)
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            raise Flaw(line, f"the document is nested deeper than {MAX_DEPTH}, or has more than {MAX_NODES} parts")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise Flaw(line, "anchors and aliases (&, *) are not taken: write the part out")
        if getattr(event, "tag", None) is not None:
            raise Flaw(line, f"the tag {event.tag[:40]!r} is not taken: write plain values")
        if isinstance(event, yaml.ScalarEvent):
            return Text(str(event.value), line)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(part := next(self.events), yaml.SequenceEndEvent):
                items.append(self._tree(part, depth + 1))
            return Items(tuple(items), line)
        values: dict[str, Tree] = {}
        lines: dict[str, int] = {}
        while not isinstance(part := next(self.events), yaml.MappingEndEvent):
            key = self._tree(part, depth + 1)
            if not isinstance(key, Text):
                raise Flaw(key.line, "a key is no text")
            if key.value in values:
                raise Flaw(key.line, f"{key.value[:60]!r} stands twice, first in line {lines[key.value]}")
            values[key.value] = self._tree(next(self.events), depth + 1)
            lines[key.value] = key.line
        return Table(values, lines, line)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
