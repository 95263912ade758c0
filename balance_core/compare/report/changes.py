"""What changed between two sets of results, for a terminal and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from balance_core.compare.report.numbers import ratio, show
from balance_core.compare.report.view import STATUS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from balance_core.compare.baseline import Change, Comparison

_NOISY_DRIFT = 0.05


def lines(found: Comparison) -> Iterator[str]:
    """Yield the changes that matter, worst first, then what cannot be judged, and a summary."""
    for machine, drift in found.drift:
        if abs(drift - 1) > _NOISY_DRIFT:
            yield f"note: on {machine} all times together changed {ratio(drift)}: the machine itself may have"
    for was, now in found.broken:
        yield f"broken  {now.model} {now.label}: {STATUS[was.status][0]}, now {STATUS[now.status][0]}: {now.reason}"
    judged = [change for change in found.changes if change.verdict != "same"]
    for change in sorted(judged, key=lambda change: (_ORDER[change.verdict], -change.ratio)):
        yield _line(change)
    for _, now in found.mended:
        yield f"mended  {now.model} {now.label}"
    if found.missing:
        yield f"note: {len(found.missing)} cells of the baseline were not run again"
    if found.added:
        yield f"note: {len(found.added)} cells are new"
    same = len(found.changes) - len(judged)
    worse, broken, total = len(found.regressions), len(found.broken), len(found.changes)
    yield f"{worse} worse, {broken} broken, {same} of {total} figures the same"


_ORDER = {"worse": 0, "better": 1, "within noise": 2}


def _line(change: Change) -> str:
    metric = change.metric
    moved = ratio(change.ratio) if metric.unit != "share" else ""
    text = f"{change.verdict:<12} {change.row.model} {change.row.label}: {metric.label.lower()}"
    text += f" {show(change.old.middle, metric.unit)} to {show(change.new.middle, metric.unit)} {moved}".rstrip()
    if change.old.samples == change.new.samples == 1 and metric.unit == "s":
        return f"{text}, one sample each"
    return f"{text}, samples spread over {change.noise:.0%}" if change.noise else text


def as_json(found: Comparison) -> str:
    """Return all changes as JSON."""
    value = {
        "ok": found.ok,
        "changes": [
            {"machine": c.row.machine, "model": c.row.model, "backend": c.row.backend, "settings": c.row.settings,
             "metric": c.metric.name, "old": c.old.middle, "new": c.new.middle,
             "ratio": c.ratio if c.old.middle or not c.new.middle else None, "noise": c.noise, "verdict": c.verdict}
            for c in found.changes
        ],
        "broken": [now.key for _, now in found.broken],
        "mended": [now.key for _, now in found.mended],
        "missing": [row.key for row in found.missing],
        "added": [row.key for row in found.added],
        "drift": dict(found.drift),
    }  # fmt: skip
    return json.dumps(value, indent=1, allow_nan=False) + "\n"
