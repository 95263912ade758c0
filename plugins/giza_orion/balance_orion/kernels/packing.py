"""Sums of products with constants, several results in one field element.

With B = 2^w, one product x_k * (sum over j of c_kj B^j) makes a term of all results j at once, and the sum over k of
such products is S = sum over j of s_j B^j, over the integers, with s_j of either sign. S is known: nothing was chosen
yet. To take the s_j out, cells z_j are chosen, and asserted

    S + sum over j of k_j B^j = sum over j of z_j B^j,    with z_j in [0, B - 1],

where the numbers k_j make all true z_j = s_j + k_j non-negative. Both sides are in [0, B^lanes) and B^lanes is at
most 2^250, below the field's order. So the equation holds over the integers, and the digits of a number to the base
B are unique. No lane can borrow from another, because each z_j is bounded on both sides:

- z_j = q_j with q_j and most - q_j range-checked and most < B, or,
- where the sum is divided by d next, z_j = q_j d + r_j with q_j in [0, most], r_j in [0, d - 1] and most d + d - 1
  < B: then digit, quotient and remainder are found in one go, as in `rescale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_orion.emitter import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_orion.body import Ref
    from balance_orion.emitter import Emitter

LANE_BITS = 250
"""Bits of all lanes of a field element together."""


@dataclass(frozen=True)
class Lanes:
    """How results are taken out of a packed sum: `node` holds them, after a division by `divisor`."""

    node: int
    divisor: int
    least: int
    most: int

    @property
    def width(self) -> int:
        """Bits of a lane."""
        return ((self.most - self.least + 1) * self.divisor - 1).bit_length() or 1

    @property
    def per_element(self) -> int:
        """How many lanes a field element holds."""
        return LANE_BITS // self.width

    def shift(self, constant: int) -> int:
        """Return k_j for a lane whose result is the sum and a constant."""
        return constant + self.divisor // 2 - self.least * self.divisor

    def join(self, values: Sequence[int]) -> int:
        """Return the sum over j of values[j] B^j."""
        return sum(int(value) << (self.width * lane) for lane, value in enumerate(values))


def accumulate(e: Emitter, terms: Sequence[tuple[Ref, Ref | int]]) -> Ref:
    """Return a cell with the sum of products."""
    body = e.body
    result: Ref | None = None
    for x, weight in terms:
        if isinstance(weight, int) and weight == 0:
            continue
        product = body.mul(x, weight)
        result = product if result is None else body.add(result, product)
    return body.constant(0) if result is None else result


def unpack(e: Emitter, lanes: Lanes, total: Ref, shift: Ref | int, elements: Sequence[np.ndarray]) -> list[Value]:
    """Take the results out of a packed sum; `elements` are those of each lane."""
    body = e.body
    digits, results = [], []
    for chosen in elements:
        quotient, _ = e.bounded(lanes.node, "above", chosen, lanes.most - lanes.least, (lanes.least,))
        results.append(Value(quotient, lanes.least))
        digit = quotient
        if lanes.divisor > 1:
            remainder, _ = e.bounded(lanes.node, "remainder", chosen, lanes.divisor - 1)
            digit = body.add(body.mul(quotient, lanes.divisor), remainder)
        digits.append(digit)
    packed = digits[-1]
    for digit in digits[-2::-1]:
        packed = body.add(body.mul(packed, 1 << lanes.width), digit)
    if isinstance(shift, int):
        body.assert_add(packed, total, shift)
    else:
        body.assert_add(packed, total, shift)
    return results
