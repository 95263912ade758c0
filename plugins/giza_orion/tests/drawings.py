"""A model for each operation, of random shapes and numbers, for Hypothesis to draw."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from balance_core.integer.operations import (
    Add,
    ArgMax,
    Clamp,
    Conv2d,
    Divide,
    Less,
    Lookup,
    MatMul,
    Max,
    Mul,
    Rescale,
    Sub,
    Sum,
    Wire,
)

from .workshop import Sketch

sizes = st.integers(1, 5)
ends = st.tuples(st.integers(-(2**20), 2**20), st.integers(0, 2**20)).map(lambda ab: (ab[0], ab[0] + ab[1]))
narrow = st.tuples(st.integers(-300, 300), st.integers(0, 300)).map(lambda ab: (ab[0], ab[0] + ab[1]))
positive = st.tuples(st.integers(1, 5000), st.integers(0, 5000)).map(lambda ab: (ab[0], ab[0] + ab[1]))


def sketch(draw):
    return Sketch(draw(st.integers(0, 2**32 - 1)))


def pair(draw, of=ends, second=None):
    """Two tensors that broadcast, each an input or a weight."""
    s = sketch(draw)
    shape = draw(st.lists(sizes, min_size=1, max_size=3))
    places = []
    for number in range(2):
        own = [n if draw(st.integers(0, 3)) else 1 for n in shape]
        lo, hi = draw(second if number and second is not None else of)
        kind = draw(st.sampled_from(["input", "weight", "one"])) if number else "input"
        if kind == "one":
            places.append(s.weight(own, lo, hi, np.full(own, draw(st.integers(lo, hi)))))
        else:
            places.append(getattr(s, kind)(own, lo, hi))
    return s, draw(st.permutations(places)) if second is None else places


def unary(draw, of=ends, rank=3):
    s = sketch(draw)
    shape = draw(st.lists(sizes, min_size=1, max_size=rank))
    return s, s.input(shape, *draw(of)), shape


@st.composite
def elementwise(draw, kind):
    s, places = pair(draw)
    s.op(kind, *places)
    return s.model()


@st.composite
def quotients(draw):
    s, places = pair(draw, ends, positive)
    s.op(Divide(), *places)
    return s.model()


@st.composite
def rescales(draw):
    s, x, _ = unary(draw, st.one_of(ends, narrow))
    s.op(Rescale(draw(st.one_of(st.integers(1, 9), st.integers(1, 2**30)))), x)
    return s.model()


@st.composite
def clamps(draw):
    s, x, _ = unary(draw, st.one_of(ends, narrow))
    lo, hi = draw(st.one_of(ends, narrow))
    s.op(Clamp(lo, hi), x)
    return s.model()


@st.composite
def lookups(draw):
    s, x, _ = unary(draw, narrow)
    op = s.nodes[x].operation
    first = op.lo - draw(st.integers(0, 5))
    table = s.random.integers(-(2**40), 2**40, size=op.hi - first + 1 + draw(st.integers(0, 5)))
    s.op(Lookup(first, table), x)
    return s.model()


@st.composite
def reductions(draw, kind):
    s, x, shape = unary(draw, st.one_of(ends, narrow))
    axes = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1, max_size=1 if kind is ArgMax else None))
    s.op(kind(tuple(sorted(axes))), x)
    return s.model()


@st.composite
def wires(draw):
    s = sketch(draw)
    operands, total = [], 0
    for kind in draw(st.lists(st.sampled_from(["input", "weight", "sum"]), min_size=1, max_size=3)):
        shape = draw(st.lists(sizes, min_size=1, max_size=2))
        if kind == "sum":
            operands.append(s.op(Add(), s.input(shape, -9, 9), s.weight([1] * len(shape), 5, 5)))
        else:
            operands.append(getattr(s, kind)(shape, *draw(ends)))
        total += int(np.prod(shape))
    index = np.array(draw(st.lists(st.integers(0, total - 1), min_size=1, max_size=12)))
    wired = s.op(Wire.from_index(index.reshape(1, -1)), *operands)
    s.op(Add(), wired, wired)
    return s.model(wired, len(s.nodes) - 1)


@st.composite
def products(draw):
    s = sketch(draw)
    m, k, n = draw(sizes), draw(st.integers(1, 9)), draw(st.integers(1, 40))
    batch = draw(st.lists(st.integers(1, 3), max_size=1))
    kinds = draw(st.sampled_from([("input", "weight"), ("weight", "input"), ("input", "input")]))
    bits = draw(st.integers(1, 20))
    left = getattr(s, kinds[0])([*batch, m, k], -(2**bits), 2**bits)
    if draw(st.booleans()):
        batch = [1 for _ in batch]
    right = getattr(s, kinds[1])([*batch, k, n], *draw(narrow))
    return finish(draw, s, s.op(MatMul(), left, right), (1, n))


@st.composite
def convolutions(draw):
    s = sketch(draw)
    groups = draw(st.integers(1, 2))
    depth, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 8)) * groups
    kh, kw = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    dilations, strides = [draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) for _ in range(2)]
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    height, width = (kh - 1) * dilations[0] + draw(st.integers(1, 5)), (kw - 1) * dilations[1] + draw(sizes)
    kinds = draw(st.sampled_from([("input", "weight"), ("input", "input"), ("weight", "input")]))
    images = getattr(s, kinds[0])([draw(st.integers(1, 2)), depth * groups, height, width], *draw(narrow))
    kernels = getattr(s, kinds[1])([outputs, depth, kh, kw], -127, 127)
    conv = s.op(Conv2d(strides, pads, dilations, groups), images, kernels)
    return finish(draw, s, conv, (1, outputs, 1, 1))


def finish(draw, s, place, channels):
    """Sometimes a bias, a division, a clamp, a table behind it: what packed sums take along."""
    rank = len(s.model(place).facts[place].shape)
    shape = ((1,) * rank + channels)[-rank:]
    outputs = [place] if draw(st.booleans()) else []
    if draw(st.booleans()):
        place = s.op(draw(st.sampled_from([Add(), Sub()])), place, s.weight(shape, -500, 500))
    if draw(st.booleans()):
        place = s.op(Rescale(draw(st.integers(1, 2000))), place)
    if draw(st.booleans()):
        place = s.op(Clamp(0, draw(st.integers(1, 255))), place)
        if draw(st.booleans()):
            place = s.op(Lookup(0, s.random.integers(-99, 99, size=256)), place)
    return s.model(*outputs, place)


@st.composite
def chains(draw):
    """Several operations one after the other, over two shapes that broadcast."""
    s = sketch(draw)
    rows, columns = draw(sizes), draw(st.integers(1, 8))
    pool = [s.input([rows, columns], -100, 100), s.input([rows, 1], -50, 50), s.weight([1, columns], -9, 9)]
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from([Add, Sub, Mul, Less, Rescale, Clamp, Max, Sum]))
        facts = s.model().facts
        chosen = [i for i in pool if facts[i].magnitude < 2**24]
        x, y = draw(st.sampled_from(chosen)), draw(st.sampled_from(chosen))
        if kind in {Add, Sub, Mul, Less}:
            pool.append(s.op(kind(), x, y))
        elif kind is Rescale:
            pool.append(s.op(Rescale(draw(st.integers(1, 50))), x))
        elif kind is Clamp:
            pool.append(s.op(Clamp(-draw(st.integers(0, 60)), draw(st.integers(0, 60))), x))
        else:
            pool.append(s.op(kind((1,)), x))
    return s.model(*{pool[-1], draw(st.sampled_from(pool))})


@st.composite
def folded(draw):
    """Operations on constants alone, whose results other operations read."""
    s = sketch(draw)
    shape = [draw(sizes), draw(st.integers(2, 5))]
    pool = [s.weight(shape, -99, 99), s.weight(shape, *draw(narrow)), s.input(shape, 4, 4)]
    for _ in range(draw(st.integers(1, 4))):
        x, y = draw(st.sampled_from(pool)), draw(st.sampled_from(pool))
        kind = draw(st.sampled_from([Add, Sub, Less, Max, ArgMax, Sum]))
        same = s.model().facts[x].shape == s.model().facts[y].shape
        if kind in {Max, ArgMax, Sum}:
            pool.append(s.op(kind((1,)), x))
        elif same:
            pool.append(s.op(kind(), x, y))
        else:
            pool.append(s.op(Sub(), x, y))
        if kind in {Max, ArgMax, Sum}:
            pool[-1] = s.op(Sub(), pool[-1], s.input([1, 1], -5, 5))
    return s.model(*dict.fromkeys(pool[3:]))


OPERATIONS = {
    "input": st.builds(lambda: identity("input")),
    "constant": st.builds(lambda: identity("weight")),
    "wire": wires(),
    "add": elementwise(Add()),
    "sub": elementwise(Sub()),
    "mul": elementwise(Mul()),
    "less": elementwise(Less()),
    "divide": quotients(),
    "rescale": rescales(),
    "clamp": clamps(),
    "lookup": lookups(),
    "sum": reductions(Sum),
    "max": reductions(Max),
    "argmax": reductions(ArgMax),
    "matmul": products(),
    "conv2d": convolutions(),
    "chain": chains(),
    "folded": folded(),
}


def identity(kind):
    s = Sketch(3)
    x = s.input([2, 3], -5, 5)
    return s.model(x, getattr(s, kind)([2, 2], -7, 9))
