"""Range reductions hold the error bounds that they declare, and table entries are rounded correctly."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from balance_core.integer import tables
from balance_core.integer.lowering.functions import exponentials, logarithm, softmax, square_root, standardised
from balance_core.integer.lowering.graph import Graph, Real
from balance_core.integer.lowering.real import Reals
from balance_core.integer.operations import Input

LENGTHS = [1, 2, 3, 7, 64, 255, 1024]


def start(integers, lo, hi, scale, bits):
    """Return the arithmetic, and an input whose calibration samples are the integers."""
    reals = Reals(Graph(), bits, bits)
    samples = np.asarray(integers, dtype=np.int64)
    x = reals.graph.input(Input("x", samples.shape[1:], lo, hi), samples, Fraction(1), exact=True)
    return reals, Real(x.tensor, scale, x.fact)


def shown(reals, x):
    return reals.graph.samples(x) * float(x.scale)


def exact_softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rows(generator, length, bits):
    """Return samples that are hard: equal, one peak, ties, a far tail, random."""
    top = 2 ** (bits - 1) - 1
    peak = np.full(length, -top - 1)
    peak[length // 2] = top
    slope = -np.arange(length) % (2 * top)
    return np.array(
        [np.zeros(length), peak, slope - top, generator.integers(-top - 1, top + 1, length),
         generator.integers(-9, 9, length), np.full(length, top)]
    )  # fmt: skip


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("wider", [0, 2, 6])
@pytest.mark.parametrize(("bits", "scale"), [(8, Fraction(1, 16)), (8, Fraction(1, 2**9)), (10, Fraction(1, 64))])
def test_softmax_errs_by_at_most_one_unit_at_every_length(length, bits, scale, wider):
    width = bits + wider  # the operand may have more bits than the budget
    x = rows(np.random.Generator(np.random.PCG64(length)), length, width)
    reals, real = start(x, -(2 ** (width - 1)), 2 ** (width - 1) - 1, scale, bits)
    real = replace(real, exact=False)
    found = shown(reals, softmax(reals, real, [0]))
    assert np.abs(found - exact_softmax(x * float(scale))).max() <= 2.0**-bits


@pytest.mark.parametrize("length", LENGTHS)
def test_exponentials_err_by_at_most_one_unit(length):
    reals, real = start(np.arange(4096).reshape(-1, 1), 0, 4095, Fraction(1, 200), 8)
    weights = exponentials(reals, real, length)
    error = np.abs(shown(reals, weights) - np.exp(-np.arange(4096).reshape(-1, 1) / 200))
    assert error.max() <= float(weights.scale)
    assert weights.scale <= Fraction(1, 2**10 * length)


@pytest.mark.parametrize("length", [2, 3, 7, 64, 255, 1024])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_layer_normalisation_holds_its_precision_at_every_length(length, bits):
    generator = np.random.Generator(np.random.PCG64(length))
    top = 2 ** (bits - 1) - 1
    samples = [generator.normal(0, top / 4, length), generator.uniform(-top, top, length)]
    spike = np.zeros(length)
    spike[0] = top
    samples += [spike, np.arange(length) % (2 * top) - top]
    x = np.clip(np.rint(samples), -top, top).astype(np.int64)
    scale = Fraction(1, 2 ** (bits - 3))
    reals, real = start(x, -top, top, scale, bits)
    y, _ = standardised(reals, real, [0], 1e-5)
    values = x * float(scale)
    expected = (values - values.mean(-1, keepdims=True)) / np.sqrt(values.var(-1, keepdims=True) + 1e-5)
    found = reals.graph.samples(y) * float(y.scale)
    assert np.abs(found - expected).max() <= 4 * 2.0**-bits * np.abs(expected).max()


@pytest.mark.parametrize("bits", [6, 8, 12, 16])
@pytest.mark.parametrize(
    ("high", "scale"),
    [
        (2**12, Fraction(1, 2**7)),
        (2**20, Fraction(1, 2**20)),
        (2**40, Fraction(1, 12 * 2**30)),
        (2**50, Fraction(3, 2**30)),
    ],
)
def test_square_roots_hold_their_bound(bits, high, scale):
    generator = np.random.Generator(np.random.PCG64(0))
    x = np.unique(np.exp(generator.uniform(0, np.log(high), 3000)).astype(np.int64)).reshape(-1, 1)
    reals, real = start(np.vstack([x, [[1]], [[high]]]), 0, high, scale, bits)
    root = square_root(reals, real)
    expected = np.sqrt(reals.graph.samples(real) * float(scale))
    assert (np.abs(shown(reals, root) - expected) <= 2.0**-bits * expected + float(root.scale)).all()


@pytest.mark.parametrize("bits", [6, 8, 12])
def test_logarithms_hold_their_bound(bits):
    generator = np.random.Generator(np.random.PCG64(0))
    x = np.exp(generator.uniform(0, 40 * np.log(2), (3000, 1))).astype(np.int64)
    reals, real = start(x, 1, 2**40, Fraction(1, 2**22), bits)
    log = logarithm(reals, real)
    assert np.abs(shown(reals, log) - np.log(x / 2**22)).max() <= 2.0 ** -(bits - 1)


@pytest.mark.parametrize(
    ("function", "float_function"),
    [
        (lambda x: x.exp(), np.exp),
        (tables.tanh, np.tanh),
        (tables.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
        (tables.softplus, lambda x: np.logaddexp(0, x)),
        (tables.erf, np.vectorize(__import__("math").erf)),
        (lambda x: tables.power(x, Decimal(3)), lambda x: x**3),
    ],
)
def test_table_entries_are_the_nearest_integers(function, float_function):
    entries = tables.rounded(
        tables.entries(function, -300, 300, Fraction(1, 64)), Fraction(1, 2**20), -(2**40), 2**40
    )
    reals = float_function(np.arange(-300, 301) / 64) * 2**20
    assert (np.abs(entries - reals) <= 0.5 + 1e-4).all()


def test_known_values_of_erf_are_met_to_thirty_digits():
    # DLMF and Abramowitz-Stegun table 7.1 in more digits: erf(1), erf(1/2)
    with tables.localcontext(tables.context()):
        assert abs(tables.erf(Decimal(1)) - Decimal("0.842700792949714869341220635082609259")) < Decimal("1e-35")
        assert abs(tables.erf(Decimal("0.5")) - Decimal("0.520499877813046537682746653891964528")) < Decimal("1e-35")


def test_undefined_entries_take_the_nearest_defined_one():
    values = tables.entries(lambda x: x.ln(), -3, 3, Fraction(1))
    assert values[:4] == [None] * 4
    assert tables.rounded(values, Fraction(1, 100), -9999, 9999).tolist() == [0, 0, 0, 0, 0, 69, 110]


def test_halves_are_rounded_up():
    values = tables.entries(lambda x: x / 2, -3, 3, Fraction(1))
    assert tables.rounded(values, Fraction(1), -9, 9).tolist() == [-1, -1, 0, 0, 1, 1, 2]
