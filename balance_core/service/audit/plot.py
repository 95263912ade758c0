"""An audit's report as one SVG: accuracy with its bounds, each class, and the odds that a cheater is caught."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from balance_core.errors import ToolNotFound
from balance_core.service.audit import odds
from balance_core.service.audit.report import headline

if TYPE_CHECKING:
    from balance_core.service.audit.records import AuditReport

_MOST_CLASSES = 40
_STYLE: Any = {"svg.hashsalt": "balance", "svg.fonttype": "none", "font.size": 9}
"""The same report gives the same file."""
_SIGNED, _PROVEN = "#9db4c8", "#1f5f8b"


def as_svg(report: AuditReport) -> bytes:
    """Return the plot; raises ToolNotFound without matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ToolNotFound(
            "matplotlib is not installed, which draws the plot", hint="pip install 'balance-core[audit]'"
        ) from error
    with mpl.rc_context(_STYLE):
        classes = report.classes[:_MOST_CLASSES]
        figure = Figure(figsize=(9.6, 3.4 if len(classes) <= 12 else 5.2), layout="constrained")
        figure.suptitle(headline(report), fontsize=9)
        panels = figure.subplots(1, 3 if classes else 2, squeeze=False)[0]
        _accuracy(panels[0], report)
        if classes:
            _classes(panels[1], report)
        _odds(panels[-1], report)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _accuracy(panel: Any, report: AuditReport) -> None:
    bars: list[tuple[str, float, Any]] = [("signed", report.right / report.samples, None)]
    if report.proven:
        bars.append(("proven", report.proven_right / report.drawn, report.of_set))
        bars.append(("beyond", report.proven_right / report.drawn, report.of_population))
    for place, (_, share, interval) in enumerate(bars):
        panel.bar(place, share, 0.6, color=_PROVEN if place else _SIGNED)
        if interval is not None:
            spread = [[max(share - interval.low, 0)], [max(interval.high - share, 0)]]
            panel.errorbar(place, share, yerr=spread, color="black", capsize=4)
    panel.set_xticks(range(len(bars)), [name for name, _, _ in bars])
    panel.set_ylim(0, 1.02)
    panel.set_ylabel("right answers")


def _classes(panel: Any, report: AuditReport) -> None:
    rows = report.classes[:_MOST_CLASSES]
    places = range(len(rows))
    panel.barh(places, [row.right / row.samples for row in rows], 0.75, color=_SIGNED, label="signed")
    proven = [row.proven_right / row.proven if row.proven else 0.0 for row in rows]
    panel.barh(places, proven, 0.35, color=_PROVEN, label="proven")
    panel.set_yticks(places, [row.label[:20] for row in rows])
    panel.invert_yaxis()
    panel.set_xlim(0, 1.02)
    panel.set_xlabel("right answers of each class")
    panel.legend(fontsize=7)


def _odds(panel: Any, report: AuditReport) -> None:
    most = min(report.samples, max(20, report.samples // 4))
    numbers = sorted({round(most * step / 60) for step in range(61)})
    caught = [float(1 - odds.missed(report.samples, report.drawn, number)) for number in numbers]
    panel.plot([100 * number / report.samples for number in numbers], caught, color=_PROVEN)
    panel.set_ylim(0, 1.02)
    panel.set_xlabel("% of answers false")
    panel.set_ylabel("probability of being caught")
    panel.grid(alpha=0.3)
