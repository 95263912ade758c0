"""Layers large enough for every form that code takes: loops, schedules, copies, weights in data, several pointers."""

from __future__ import annotations

import numpy as np
import pytest
from balance_orion.generator import generate
from balance_orion.machine import P, TooLarge
from balance_orion.witness import tape

from balance_core.integer.operations import (
    Add,
    ArgMax,
    Clamp,
    Conv2d,
    Lookup,
    MatMul,
    Max,
    Mul,
    Rescale,
    Sum,
    Wire,
)

from .workshop import Sketch, answers, draw, execute

prover = pytest.importorskip("balance_orion_prover")


def convolutions():
    s = Sketch(1)
    x = s.input([2, 8, 20, 20], -20, 107)
    y = s.op(Conv2d((2, 1), (1, 0, 2, 1), (2, 1), 4), x, s.weight([8, 2, 3, 3], -127, 127))
    y = s.op(Clamp(0, 127), s.op(Rescale(512), s.op(Add(), y, s.weight([1, 8, 1, 1], -999, 999))))
    s.op(Conv2d((1, 1), (1, 1, 1, 1), (1, 1), 1), y, s.weight([4, 8, 3, 3], -12, 12))
    return s.model()


def far_rows():
    s = Sketch(4)
    x = s.input([1, 1, 40, 90], 0, 15)
    y = s.op(Rescale(16), s.op(Conv2d((1, 1), (0, 0, 0, 0), (1, 1), 1), x, s.weight([16, 1, 3, 3], -15, 15)))
    s.op(Conv2d((3, 3), (0, 0, 0, 0), (9, 1), 1), y, s.weight([2, 16, 4, 2], -5, 5))
    return s.model()


def dense(rows, terms, columns, bits):
    s = Sketch(2)
    s.op(MatMul(), s.input([rows, terms], -(2**bits), 2**bits), s.weight([terms, columns], -127, 127))
    return s.model()


def computed():
    s = Sketch(3)
    product = s.op(MatMul(), s.input([40, 30], -9, 9), s.input([30, 20], -8, 9))
    s.op(Rescale(7), product)
    return s.model()


def permuted():
    s = Sketch(5)
    table = s.op(Lookup(-9, np.arange(109) ** 2), s.input([3000], -9, 99))
    shuffled = s.op(Wire.from_index(s.random.permutation(3000)), table)
    total = s.op(Add(), shuffled, s.op(Mul(), table, s.weight([3000], -9, 9)))
    return s.model(total, s.op(Rescale(10), total))


def reductions():
    s = Sketch(6)
    x = s.input([3, 700], -999, 999)
    return s.model(s.op(Max((1,)), x), s.op(ArgMax((1,)), x), s.op(Sum((0,)), x))


LAYERS = {
    "convolutions": convolutions,
    "far rows": far_rows,
    "one long row": lambda: dense(1, 2000, 40, 7),
    "long rows": lambda: dense(6, 300, 90, 15),
    "a prime number of columns": lambda: dense(1, 500, 97, 7),
    "computed": computed,
    "permuted": permuted,
    "reductions": reductions,
}


@pytest.mark.parametrize("layer", LAYERS)
def test_large_layers_answer_as_the_executor_does(layer):
    model = LAYERS[layer]()
    program = generate(model)
    execution = execute(model, draw(model, 9))
    given = tape(program, model, execution.tensors, bytes(32))
    words = prover.run(program.to_bytes(), program.hints(), given)["output"][2 + program.inputs :]
    values = [int.from_bytes(word, "little") for word in words]
    assert [v if 2 * v < P else v - P for v in values] == answers(model, execution)
    assert len(program.words) < 40_000


def test_a_layer_beyond_an_instructions_reach_is_refused():
    s = Sketch()
    s.op(Max((1,)), s.input([1, 40_000], 0, 9))
    with pytest.raises(TooLarge):
        generate(s.model())
