"""Small integer models, and their programs run by the interpreter of these tests."""

from __future__ import annotations

import numpy as np
from balance_orion.generator import generate
from balance_orion.machine import P
from balance_orion.witness import checks

from balance_core.integer import IntegerModel, Node, Output, execute_integers
from balance_core.integer.operations import Constant, Input

from . import interpreter


class Sketch:
    """An integer model as it is drawn: inputs, weights and operations, and everything is an output at the end."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.nodes = []
        self.weights = {}

    def input(self, shape, lo, hi):
        return self.op(Input(f"x{len(self.nodes)}", tuple(shape), lo, hi))

    def weight(self, shape, lo, hi, values=None):
        place = self.op(Constant(tuple(shape), lo, hi, None))
        if values is None:
            values = self.random.integers(lo, hi + 1, size=shape)
        self.weights[place] = np.asarray(values, dtype=np.int64)
        return place

    def listed(self, values):
        return self.op(Constant.listed(np.asarray(values, dtype=np.int64)))

    def op(self, operation, *operands):
        self.nodes.append(Node(operation, tuple(operands)))
        return len(self.nodes) - 1

    def model(self, *outputs):
        return IntegerModel(
            tuple(self.nodes),
            tuple(Output(f"y{place}", place) for place in dict.fromkeys(outputs or (len(self.nodes) - 1,))),
            self.weights,
        )


def draw(model, seed, *, corner=None):
    """Return one sample of inputs; `corner` 0 or 1 takes all low or all high ends."""
    random = np.random.default_rng(seed)
    batch = {}
    for _, op in model.inputs:
        values = random.integers(op.lo, op.hi, size=(1, *op.to), endpoint=True)
        if corner is not None:
            values = np.full_like(values, (op.lo, op.hi)[corner])
        batch[op.label] = values
    return batch


def execute(model, batch):
    return execute_integers(model, batch, intermediates=True)


def proven(program, model, tensors, *, lie=None):
    """Run the program on a witness made of the tensors and return the outputs' integers; may raise Refused."""
    cells = checks(program, model, tensors).tolist()
    if lie is not None:
        cells = lie(cells)
    output = [1, 2, *(v for place, _ in model.inputs for v in tensors[place].reshape(-1).tolist())]
    words = interpreter.run(program.words, output, cells)
    assert words[: len(output)] == [value % P for value in output]
    return [word if 2 * word < P else word - P for word in words[len(output) :]]


def answers(model, execution):
    return [v for output in model.outputs for v in execution.outputs[output.name].reshape(-1).tolist()]


def check(model, *, seeds=(0,)):
    """Assert that the program answers as the executor does."""
    program = generate(model)
    for batch in [draw(model, 0, corner=0), draw(model, 0, corner=1), *(draw(model, seed) for seed in seeds)]:
        execution = execute(model, batch)
        assert proven(program, model, execution.tensors) == answers(model, execution)
    return program
