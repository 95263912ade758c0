"""The page's drawings: bars, scatters with their Pareto front, growth with size, predicted against measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core.compare import pareto, scaling
from balance_core.compare.report import svg
from balance_core.compare.report.axes import dress, labels, limits, scale, ticks
from balance_core.compare.report.numbers import show
from balance_core.compare.table import unique

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.compare.metrics import Metric
    from balance_core.compare.table import Row, Table

MARKERS = "osD^vPX*"
"""One for each setting of a backend."""
_LABEL = 26
"""Characters of a name in a drawing; the matrix has all of it."""
_SMALLEST, _LARGEST = 1e-12, 1e18
"""What lies beyond these is no figure of this world, and would be no axis."""
PANEL = (3.6, 2.7)
"""Inches of a small drawing, of which several stand side by side."""


@dataclass(frozen=True)
class Plot:
    """A drawing of the page: SVG text, and what stands around it."""

    title: str
    caption: str
    image: str
    model: str = ""


@dataclass(frozen=True)
class Look:
    """Which colour and marker each backend and its settings have, the same in all drawings."""

    colours: dict[str, int]
    markers: dict[str, str]
    labels: dict[str, str]
    """What a row is called in a drawing: settings are named where a backend has several."""

    @classmethod
    def of(cls, table: Table) -> Look:
        """Give out colours by backend and markers by settings."""
        colours = {name: place % svg.SERIES for place, name in enumerate(table.backends)}
        markers: dict[str, str] = {}
        names: dict[str, str] = {}
        for backend in table.backends:
            own = unique(row.label for row in table.rows if row.backend == backend)
            markers |= {label: MARKERS[place % len(MARKERS)] for place, label in enumerate(own)}
            names |= {label: label if len(own) > 1 else backend for label in own}
        return cls(colours, markers, names)

    def name(self, row: Row) -> str:
        """Return what a row is called in a drawing, short enough for it."""
        return _cut(self.labels[row.label])

    def colour(self, row: Row) -> str:
        """Return the stand-in colour of a row's backend."""
        return svg.SERIES_COLOURS[self.colours[row.backend]]

    def style(self, row: Row) -> str:
        """Return the class of a row's parts, by which the page fades a backend."""
        return f"b{self.colours[row.backend]}"


def bars(table: Table, metric: Metric, look: Look, name: str) -> Plot | None:
    """Draw a metric of all rows, grouped by model, on a logarithmic axis where the values ask for one."""
    groups = [
        (machine, model, [row for row in rows if _positive(row.get(metric.name))])
        for machine, model, rows in table.groups()
    ]
    groups = [group for group in groups if group[2]]
    if not groups:
        return None
    count = sum(len(rows) for _, _, rows in groups)
    values = [value for _, _, rows in groups for row in rows if (value := row.get(metric.name))]
    several = len({machine for machine, _, _ in groups}) > 1
    with svg.drawing(5.2, 0.55 + 0.2 * count + 0.26 * len(groups)) as made:
        axes, place, named = made.axes, 0.0, []
        low, high = limits(values)
        for machine, model, rows in groups:
            heading = _cut(model) + (f" · {_cut(machine)}" if several else "")
            axes.text(0, -place, heading, transform=axes.get_yaxis_transform(), va="center", weight="bold", size=9)
            place += 0.9
            for row in sorted(rows, key=lambda row: row.get(metric.name) or 0):
                figure = row.values[metric.name]
                tip = f"{row.label}, {row.model}: {show(figure.middle, metric.unit)}"
                tip += f" ({show(figure.low, metric.unit)} to {show(figure.high, metric.unit)})"
                (bar,) = axes.barh(-place, figure.middle - low, left=low, height=0.72, color=look.colour(row))
                bar.set_gid(made.name(tip, look.style(row)))
                if figure.high > figure.low:
                    axes.plot([figure.low, figure.high], [-place, -place], color=svg.INK, linewidth=1.2,
                              solid_capstyle="butt")  # fmt: skip
                axes.annotate(show(figure.middle, metric.unit), (max(figure.middle, figure.high), -place), (4, 0),
                              textcoords="offset points", va="center", size=8, color=svg.MUTED)  # fmt: skip
                named.append((-place, look.name(row)))
                place += 1
            place += 0.25
        axes.set_xscale("log")
        axes.set_xlim(low, high * 2)
        axes.set_ylim(-place + 0.5, 0.6)
        axes.set_yticks([at for at, _ in named], [label for _, label in named])
        axes.tick_params(axis="y", length=0, labelsize=8.5, labelcolor=svg.INK)
        axes.spines["left"].set_visible(False)
        dress(axes.xaxis, metric, low, high * 2)
        better = {"less": "shorter is better", "more": "longer is better"}.get(metric.better, "")
        words = f"{metric.label} of {count} cells, as bars on a logarithmic axis; {better}."
        return Plot(metric.label, f"{better}; logarithmic", svg.write(made, name, metric.label, words))


def scatter(rows: Sequence[Row], across: Metric, up: Metric, look: Look, name: str) -> Plot | None:
    """Draw two metrics of one model's rows against each other, and the front of those that nothing beats."""
    rows = [row for row in rows if _drawable(row, across) and _drawable(row, up)]
    if not rows:
        return None
    points = [(_of(row, across), _of(row, up)) for row in rows]
    signs = [1 if metric.better == "less" else -1 for metric in (across, up)]
    best = pareto.front([(x * signs[0], y * signs[1]) for x, y in points])
    with svg.drawing(*PANEL) as made:
        axes = made.axes
        if len(best) > 1:
            axes.plot([points[i][0] for i in best], [points[i][1] for i in best], color=svg.MUTED,
                      linewidth=1.2, linestyle=(0, (4, 3)), gid=made.name("the Pareto front", "front"))  # fmt: skip
        for place, (row, (x, y)) in enumerate(zip(rows, points, strict=True)):
            tip = f"{row.label}: {across.label} {show(x, across.unit)}, {up.label} {show(y, up.unit)}"
            tip += ", on the Pareto front" if place in best else ""
            axes.plot(x, y, marker=look.markers[row.label], markersize=9, color=look.colour(row), linestyle="none",
                      markeredgecolor=svg.PAPER if place in best else look.colour(row),
                      fillstyle="full" if place in best else "none", markeredgewidth=1.2,
                      gid=made.name(tip, look.style(row)))  # fmt: skip
        for axis, metric, place in ((axes.xaxis, across, 0), (axes.yaxis, up, 1)):
            scale(axis, metric, [point[place] for point in points])
            axis.set_label_text(metric.label)
        labels(made, [look.name(row) for row in rows], points)
        words = "; ".join(
            f"{look.name(row)}: {show(x, across.unit)}, {show(y, up.unit)}{' (Pareto front)' if i in best else ''}"
            for i, (row, (x, y)) in enumerate(zip(rows, points, strict=True))
        )
        title = f"{rows[0].model}: {up.label} against {across.label}"
        return Plot(rows[0].model, words, svg.write(made, name, title, words), rows[0].model)


def growth(family: str, rows: Sequence[Row], metric: Metric, look: Look, name: str) -> Plot | None:
    """Draw how a metric grows over the sizes of one family, with the power law of each backend."""
    series: dict[str, list[Row]] = {}
    for row in rows:
        if row.size and _positive(row.get(metric.name)):
            series.setdefault(row.label, []).append(row)
    laws = {label: scaling.fit([row.size or 0 for row in own], [_of(row, metric) for row in own])
            for label, own in series.items()}  # fmt: skip
    if not any(laws.values()):
        return None
    said = []
    with svg.drawing(*PANEL) as made:
        axes = made.axes
        for label, own in series.items():
            law, style = laws[label], look.style(own[0])
            sizes = sorted(row.size or 0 for row in own)
            for row in own:
                tip = f"{label}, {row.model}: {show(row.size, 'count')} MAC, {show(_of(row, metric), metric.unit)}"
                axes.plot(row.size or 0, _of(row, metric), marker=look.markers[label], markersize=7, linestyle="none",
                          color=look.colour(row), markeredgecolor=svg.PAPER, gid=made.name(tip, style))  # fmt: skip
            if law is None:
                continue
            text = f"{label}: size to the power {law.exponent:.2f} ± {law.error:.2f}"
            said.append(text)
            axes.plot([sizes[0], sizes[-1]], [law.at(sizes[0]), law.at(sizes[-1])], color=look.colour(own[0]),
                      linewidth=1.3, gid=made.name(text, style))  # fmt: skip
            axes.annotate(f"n^{law.exponent:.2f}", (sizes[-1], law.at(sizes[-1])), (6, 0), va="center", size=8.5,
                          textcoords="offset points", color=svg.INK)  # fmt: skip
        drawn = [row for own in series.values() for row in own]
        axes.set_xscale("log")
        low, high = limits([row.size or 0 for row in drawn])
        axes.set_xlim(low, high * 1.5)
        ticks(axes.xaxis, "count", low, high)
        scale(axes.yaxis, metric, [_of(row, metric) for row in drawn])
        axes.grid(True)
        axes.set_xlabel("multiply-adds of one answer")
        axes.set_ylabel(metric.label)
        words = "; ".join(said)
        return Plot(f"{family}: {metric.label}", words, svg.write(made, name, f"{metric.label} of {family}", words))


def prophecy(table: Table, metric: Metric, look: Look, name: str) -> Plot | None:
    """Draw what was predicted against what was measured; a perfect estimate lies on the diagonal."""
    rows = [
        row for row in table.ranked if _positive(row.predicted.get(metric.name)) and _positive(row.get(metric.name))
    ]
    if not rows:
        return None
    values = [value for row in rows for value in (row.predicted[metric.name], _of(row, metric))]
    low, high = limits(values)
    with svg.drawing(*PANEL) as made:
        axes = made.axes
        axes.plot([low, high], [low, high], color=svg.MUTED, linewidth=1, linestyle=(0, (4, 3)),
                  gid=made.name("predicted as measured", "front"))  # fmt: skip
        axes.fill_between([low, high], [low / 1.3, high / 1.3], [low * 1.3, high * 1.3], color=svg.GRID, linewidth=0)
        for row in rows:
            x, y = row.predicted[metric.name], _of(row, metric)
            tip = f"{row.label}, {row.model}: predicted {show(x, metric.unit)}, measured {show(y, metric.unit)}"
            axes.plot(x, y, marker=look.markers[row.label], markersize=7, color=look.colour(row), linestyle="none",
                      markeredgecolor=svg.PAPER, gid=made.name(tip, look.style(row)))  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        ticks(axes.xaxis, metric.unit, low, high)
        ticks(axes.yaxis, metric.unit, low, high)
        axes.grid(True)
        axes.set_xlabel("predicted")
        axes.set_ylabel("measured")
        words = f"{len(rows)} cells; the band is 30 % to either side of the diagonal"
        return Plot(metric.label, words, svg.write(made, name, f"{metric.label}: predicted, measured", words))


def _positive(value: float | None) -> bool:
    return value is not None and _SMALLEST < value < _LARGEST


def _drawable(row: Row, metric: Metric) -> bool:
    value = row.get(metric.name)
    return value is not None and (_positive(value) or (metric.unit == "share" and value == 0))


def _of(row: Row, metric: Metric) -> float:
    return row.values[metric.name].middle


def _cut(text: str) -> str:
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
