"""The rules that lower ONNX operators, by domain and operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from balance_core.integer.lowering.node import Node, Value

    Lower = Callable[[Node], Value | Sequence[Value | None]]

ML = "ai.onnx.ml"


@dataclass(frozen=True)
class Rule:
    """How one operator is lowered, and what precision it declares."""

    lower: Lower
    precision: float
    """Largest error on the calibrated range, in units of 2^-bits of the largest real operand or result."""


RULES: dict[tuple[str, str], Rule] = {}
"""Filled by the modules beside this one when `load` imports them."""


def rule(*operators: str, domain: str = "", precision: float = 4) -> Callable[[Lower], Lower]:
    """Register a lowering for operators."""

    def register(lower: Lower) -> Lower:
        for operator in operators:
            if (domain, operator) in RULES:
                raise AssertionError(f"{operator} has two rules")
            RULES[domain, operator] = Rule(lower, precision)
        return lower

    return register


def load() -> dict[tuple[str, str], Rule]:
    """Return all rules."""
    from balance_core.integer.lowering.rules import (  # noqa: F401 - imported to register
        activation,
        arithmetic,
        classic,
        indexing,
        linear,
        logic,
        normalisation,
        pooling,
        quantised,
        recurrent,
        reduction,
        shaping,
        trees,
    )

    return RULES
