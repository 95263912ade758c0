"""How a backend has the integer model of a model: given, by the recipe in its settings, or by calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.errors import NodeIssue, UnsupportedModel

if TYPE_CHECKING:
    from balance_core.contracts import Samples
    from balance_core.integer.model import IntegerModel
    from balance_core.integer.settings import ProvingSettings
    from balance_core.model import Model

    Facts = dict[str, int | float | str | bool]

CHECKED_SAMPLES = 2
CHECKED_BITS = 8
"""How many random inputs, and which bits, a model is tried with where no recipe and no bits are set."""


def obtained(
    model: Model, samples: Samples | None, settings: ProvingSettings
) -> tuple[IntegerModel, ProvingSettings, Facts]:
    """Return the integer model, the settings that make it again without samples, and facts about it.

    Raises UnsupportedModel with every node at fault, ConfigError for a recipe that does not fit.
    """
    from balance_core.integer.calibration import calibrate

    found = known(model, settings)
    if found is not None:
        return found, settings, _facts(found)
    try:
        made = calibrate(model.proto(), None if samples is None else samples.inputs, settings)
    except UnsupportedModel as error:
        raise _named(model, error) from error
    chosen = made.report.chosen
    facts: Facts = {
        "bits": chosen.bits,
        "weight_bits": chosen.weight_bits,
        "mean_bits": round(made.report.mean_bits, 2),
        "calibration_samples": made.report.samples,
        "calibrated_on_random_inputs": made.report.random_inputs,
        "accuracy_reached": made.report.suffices,
    }
    again = settings.model_copy(update={"recipe": made.recipe.text()})
    return made.model, again, {**facts, **_facts(made.model)}


def known(model: Model, settings: ProvingSettings) -> IntegerModel | None:
    """Return the integer model where nothing is left to choose: it is given, or the settings hold a recipe."""
    from balance_core.integer.encoding import loads

    if model.integer is not None:
        return loads(model.integer)
    if settings.recipe is None:
        return None
    from balance_core.integer.calibration import replay
    from balance_core.integer.recipe import Recipe

    try:
        return replay(model.proto(), Recipe.from_text(settings.recipe))
    except UnsupportedModel as error:
        raise _named(model, error) from error


def attempted(model: Model, settings: ProvingSettings) -> IntegerModel:
    """Return a structure like the one that `obtained` gives, cheaply; raises UnsupportedModel as that does."""
    found = known(model, settings)
    if found is not None:
        return found.structure_only()
    from balance_core.integer.calibration import random_inputs
    from balance_core.integer.lowering.driver import Lowering
    from balance_core.integer.lowering.graph import TooManySamples

    proto = model.proto()
    bits = settings.bits or CHECKED_BITS
    try:
        batch = {name: array[:CHECKED_SAMPLES] for name, array in random_inputs(proto, settings).items()}
        lowering = Lowering(proto, batch, bits, settings.weight_bits or max(bits, CHECKED_BITS), settings.fixed)
        return lowering.run().model.structure_only()
    except TooManySamples as error:
        raise _named(model, UnsupportedModel(f"the model is too large: {error}")) from None
    except UnsupportedModel as error:
        raise _named(model, error) from error


def _facts(integer: IntegerModel) -> Facts:
    return {"nodes": len(integer.nodes), "structure": integer.structure_digest}


def _named(model: Model, error: UnsupportedModel) -> UnsupportedModel:
    """Return the error with the nodes at fault; where none is to blame, with the model itself."""
    if error.issues:
        return error
    return UnsupportedModel(
        "the model has no integer form", issues=[NodeIssue(model.name, "model", error.message)], hint=error.hint
    )
