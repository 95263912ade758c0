"""The program as it grows: words of code, then words of data, with the places that are known only at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from balance_orion import machine
from balance_orion.machine import BUILTINS, P


@dataclass
class Code:
    """Words of code from offset 0 and data behind them.

    The code begins with the header: allocate the builtins' pointers, call `main`, and stay at the end.

    A word of code may be a distance to a place in the data (`data_distance`), or to a label: both are filled in by
    `assemble`.
    """

    words: list[int] = field(default_factory=list)
    data: list[int] = field(default_factory=list)
    lines: dict[int, str] = field(default_factory=dict)
    """What begins at an offset, for people to read."""
    _to_data: list[tuple[int, int]] = field(default_factory=list)
    _to_label: list[tuple[int, int, str]] = field(default_factory=list)
    _labels: dict[str, int] = field(default_factory=dict)
    _tables: dict[tuple[int, ...], int] = field(default_factory=dict)
    origin: int = 0
    """The offset that the program's own pointer into itself stands for."""

    def __post_init__(self) -> None:
        self.words += [machine.advance_immediate(), len(BUILTINS)]
        self.go(machine.call_relative(), "main")
        self.words += [machine.jump_relative(), 0]

    @property
    def offset(self) -> int:
        """Where the next word of code goes."""
        return len(self.words)

    def put(self, *words: int) -> None:
        """Append words of code."""
        self.words += [word % P for word in words]

    def label(self, name: str) -> None:
        """Give the next word of code a name."""
        self._labels[name] = self.offset

    def note(self, text: str) -> None:
        """Say what begins here."""
        self.lines[self.offset] = text

    def go(self, word: int, label: str) -> None:
        """Append an instruction whose immediate is the distance from itself to a label."""
        self._to_label.append((self.offset + 1, self.offset, label))
        self.put(word, 0)

    def data_distance(self, word: int, place: int) -> None:
        """Append an instruction whose immediate is the distance from `origin` to a place in the data."""
        self._to_data.append((self.offset + 1, place))
        self.put(word, 0)

    def store(self, values: list[int]) -> int:
        """Put values into the data, once each list, and return their place."""
        key = tuple(value % P for value in values)
        if key not in self._tables:
            self._tables[key] = len(self.data)
            self.data += key
        return self._tables[key]

    def assemble(self) -> list[int]:
        """Return the whole program segment."""
        words = list(self.words)
        for at, start, label in self._to_label:
            words[at] = (self._labels[label] - start) % P
        for at, place in self._to_data:
            words[at] = (len(self.words) + place - self.origin) % P
        return words + self.data
