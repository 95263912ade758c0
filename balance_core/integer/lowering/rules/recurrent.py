"""LSTM, GRU and RNN, unrolled: all steps share the tables of their gates."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer import tables
from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.node import Curve
from balance_core.integer.lowering.rules import rule
from balance_core.integer.lowering.rules.activation import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from balance_core.integer.lowering.node import Node, Value

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
REACH = 8
"""Sigmoid and Tanh saturate beyond this, by less than 2^-11 and 2^-22."""
MAX_STEPS = 2**10
"""Longest sequence that is unrolled."""


@dataclass(frozen=True)
class Cell:
    """The constants of one direction and the arithmetic of its gates."""

    node: Node
    hidden: int
    weights: np.ndarray
    recurrence: np.ndarray
    bias: np.ndarray
    peephole: np.ndarray | None
    activations: tuple[str, ...]
    clip: float | None

    def gate(self, x: Real, which: int) -> Real:
        """Apply an activation; Sigmoid and Tanh have one table each, whatever the step."""
        r = self.node.reals
        if self.clip is not None:
            x = r.clip(x, -self.clip, self.clip)
        name = self.activations[which]
        if name == "Relu":
            return r.clip(x, 0, np.inf)
        if name not in {"Sigmoid", "Tanh"}:
            return self.node.tensor(Curve(x, PLAIN[name]))
        step, half = Fraction(2 * REACH, 2**r.bits), 2 ** (r.bits - 1)
        x = Real(x.tensor, x.scale, x.fact)
        source = r.clamp(r.to_scale(x, step), -half, half - 1)
        unit = Fraction(1, 2**r.bits) if name == "Sigmoid" else Fraction(1, half)
        function: Callable[[Decimal], Decimal] = PLAIN[name]
        one = int(1 / unit)
        entries = tables.rounded(tables.entries(function, -half, half - 1, step), unit, -one, one)
        return r.table(source, -half, entries, unit)

    def part(self, x: Real, at: int) -> Real:
        """Return the columns of one gate."""
        h = self.hidden
        return self.node.reals.wire(np.arange(x.fact.size).reshape(x.shape)[:, at * h : (at + 1) * h], x)

    def state(self, x: Real) -> Real:
        """Bring a hidden state in [-1, 1] to the bit budget; of an unbounded activation by its samples."""
        r = self.node.reals
        if set(self.activations) <= {"Sigmoid", "Tanh"}:
            half = 2 ** (r.bits - 1)
            return r.clamp(r.to_scale(x, Fraction(1, half)), -half, half)
        return r.narrow(x)


@rule("LSTM", "GRU", "RNN", precision=8)
def recurrent(node: Node) -> list[Value | None]:
    """One or two directions over a sequence of fixed length; returns all states, the last, and the last cell."""
    r = node.reals
    layout = node.integer("layout", 0)
    direction = node.text("direction", "forward")
    x = node.real(0)
    if layout:
        x = r.transpose(x, (1, 0, 2))
    steps, batch = x.shape[:2]
    if steps > MAX_STEPS:
        raise Inadmissible(f"a sequence of {steps} steps is longer than {MAX_STEPS}")
    if node.has(4) and (node.constant(4) != steps).any():
        raise Inadmissible("sequences shorter than the input are not supported")
    if node.integer("input_forget", 0):
        raise Inadmissible("input_forget is not supported")
    count = 2 if direction == "bidirectional" else 1
    forward: list[list[Real]] = []
    last: list[Real] = []
    cells: list[Real] = []
    for d in range(count):
        cell = _cell(node, d, count)
        backward = direction == "reverse" or d == 1
        h, c = (_initial(node, place, d, (batch, cell.hidden), layout=layout) for place in (5, 6))
        states, c = _unroll(cell, x, h, c, backward=backward)
        forward.append(states[::-1] if backward else states)
        last.append(states[-1])
        if c is not None:
            cells.append(c)
    hidden = _cell(node, 0, count).hidden
    rows = [r.reshape(state, (1, 1, batch, hidden)) for step in zip(*forward, strict=True) for state in step]
    y = r.reshape(r.concat(rows, 0), (steps, count, batch, hidden))
    ends = [r.concat([r.reshape(v, (1, batch, hidden)) for v in part], 0) for part in (last, cells) if part]
    if layout:
        y = r.transpose(y, (2, 0, 1, 3))
        ends = [r.transpose(end, (1, 0, 2)) for end in ends]
    return [y, *ends]


def _cell(node: Node, direction: int, count: int) -> Cell:
    names = node.texts("activations") or DEFAULTS[node.op] * count
    each = len(DEFAULTS[node.op])
    chosen = tuple(names[direction * each : (direction + 1) * each])
    if len(chosen) != each or any(name not in {*PLAIN, "Relu"} for name in chosen):
        raise Inadmissible(f"activations {', '.join(names)} are not supported")
    if node.numbers("activation_alpha") is not None or node.numbers("activation_beta") is not None:
        raise Inadmissible("parameters of activations are not supported")
    weights, recurrence = (node.constant(place)[direction].astype(np.float64) for place in (1, 2))
    hidden = node.integer("hidden_size", recurrence.shape[1])
    if weights.shape[0] != GATES[node.op] * hidden or recurrence.shape != (GATES[node.op] * hidden, hidden):
        raise Inadmissible("the weights do not fit the hidden size")
    bias = node.constant(3)[direction] if node.has(3) else np.zeros(2 * len(weights))
    peephole = node.constant(7)[direction] if node.op == "LSTM" and node.has(7) else None
    clip = node.attribute("clip")
    return Cell(
        node,
        hidden,
        weights,
        recurrence,
        bias.astype(np.float64),
        peephole,
        chosen,
        None if clip is None else float(clip),
    )


def _initial(node: Node, place: int, direction: int, shape: tuple[int, int], *, layout: int) -> Real | None:
    if place == 6 and node.op != "LSTM":
        return None
    r = node.reals
    if not node.has(place):
        return r.structural(np.zeros(shape), Fraction(1, 2 ** (r.bits - 1)))
    x = node.real(place)
    x = r.transpose(x, (1, 0, 2)) if layout else x
    return r.pick(x, direction)


def _unroll(cell: Cell, x: Real, h: Real | None, c: Real | None, *, backward: bool) -> tuple[list[Real], Real | None]:
    """Return the hidden states in the order of processing, and the last cell state."""
    r = cell.node.reals
    steps, batch, size = x.shape
    gates = len(cell.weights)
    flat = r.reshape(x, (steps * batch, size))
    mixed = r.matmul(flat, r.weight(cell.weights.T))
    half = len(cell.bias) // 2
    step = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}[cell.node.op]
    bias = cell.bias[:half] if cell.node.op == "GRU" else cell.bias[:half] + cell.bias[half:]
    mixed = r.reshape(r.add_constant(mixed, bias.reshape(1, -1)), (steps, batch, gates))
    recurrence = r.weight(cell.recurrence.T)
    states: list[Real] = []
    for t in range(steps)[:: -1 if backward else 1]:
        if h is None:
            raise Inadmissible("the initial state is missing")
        h, c = step(cell, r.pick(mixed, t), recurrence, h, c)
        h = cell.state(h)
        states.append(h)
    return states, c


def _rnn(cell: Cell, x: Real, recurrence: Real, h: Real, c: Real | None) -> tuple[Real, Real | None]:
    r = cell.node.reals
    return cell.gate(r.add(x, r.matmul(h, recurrence)), 0), c


def _lstm(cell: Cell, x: Real, recurrence: Real, h: Real, c: Real | None) -> tuple[Real, Real | None]:
    """Gates in ONNX's order: input, output, forget, cell; the cell state keeps its scale and is never saturated."""
    r = cell.node.reals
    if c is None:
        raise Inadmissible("the cell state is missing")
    total = r.add(x, r.matmul(h, recurrence))
    parts = [cell.part(total, i) for i in range(4)]
    peep = None if cell.peephole is None else cell.peephole.reshape(3, 1, -1)
    if peep is not None:
        parts[0] = r.add(parts[0], r.mul_constant(c, peep[0]))
        parts[2] = r.add(parts[2], r.mul_constant(c, peep[2]))
    unit = Fraction(1, 2 ** (r.bits - 1))
    keep, take = cell.gate(parts[2], 0), r.mul_exact(cell.gate(parts[0], 0), cell.gate(parts[3], 1))
    c = r.to_scale(r.add(r.mul_exact(keep, c), take), unit)
    if peep is not None:
        parts[1] = r.add(parts[1], r.mul_constant(c, peep[1]))
    return r.mul_exact(cell.gate(parts[1], 0), cell.gate(c, 2)), c


def _gru(cell: Cell, x: Real, recurrence: Real, h: Real, c: Real | None) -> tuple[Real, Real | None]:
    """Gates in ONNX's order: update, reset, hidden; (1 - z) * n + z * h = n + z * (h - n)."""
    r = cell.node.reals
    node = cell.node
    n = cell.hidden
    bias = cell.bias[len(cell.bias) // 2 :].reshape(1, -1)
    before = bool(node.integer("linear_before_reset", 0))
    parts = [cell.part(x, i) for i in range(3)]
    mixed = r.add_constant(r.matmul(h, recurrence), bias) if before else None
    full = mixed if mixed is not None else r.add_constant(r.matmul(h, recurrence), bias)
    update = cell.gate(r.add(parts[0], cell.part(full, 0)), 0)
    reset = cell.gate(r.add(parts[1], cell.part(full, 1)), 0)
    if before:
        inner = r.mul(reset, cell.part(full, 2))
    else:
        columns = r.wire(np.arange(recurrence.fact.size).reshape(recurrence.shape)[:, 2 * n :], recurrence)
        inner = r.add_constant(r.matmul(cell.state(r.mul(reset, h)), columns), bias[:, 2 * n :])
    new = cell.gate(r.add(parts[2], inner), 1)
    return r.add(new, r.mul_exact(update, r.sub(h, new))), c
