"""Words of the Cairo machine: the field, and how one instruction is encoded.

The encoding is that of the Cairo whitepaper (ePrint 2021/1063, section 4.4): three offsets of 16 bits, biased by
2^15, then 15 flags. Only the shapes for which the prover has a component of its own are made here.
"""

from __future__ import annotations

from typing import NamedTuple

P = 2**251 + 17 * 2**192 + 1
"""The field's order."""
REACH = 2**15
"""Offsets stand in [-REACH, REACH)."""
RANGE_CHECK_BITS = 128
"""Width of a cell of the range-check builtin."""
BUILTINS = ("output", "range_check")
"""The builtins of every program here, in the order in which `main` gets and returns their pointers."""

AP, FP = 0, 1


class TooLarge(ValueError):
    """Code that does not fit an instruction's reach."""


class Operand(NamedTuple):
    """A cell relative to a register."""

    register: int
    offset: int


_OP1_OP0, _OP1_IMM, _OP1_FP, _OP1_AP = 0, 1, 2, 4
_RES_OP1, _RES_ADD, _RES_MUL = 0, 1, 2
_PC_ABS, _PC_REL, _PC_JNZ = 1, 2, 4
_AP_ADD, _AP_ADD1 = 1, 2
_CALL, _RET, _ASSERT = 1, 2, 4
_UNUSED = Operand(FP, -1)


def _word(
    dst: Operand, op0: Operand, off2: int, *, op1: int, res: int = 0, pc: int = 0, ap: int = 0, opcode: int = 0
) -> int:
    for offset in (dst.offset, op0.offset, off2):
        if not -REACH <= offset < REACH:
            raise TooLarge("a layer needs cells farther apart than an instruction can reach")
    flags = dst.register | op0.register << 1 | op1 << 2 | res << 5 | pc << 7 | ap << 10 | opcode << 12
    return (dst.offset + REACH) | (op0.offset + REACH) << 16 | (off2 + REACH) << 32 | flags << 48


def _source(operand: Operand) -> int:
    return _OP1_AP if operand.register == AP else _OP1_FP


def assert_add(dst: Operand, left: Operand, right: Operand, *, advance: bool) -> int:
    """[dst] = [left] + [right]."""
    return _word(dst, left, right.offset, op1=_source(right), res=_RES_ADD, ap=_AP_ADD1 * advance, opcode=_ASSERT)


def assert_mul(dst: Operand, left: Operand, right: Operand, *, advance: bool) -> int:
    """[dst] = [left] * [right]."""
    return _word(dst, left, right.offset, op1=_source(right), res=_RES_MUL, ap=_AP_ADD1 * advance, opcode=_ASSERT)


def assert_add_immediate(dst: Operand, left: Operand, *, advance: bool) -> int:
    """[dst] = [left] + the next word."""
    return _word(dst, left, 1, op1=_OP1_IMM, res=_RES_ADD, ap=_AP_ADD1 * advance, opcode=_ASSERT)


def assert_mul_immediate(dst: Operand, left: Operand, *, advance: bool) -> int:
    """[dst] = [left] * the next word."""
    return _word(dst, left, 1, op1=_OP1_IMM, res=_RES_MUL, ap=_AP_ADD1 * advance, opcode=_ASSERT)


def assert_immediate(dst: Operand, *, advance: bool) -> int:
    """[dst] = the next word."""
    return _word(dst, _UNUSED, 1, op1=_OP1_IMM, ap=_AP_ADD1 * advance, opcode=_ASSERT)


def assert_equal(dst: Operand, source: Operand, *, advance: bool) -> int:
    """[dst] = [source]."""
    return _word(dst, _UNUSED, source.offset, op1=_source(source), ap=_AP_ADD1 * advance, opcode=_ASSERT)


def assert_deref(dst: Operand, pointer: Operand, offset: int, *, advance: bool) -> int:
    """[dst] = [[pointer] + offset]."""
    return _word(dst, pointer, offset, op1=_OP1_OP0, ap=_AP_ADD1 * advance, opcode=_ASSERT)


def advance_immediate() -> int:
    """Ap += the next word."""
    return _word(_UNUSED, _UNUSED, 1, op1=_OP1_IMM, ap=_AP_ADD)


def jump_relative() -> int:
    """Pc += the next word."""
    return _word(_UNUSED, _UNUSED, 1, op1=_OP1_IMM, pc=_PC_REL)


def jump_if_not_zero(condition: Operand) -> int:
    """Pc += the next word if [condition] is not zero, else on."""
    return _word(condition, _UNUSED, 1, op1=_OP1_IMM, pc=_PC_JNZ)


def call_relative() -> int:
    """Push fp and the return address, and go to pc + the next word, with fp behind them."""
    return _word(Operand(AP, 0), Operand(AP, 1), 1, op1=_OP1_IMM, pc=_PC_REL, opcode=_CALL)


def return_() -> int:
    """Go back to [fp - 1], with fp from [fp - 2]."""
    return _word(Operand(FP, -2), _UNUSED, -1, op1=_OP1_FP, pc=_PC_ABS, opcode=_RET)
