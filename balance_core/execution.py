"""Running a model as integers, without proving anything: what `balance exec` and `balance inspect` of a model do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from balance_core.conversion import load_model, read_batch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from balance_core.contracts import Batch
    from balance_core.integer.executor import Execution
    from balance_core.integer.model import IntegerModel
    from balance_core.integer.report import IntegerReport
    from balance_core.integer.settings import IntegerSettings
    from balance_core.model import Model


@dataclass(frozen=True)
class Prepared:
    """A model and its integer model; a report where the integers were chosen by calibration."""

    model: Model
    integer: IntegerModel
    report: IntegerReport | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the choice."""
        if self.report is None:
            return ("the model is integers already: nothing was calibrated",)
        notes = []
        if self.report.random_inputs:
            notes.append("calibrated on random inputs: give real ones with --samples")
        if not self.report.suffices:
            notes.append("the agreement or the error asked for was not reached: allow more bits")
        return tuple(notes)


def prepare(
    source: Path,
    *,
    inputs: Path | None = None,
    samples: Path | None = None,
    dimensions: Mapping[str, int] | None = None,
    settings: IntegerSettings | None = None,
    converter: Mapping[str, Any] | None = None,
) -> tuple[Prepared, Batch | None]:
    """Read a model of any format that is known, make it integers, and read its inputs.

    A float model is calibrated on the samples, by default on the inputs, and without either on random ones. Raises
    ConfigError and UnsupportedModel as the parts do. `converter` holds settings of the format's converter.
    """
    model = load_model(source, dict(dimensions or {}), converter)
    batch = None if inputs is None else read_batch(inputs, model)
    if model.integer is not None:
        from balance_core.integer.encoding import loads

        return Prepared(model, loads(model.integer), None), batch
    from balance_core.integer.calibration import calibrate

    typical = batch if samples is None else read_batch(samples, model)
    made = calibrate(model.proto(), typical, settings)
    return Prepared(model, made.model, made.report), batch


def execute(prepared: Prepared, batch: Batch) -> Execution:
    """Answer a batch in integers, and in the real numbers that they stand for."""
    from balance_core.model.integers import run

    return run(prepared.integer, batch)
