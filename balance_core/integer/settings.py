"""What a user can choose about quantisation."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from balance_core.integer.recipe import Fixed, Recipe
from balance_core.settings import Settings

Bits = Annotated[int, Field(ge=4, le=16)]


class IntegerSettings(Settings):
    """How a float model becomes integers; every field has a default that suits a small network."""

    bits: Annotated[Bits | None, Field(description="bits of every activation; none: the cheapest that suffices")] = (
        None
    )
    weight_bits: Annotated[
        Bits | None, Field(description="bits of every weight; none: as many as of the activations, at least 8")
    ] = None
    min_agreement: Annotated[
        float, Field(ge=0, le=1, description="least share of samples whose largest output is the float model's")
    ] = 0.995
    max_error: Annotated[
        float, Field(gt=0, description="largest error of an output, as a share of the range of that output")
    ] = 0.02
    max_bits: Annotated[Bits, Field(description="most bits of an activation that the search tries")] = 14
    fixed: Annotated[
        Fixed | None,
        Field(
            description="one fixed-point format for inputs, weights, factors and outputs; none: scales that suit each"
        ),
    ] = None
    samples: Annotated[int, Field(ge=1, le=4096, description="most calibration samples used")] = 128
    low: Annotated[float, Field(description="least value of the random inputs used when no samples are given")] = 0.0
    high: Annotated[float, Field(description="largest value of those random inputs")] = 1.0
    seed: Annotated[int, Field(ge=0, description="seed of the random inputs used when no samples are given")] = 0


def _recipe_text(value: object) -> object:
    """Return a recipe's canonical text, given as that or as its JSON value; raises ConfigError for anything else."""
    if isinstance(value, dict):
        return Recipe.from_value(value).text()
    if isinstance(value, str):
        Recipe.from_text(value)
    return value


class ProvingSettings(IntegerSettings):
    """The settings of a backend that proves the integer model; a circuit's own hold its recipe."""

    recipe: Annotated[
        str | None,
        BeforeValidator(_recipe_text),
        Field(description="recorded choices that replace calibration; a circuit's settings hold its own"),
    ] = None
