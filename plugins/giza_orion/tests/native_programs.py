"""Small Cairo programs, assembled here, so that the native tests depend on nothing but the native wheels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

PRIME = 2**251 + 17 * 2**192 + 1
MAGIC = b"balance-orion-program\x01"
BUILTINS = {
    "output": 0,
    "range_check": 2,
    "ecdsa": 3,
    "bitwise": 4,
    "poseidon": 7,
    "range_check96": 8,
    "add_mod": 9,
    "mul_mod": 10,
}
AP, FP = 0, 1


@dataclass
class Assembler:
    """Words of a program whose header is already there; `main` starts at word 6."""

    builtins: tuple[str, ...]
    words: list[int] = field(default_factory=list)
    hints: list[tuple[int, int, int, int]] = field(default_factory=list)

    def __post_init__(self):
        self.words = [0x40780017FFF7FFF, len(self.builtins), 0x1104800180018000, 4, 0x10780017FFF7FFF, 0]

    def encode(self, dst, op0, op1, flags, *immediate):
        """One instruction: offsets biased by 2^15, each register a bit of the flags, `flags` the other bits."""
        registers = dst[0] | op0[0] << 1
        offsets = sum((offset[1] + 2**15) << 16 * place for place, offset in enumerate((dst, op0, op1)))
        self.words += [offsets | (registers | flags) << 48, *(value % PRIME for value in immediate)]

    def combine(self, dst, left, right, *, multiply=False, increment=True):
        """[dst] = [left] + [right], or *; `right` may be a number."""
        result = (2 if multiply else 1) << 5 | increment << 11 | 1 << 14
        if isinstance(right, int):
            self.encode(dst, left, (FP, 1), result | 1 << 2, right)
        else:
            self.encode(dst, left, right, result | (1 << 3 if right[0] == FP else 1 << 4))

    def load(self, dst, pointer, offset):
        """[dst] = [[pointer] + offset]."""
        self.encode(dst, pointer, (FP, offset), 1 << 14)

    def grow(self, count):
        """Ap += count."""
        self.encode((FP, -1), (FP, -1), (FP, 1), 1 << 2 | 1 << 10, count)

    def jump_back(self, condition, word):
        """Jump to a word if [condition] is not zero."""
        self.encode(condition, (FP, -1), (FP, 1), 1 << 2 | 1 << 9, word - len(self.words))

    def hint(self, kind, count, offset):
        """Before the next instruction."""
        self.hints.append((len(self.words), kind, count, offset))

    def pointer(self, name):
        """Where `main` finds a builtin's pointer."""
        return (FP, -2 - len(self.builtins) + self.builtins.index(name))

    def finish(self, used):
        """Return every builtin's pointer, moved on by what was used."""
        for name in self.builtins:
            self.combine((AP, 0), self.pointer(name), used.get(name, 0))
        self.encode((FP, -2), (FP, -1), (FP, -1), 1 << 3 | 1 << 7 | 2 << 12)

    @property
    def program(self):
        """The encoding that the native code reads."""
        return encode(self.builtins, self.words)


def encode(builtins, words):
    """A program's canonical bytes."""
    mask = sum(1 << BUILTINS[name] for name in builtins)
    words = b"".join(word.to_bytes(32, "little") for word in words)
    return MAGIC + mask.to_bytes(2, "little") + (len(words) // 32).to_bytes(4, "little") + words


def digest(program):
    """What a verifying key names."""
    return hashlib.blake2s(program).digest()


def product(constant=3, builtins=("output", "range_check")):
    """Output x * y + constant and x, for x and y from the tape, both checked to be below 2^128."""
    code = Assembler(builtins)
    code.hint(3, 2, 0)
    code.grow(2)
    checked = builtins[1]
    code.load((FP, 0), code.pointer(checked), 0)
    code.load((FP, 1), code.pointer(checked), 1)
    code.combine((AP, 0), (FP, 0), (FP, 1), multiply=True)
    code.combine((AP, 0), (FP, 2), constant)
    code.load((FP, 3), code.pointer("output"), 0)
    code.load((FP, 0), code.pointer("output"), 1)
    code.finish({"output": 2, checked: 2})
    return code


def countdown(steps):
    """Count down from a number, and output zero: 2 instructions a round."""
    code = Assembler(("output",))
    code.encode((AP, 0), (FP, -1), (FP, 1), 1 << 2 | 1 << 11 | 1 << 14, steps)
    loop = len(code.words)
    code.combine((AP, 0), (AP, -1), -1)
    code.jump_back((AP, -1), loop)
    code.load((AP, -1), code.pointer("output"), 0)
    code.finish({"output": 1})
    return code


def segments():
    """Sum three numbers that hints wrote to a fresh segment, narrow and wide ones."""
    code = Assembler(("output",))
    code.hint(1, 0, 0)
    code.grow(1)
    code.hint(4, 2, -1)
    code.hint(2, 1, -1)
    for offset in range(3):
        code.encode((AP, 0), (FP, 0), (FP, offset), 1 << 11 | 1 << 14)
    code.combine((AP, 0), (FP, 1), (FP, 2))
    code.combine((AP, 0), (FP, 3), (AP, -1))
    code.load((AP, -1), code.pointer("output"), 0)
    code.finish({"output": 1})
    return code


def hashed():
    """Output the first word of Poseidon's permutation of three numbers, one of which is range-checked."""
    code = Assembler(("output", "range_check", "poseidon"))
    code.hint(3, 3, 0)
    code.grow(3)
    for offset in range(3):
        code.load((FP, offset), code.pointer("poseidon"), offset)
    code.load((FP, 0), code.pointer("range_check"), 0)
    code.encode((AP, 0), code.pointer("poseidon"), (FP, 3), 1 << 11 | 1 << 14)
    code.load((AP, -1), code.pointer("output"), 0)
    code.finish({"output": 1, "range_check": 1, "poseidon": 6})
    return code


def number(word):
    """A word as a number, those near the prime as negative ones."""
    value = int.from_bytes(word, "little")
    return value - PRIME if value > PRIME // 2 else value
