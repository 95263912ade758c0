"""Recipes: every choice that a lowering took from samples and weights, so that it can be taken again without samples.

A recipe holds numbers that its integer model's structure shows as well (scales, intervals, declared ranges), and no
sample. The same model replayed from it gives the same bytes; a retrained model of the same architecture gives the
same structure, or a ConfigError that names the weight or range that leaves what the recipe declares. A recipe may
come from anybody: each number is checked where it is used, and the structure at the end.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from balance_core.errors import ConfigError
from balance_core.integer.facts import Inadmissible
from balance_core.records import Digest, Record

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RECIPE_BYTES = 2**19
"""Largest recipe in its text form: a circuit's settings hold it, and travel with every bundle."""
MAX_CHOICES = 2**15
MAX_EXPONENT = 400
"""Largest magnitude of the exponent of a scale, which is a power of two; the encoding has no room for more."""
Fixed = Literal["FP16x16", "FP8x23"]
"""Formats of fixed-point numbers: bits before the point, and behind it."""
Number = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Kind = Literal["input", "narrow", "table", "floor", "shift", "scale", "bound", "term", "uniform", "same"]
"""What is chosen: an input's scale and interval, a narrowed tensor's, a table's; the least logit that matters; the
precision of a quotient; a weight's scale and its range; how a constant term is added; whether all factors are one
scalar; which weights are one tensor."""
Choice = tuple[Kind, Annotated[int, Field(ge=0)], Annotated[tuple[Number, ...], Field(max_length=4)]]
"""What is chosen, at which place (the number of tensors made before), and the numbers."""
AGAIN = "calibrate with samples again: that makes another circuit"


class Recipe(Record):
    """The choices of one lowering, in order, and the digest of the structure that they make."""

    kind: ClassVar[str] = "integer-recipe"
    bits: Annotated[int, Field(ge=2, le=16)]
    weight_bits: Annotated[int, Field(ge=2, le=16)]
    fixed: Fixed | None
    structure: Digest
    choices: Annotated[tuple[Choice, ...], Field(max_length=MAX_CHOICES)]

    def text(self) -> str:
        """Return the canonical JSON as text; raises ConfigError for one that nobody would read again."""
        data = self.to_json()
        if len(data) > MAX_RECIPE_BYTES:
            raise ConfigError(
                f"the model needs a recipe of {len(data)} bytes, more than the {MAX_RECIPE_BYTES} allowed"
            )
        return data.decode()

    @classmethod
    def from_text(cls, text: str) -> Recipe:
        """Read a recipe from anybody; raises ConfigError for any other text than `text` gives."""
        return cls.from_json(text.encode("utf-8", "surrogatepass"), max_size=MAX_RECIPE_BYTES)


class Choices:
    """Takes the choices of a lowering: from the samples, writing them down, or from a recipe."""

    def __init__(self, recipe: Recipe | None = None) -> None:
        self.replaying = recipe is not None
        self.taken: list[Choice] = []
        self._given = recipe.choices if recipe is not None else ()

    def take(self, kind: Kind, place: int, what: str, choose: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        """Return what `choose` gives, or what the recipe has; `what` names what is being lowered, for messages."""
        if not self.replaying:
            numbers = choose()
        elif self.offers(kind, place):
            numbers = self._given[len(self.taken)][2]
        else:
            raise ConfigError(f"the recipe is of another model: it has no {kind} for {what}", hint=AGAIN)
        self.taken.append((kind, place, numbers))
        return numbers

    def offers(self, kind: Kind, place: int) -> bool:
        """Whether the recipe's next choice is of this kind and place."""
        at = len(self.taken)
        return at < len(self._given) and self._given[at][:2] == (kind, place)

    def finish(self) -> None:
        """Raise ConfigError when the recipe has choices left."""
        left = len(self._given) - len(self.taken)
        if self.replaying and left:
            raise ConfigError(f"the recipe is of another model: {left} of its choices are left over", hint=AGAIN)


def point_of(fixed: Fixed) -> tuple[int, int]:
    """Return the bits before the point of a format, and the bits behind it."""
    before, _, behind = fixed.removeprefix("FP").partition("x")
    return int(before), int(behind)


def scale_of(numbers: tuple[int, ...], what: str) -> Fraction:
    """Return the scale 2^k whose exponent a choice begins with; raises Inadmissible for one beyond all bounds."""
    if not numbers or abs(numbers[0]) > MAX_EXPONENT:
        raise Inadmissible(f"{what} has no scale from 2^-{MAX_EXPONENT} to 2^{MAX_EXPONENT}")
    return Fraction(2) ** numbers[0]


def exponent_of(scale: Fraction) -> int:
    """Return k for a scale of 2^k."""
    return scale.numerator.bit_length() - scale.denominator.bit_length()


def range_of(numbers: tuple[int, ...], bits: int, what: str) -> tuple[int, int]:
    """Return the interval that a choice ends with; raises ConfigError for one that does not fit into the bits."""
    if len(numbers) < 2 or not 0 <= numbers[-1] - numbers[-2] < 1 << bits:
        raise ConfigError(f"the recipe's interval for {what} does not fit into {bits} bits")
    return numbers[-2], numbers[-1]


def only(numbers: tuple[int, ...], low: int, high: int, what: str) -> int:
    """Return the one number of a choice; raises ConfigError when it is not in [low, high]."""
    if len(numbers) != 1 or not low <= numbers[0] <= high:
        raise ConfigError(f"the recipe's number for {what} is not one of {low} to {high}")
    return numbers[0]
