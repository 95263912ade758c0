"""A program for people to read: Cairo assembly, and where its steps go. Views only; what is proven are the words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_orion.machine import REACH, P

if TYPE_CHECKING:
    from collections.abc import Iterator

    from balance_core.integer.model import IntegerModel
    from balance_orion.program import Program

_OP1_IMMEDIATE = 1


def listing(program: Program) -> Iterator[str]:
    """Yield the lines of a program in Cairo's assembly language, each with its offset."""
    yield "// A view of the assembled program; what is proven are its words."
    yield "// header"
    offset = 0
    while offset < program.data:
        if offset in program.notes:
            yield ""
            yield f"// {program.notes[offset]}"
        text, size = instruction(program.words, offset)
        yield f"{offset:>7}  {text};"
        offset += size
    yield ""
    yield "// data: the model's digest, packed weights, tables, and the schedules of irregular loops"
    for offset in range(program.data, len(program.words)):
        yield f"{offset:>7}  dw {_signed(program.words[offset])};"


def instruction(words: tuple[int, ...], offset: int) -> tuple[str, int]:
    """Return the text of one instruction and how many words it has."""
    word = words[offset]
    first, second, third = ((word >> shift & 0xFFFF) - REACH for shift in (0, 16, 32))
    flags = word >> 48
    source, res, jump, advance, opcode = flags >> 2 & 7, flags >> 5 & 3, flags >> 7 & 7, flags >> 10 & 3, flags >> 12
    size = 2 if source == _OP1_IMMEDIATE else 1
    dst = _cell(flags & 1, first)
    left = _cell(flags >> 1 & 1, second)
    if source == _OP1_IMMEDIATE:
        right = str(_signed(words[offset + 1]))
    elif source == 0:
        right = f"[{left}{third:+d}]" if third else f"[{left}]"
    else:
        right = _cell(1 if source == 2 else 0, third)
    if opcode == 1:
        text = f"call rel {right}"
    elif opcode == 2:
        text = "ret"
    elif jump == 4:
        text = f"jmp rel {right} if {dst} != 0"
    elif jump == 2:
        text = f"jmp rel {right}"
    elif advance == 1:
        text = f"ap += {right}"
    else:
        value = right if res == 0 else f"{left} {'+' if res == 1 else '*'} {right}"
        text = f"{dst} = {value}" + (", ap++" if advance == 2 else "")
    return text, size


def profile(program: Program, model: IntegerModel) -> Iterator[str]:
    """Yield a table of steps, range checks and words by stage, then rows and estimates."""
    from balance_orion.cost import cost

    yield f"{'stage':<44} {'turns':>6} {'steps':>8} {'share':>6} {'checks':>7} {'words':>6}"
    for layer in program.layers:
        labels = [model.nodes[place].label for place in layer.nodes if model.nodes[place].label]
        name = f"{layer.name} {labels[-1] if labels else ''}".strip()
        share = layer.steps / max(program.steps, 1)
        yield f"{name[:44]:<44} {layer.turns:>6} {layer.steps:>8} {share:>6.1%} {layer.checks:>7} {layer.words:>6}"
    found = cost(program)
    yield f"{'all':<44} {'':>6} {program.steps:>8} {'':>6} {len(program.check_sources):>7} {len(program.words):>6}"
    yield ""
    for name, rows in sorted(found.rows.items()):
        yield f"{name:<34} {rows:>8} rows"
    yield f"about {found.wall_seconds:.1f} s on two cores, {found.memory_bytes / 1e9:.1f} GB"


def _cell(register: int, offset: int) -> str:
    name = "fp" if register else "ap"
    return f"[{name}{offset:+d}]" if offset else f"[{name}]"


def _signed(word: int) -> int:
    return word if 2 * word < P else word - P
