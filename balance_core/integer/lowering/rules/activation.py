"""Functions of one number: each becomes a table, or joins the table of what it is applied to."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer import tables
from balance_core.integer.lowering.node import Curve
from balance_core.integer.lowering.rules import rule
from balance_core.integer.tables import exact

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.integer.lowering.node import Node, Value

    Function = Callable[[Decimal], Decimal]

ZERO, ONE, HALF = Decimal(0), Decimal(1), Decimal("0.5")
SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def _number(value: float) -> Decimal:
    return exact(Fraction(value))


@rule("Exp", "Erf", "Tanh", "Sigmoid", "Softplus", "Softsign", "Mish", "Ceil", "Floor", "Round")
@rule("Log", "Sqrt", "Reciprocal", "HardSwish", precision=8)
def plain(node: Node) -> Value:
    """Functions without parameters."""
    if node.op in {"Ceil", "Floor", "Round"} and node.is_integer(0):
        return node.value(0)
    return node.pending(node.value(0)).then(PLAIN[node.op])


PLAIN: dict[str, Function] = {
    "Ceil": lambda x: -tables.floor(-x),
    "Erf": tables.erf,
    "Exp": lambda x: x.exp(),
    "Floor": tables.floor,
    "HardSwish": lambda x: x * min(max(x / 6 + HALF, ZERO), ONE),
    "Log": lambda x: x.ln(),
    "Mish": lambda x: x * tables.tanh(tables.softplus(x)),
    "Reciprocal": lambda x: 1 / x,
    "Round": lambda x: x.to_integral_value(rounding="ROUND_HALF_EVEN"),
    "Sigmoid": tables.sigmoid,
    "Softplus": tables.softplus,
    "Softsign": lambda x: x / (1 + abs(x)),
    "Sqrt": lambda x: x.sqrt(),
    "Tanh": tables.tanh,
}


@rule("HardSigmoid", "Elu", "Selu", "Celu", "Gelu", "LeakyRelu", "ThresholdedRelu", "Swish", precision=8)
def with_parameters(node: Node) -> Value:
    """Functions whose parameters are attributes."""
    return node.pending(node.value(0)).then(_function(node))


def _function(node: Node) -> Function:
    if node.op == "Gelu":
        return gelu_tanh if node.text("approximate") == "tanh" else gelu
    alpha = _number(node.number("alpha", SELU_ALPHA if node.op == "Selu" else 1.0))
    second = {"HardSigmoid": ("beta", None), "Selu": ("gamma", SELU_GAMMA)}.get(node.op)
    beta = _number(node.number(*second)) if second else ZERO
    functions: dict[str, Function] = {
        "Celu": lambda x: max(x, ZERO) + min(ZERO, alpha * ((x / alpha).exp() - 1)),
        "Elu": lambda x: x if x > 0 else alpha * (x.exp() - 1),
        "HardSigmoid": lambda x: min(max(alpha * x + beta, ZERO), ONE),
        "LeakyRelu": lambda x: x if x >= 0 else alpha * x,
        "Selu": lambda x: beta * (x if x > 0 else alpha * (x.exp() - 1)),
        "Swish": lambda x: x * tables.sigmoid(alpha * x),
        "ThresholdedRelu": lambda x: x if x > alpha else ZERO,
    }
    return functions[node.op]


def gelu(x: Decimal) -> Decimal:
    """Return x * Phi(x), Phi being the normal distribution."""
    return x * HALF * (1 + tables.erf(x / Decimal(2).sqrt()))


def gelu_tanh(x: Decimal) -> Decimal:
    """The approximation of Gelu by tanh (Hendrycks and Gimpel, 2016)."""
    inner = (2 / tables.PI).sqrt() * (x + Decimal("0.044715") * x * x * x)
    return x * HALF * (1 + tables.tanh(inner))


@rule("Relu")
def relu(node: Node) -> Value:
    """max(x, 0): a clamp."""
    x = node.value(0)
    if isinstance(x, Curve):
        return x.then(lambda v: max(v, ZERO))
    return node.reals.clip(node.real(0), 0, np.inf)


@rule("Clip")
def clip(node: Node) -> Value:
    """min(max(x, low), high): a clamp when the bounds are scalar constants."""
    low, high = (_bound(node, place, name) for place, name in ((1, "min"), (2, "max")))
    x = node.value(0)
    if isinstance(x, Curve):
        least, most = _number(max(low, -1e30)), _number(min(high, 1e30))
        return x.then(lambda v: min(max(v, least), most))
    return node.reals.clip(node.real(0), low, high)


def _bound(node: Node, place: int, name: str) -> float:
    missing = -np.inf if name == "min" else np.inf
    if node.opset < 11:
        return node.number(name, missing)
    return float(node.constant(place).reshape(())) if node.has(place) else missing


@rule("PRelu")
def prelu(node: Node) -> Value:
    """max(x, 0) + slope * min(x, 0)."""
    r = node.reals
    x = node.real(0)
    positive, negative = r.clip(x, 0, np.inf), r.clip(x, -np.inf, 0)
    scaled = r.mul_constant(negative, node.constant(1)) if node.is_constant(1) else r.mul(negative, node.real(1))
    return r.add(positive, scaled)


@rule("Abs")
def absolute(node: Node) -> Value:
    """|x|: the larger of x and -x."""
    x = node.value(0)
    if isinstance(x, Curve):
        return x.then(abs)
    r = node.reals
    x = r.narrow(node.real(0))
    pair = r.stack([x, r.negate(x)])
    result = r.max(pair, [0])
    return r.clamp(r.reshape(result, result.shape[1:]), 0, max(0, result.fact.hi))


@rule("Sign")
def sign(node: Node) -> Value:
    """-1, 0 or 1: two comparisons."""
    r = node.reals
    x = node.real(0)
    zero = r.structural(np.zeros((1,) * len(x.shape)), x.scale)
    return r.sub(r.less(zero, x), r.less(x, zero))
