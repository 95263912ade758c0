"""What a few small networks cost on this machine: the measuring half of a calibration."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Literal

from balance_core.compare.calibration import Calibration, Point, lines, path, this_machine
from balance_core.errors import BalanceError, ConfigError, StageTimeout, UnsupportedModel
from balance_core.files import write_whole
from balance_core.stages import Limits, Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from balance_core.pipeline import Pipeline
    from balance_core.workspace import Workspace

WIDTHS = (8, 64, 128, 256, 512)
"""Neurons of the two layers of the models that are measured, while time is left: 128 to 524,288 multiply-adds."""
SAMPLES = 40
BUDGET_SECONDS = 55.0
"""What all backends together may take."""
MOST_PROOFS = 3
"""How often a quick proof is repeated; the median counts."""
_QUICK_SECONDS = 1.0
_NOBODY = "00" * 32
"""The provider that a commitment is made for where nothing is registered."""
_GROWTH = 2.0
"""How much longer than the last model the next one may take, and is still begun."""

Clock = Literal["wall_seconds", "cpu_seconds"]
"""What a stage's seconds are counted by. On a busy machine only the processor's say how well a fit is."""


def calibrate(
    workspace: Workspace,
    backends: Iterable[str],
    *,
    tell: Callable[[str], None] = lambda _: None,
    budget: float = BUDGET_SECONDS,
) -> dict[str, Calibration | BalanceError]:
    """Measure small models with each backend and keep what follows; an error stands in the place of a backend's.

    What is left of the time is shared among the backends that are still to come.
    """
    waiting = list(backends)
    found: dict[str, Calibration | BalanceError] = {}
    ends = time.monotonic() + budget
    while waiting:
        backend = waiting.pop(0)
        share = (ends - time.monotonic()) / (len(waiting) + 1)
        load_average = _load()
        try:
            points = measured(workspace, backend, budget=share, tell=tell)
            found[backend] = made = _calibration(backend, points, load_average)
            write_whole(path(workspace, backend), made.to_json())
        except BalanceError as error:
            found[backend] = error
    return found


def _calibration(backend: str, points: Sequence[Point], load_average: float) -> Calibration:
    from balance_core import registry

    fitted = lines(points)
    if not fitted:
        raise ConfigError(
            f"{backend} makes no estimates that could be fitted", hint="its author can: Support.estimate"
        )
    return Calibration.from_value({
        "backend": backend,
        "version": registry.load("backends", backend).version,
        "machine": this_machine(),
        "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "load_average": load_average,
        "models": len(points),
        "lines": {name: line.model_dump() for name, line in fitted.items()},
    })  # fmt: skip


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def measured(
    workspace: Workspace,
    backend: str,
    *,
    budget: float,
    tell: Callable[[str], None] = lambda _: None,
    clock: Clock = "wall_seconds",
    widths: Sequence[int] = WIDTHS,
) -> list[Point]:
    """Run the small models, smallest first, as long as the time allows; raises the error of the first of them."""
    import numpy as np

    from balance_core.compare.suites.perceptron import square

    points: list[Point] = []
    ends, last = time.monotonic() + budget, 0.0
    with workspace.scratch() as folder:
        model, inputs = folder / "model.onnx", folder / "x.npy"
        for width in widths:
            left, began = ends - time.monotonic(), time.monotonic()
            if points and left < last * _GROWTH:
                break
            tell(f"{backend}: a network of two layers of {width} neurons")
            model.write_bytes(square(width, seed=width))
            random = np.random.default_rng(width)
            np.save(inputs, random.standard_normal((SAMPLES, width)).astype(np.float32))
            try:
                points.append(run(workspace, backend, model, inputs, seconds=max(left, 5.0), clock=clock))
            except (StageTimeout, UnsupportedModel):
                if not points:
                    raise
                break
            last = time.monotonic() - began
    return points


def run(
    workspace: Workspace,
    backend: str,
    model: Path,
    inputs: Path,
    *,
    seconds: float | None = None,
    clock: Clock = "wall_seconds",
) -> Point:
    """Check, set up and prove one model in a workspace that is thrown away; reference strings are kept."""
    from balance_core.pipeline import Pipeline
    from balance_core.workspace import Workspace as Place

    with workspace.scratch() as folder:
        workspace.srs.mkdir(parents=True, exist_ok=True)
        place = Place(folder)
        place.srs.symlink_to(workspace.srs, target_is_directory=True)
        with Pipeline(workspace=place, backend=backend, limits=Limits(seconds=seconds), force=True) as pipeline:
            converted = pipeline.convert(model, inputs=inputs)
            estimate = pipeline.check(converted).estimate
            strings = _listing(workspace.srs)
            preparation = pipeline.prepare(converted, _NOBODY)
            if _listing(workspace.srs) != strings:  # setup made a reference string, which it does but once
                (entry,) = place.cache.glob("*.json")
                entry.unlink()
                preparation = pipeline.prepare(converted, _NOBODY)
            for _ in range(MOST_PROOFS):
                pipeline.prove(preparation, converted.inputs or "", index=0, context=bytes(32))
                if _stages(pipeline, "prove")[-1].wall_seconds > _QUICK_SECONDS:
                    break
            return Point(estimate, _costs(pipeline, clock))


def _listing(folder: Path) -> frozenset[str]:
    return frozenset(file.name for file in folder.iterdir() if not file.name.startswith("."))


def _stages(pipeline: Pipeline, stage: str) -> list[Measurement]:
    return [report.measurement for report in pipeline.stages if report.stage == stage and not report.cached]


def _costs(pipeline: Pipeline, clock: str) -> dict[str, float]:
    peaks = [_stages(pipeline, stage)[-1].peak_memory_bytes for stage in ("setup", "commit", "prove")
             if _stages(pipeline, stage)]  # fmt: skip
    return {
        "setup_seconds": float(getattr(_stages(pipeline, "setup")[-1], clock)),
        "prove_seconds": median(float(getattr(spent, clock)) for spent in _stages(pipeline, "prove")),
        "memory_bytes": float(max(peaks)),
    }
