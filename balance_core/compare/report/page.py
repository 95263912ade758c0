"""One HTML page that holds everything it shows: no network, no other file, and no trust in the texts of results.

All texts go through jinja2's escaping; only the page's own style and script, and drawings that escape for
themselves, are taken as they are. The page allows no script but its own, by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

from balance_core.compare.facts import FACTS
from balance_core.compare.metrics import BY_NAME, GROUPS, MAIN, METRICS
from balance_core.compare.report import plots, view
from balance_core.compare.report.numbers import show
from balance_core.compare.report.svg import EXTRA_HINT
from balance_core.compare.rows import plain
from balance_core.errors import ToolNotFound

if TYPE_CHECKING:
    from balance_core.compare.report.plots import Look, Plot
    from balance_core.compare.table import Row, Table

TITLE = "Proof systems on identical models"
BARS = ("prove_seconds", "setup_seconds", "verify_seconds", "memory_bytes", "proof_bytes", "bundle_bytes")
METHOD = (
    """Every backend was given the same bytes of each model, the same inputs and the same number of threads. Each
    stage ran in a process group of its own; wall time and processor time are of the whole tree, and memory is its
    peak. Repeats go round all backends before the next begins, so that a machine that drifts does so for all.""",
    """Times are medians of all samples, never the best ones. Answers were compared with the float model's over the
    same inputs, by the core and not by the backends, and what was proven had to equal what was answered. Each
    backend's own proof was altered, and had to be rejected.""",
    """Figures of different machines, or of different conditions, are never ranked against each other. Models are
    ordered by their multiply-adds.""",
)
MOST_PANELS = 40
"""Drawings of one kind; the rest of a larger comparison stands in the table."""


def page(table: Table, *, title: str = TITLE) -> str:
    """Return the page; raises ToolNotFound where what it is made with is not installed."""
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise ToolNotFound("the page is made with jinja2, which is not installed", hint=EXTRA_HINT) from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("balance_core.compare.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["own"] = environment.filters["drawn"] = Markup
    files = resources.files("balance_core.compare.report") / "templates"
    script = (files / "page.js").read_text("utf-8")
    context = _context(table)
    text = environment.get_template("page.html.jinja").render(
        **context,
        title=plain(title, 200),
        version=metadata.version("balance-core"),
        style=(files / "page.css").read_text("utf-8"),
        script=script,
        script_digest="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return text + "\n"


def _context(table: Table) -> dict[str, Any]:
    look = plots.Look.of(table)
    used = [metric for metric in METRICS if any(metric.name in row.values for row in table.rows if row.sound)]
    columns = [
        {
            "metric": metric,
            "label": f"{metric.label} ({table.currency})" if metric.unit == "money" else metric.label,
            "style": "" if metric.name in MAIN else f"extra g-{metric.group}",
        }
        for metric in used
    ]
    hidden = {metric.group for metric in used if metric.name not in MAIN}
    sound = [row for row in table.rows if row.sound]
    drawings = _drawings(table, look)
    context: dict[str, Any] = {
        "table": table,
        "look": look,
        "lede": _lede(table),
        "unsound": {row.backend for row in table.unranked} - {row.backend for row in sound},
        "several_machines": len(table.machines) > 1,
        "coverage": _coverage(table),
        "worth": [{"label": label, "means": means, "texts": texts} for label, means, texts in view.worth(table)],
        "choices": (choices := _choices(table)),
        "differ_alike": choices[0]["differing"] if len({line["differing"] for line in choices}) == 1 else "",
        "choice_labels": [BY_NAME[name].label for name in view.LEADING],
        "columns": columns,
        "fact_columns": FACTS,
        "groups": {name: label for name, label in GROUPS.items() if name in hidden} | {"security": "Security"},
        "rows": _rows(table, sound, [column["metric"] for column in columns], columns),
        "filters": _filters(table),
        "failures": [{"row": row, "status": view.STATUS[row.status][0], "style": view.STATUS[row.status][1]}
                     for row in table.failures],
        "unsound_columns": (unsound_columns := view.main_metrics(table)[:5]),
        "unranked": [{"row": row, "status": view.STATUS[row.status][0],
                      "texts": [show(row.get(metric.name), metric.unit) for metric in unsound_columns]}
                     for row in table.unranked],
        "scores": [{"backend": score.backend, "label": score.metric.label, "cells": len(score.errors),
                    "median": show(score.median, "share"), "largest": show(max(score.errors), "share"),
                    "fitted": show(score.fitted_median, "share")}
                   for score in view.scores(table)],
        "method": [" ".join(text.split()) for text in METHOD],
        "metrics": used,
        **drawings,
    }  # fmt: skip
    return context | {"parts": _parts(context)}


def _lede(table: Table) -> str:
    sound = len({row.backend for row in table.rows if row.sound})
    machines = f" on {len(table.machines)} machines" if len(table.machines) > 1 else ""
    ended = sum(row.ok for row in table.rows if row.sound)
    total = sum(row.sound for row in table.rows)
    return (
        f"{len(table.models)} models, {sound} proof systems{machines}: {ended} of {total} cells were measured to the"
        " end, and the others stand here with their reason."
    )


def _parts(context: dict[str, Any]) -> list[dict[str, str]]:
    known = (("coverage", "coverage", "Coverage"), ("worth", "worth", "Security"), ("choice", "choices", "Leaders"),
             ("all", "rows", "All figures"), ("bars", "bar_plots", "Bars"), ("memory", "front_plots", "Memory"),
             ("fidelity", "fidelity_plots", "Accuracy"), ("scaling", "growth_plots", "Growth"),
             ("failures", "failures", "Failures"), ("unsound", "unranked", "Not proofs"),
             ("estimates", "scores", "Estimates"))  # fmt: skip
    found = [{"id": name, "label": label} for name, key, label in known if context[key]]
    return [*found, {"id": "method", "label": "Method"}]


def _coverage(table: Table) -> list[dict[str, Any]]:
    return [
        {"model": model, "cells": [cell and {"text": cell[0], "style": cell[1], "detail": cell[2]} for cell in cells]}
        for model, cells in view.coverage(table)
    ]


def _choices(table: Table) -> list[dict[str, Any]]:
    lines = []
    for machine, model, rows in table.groups():
        if len(rows) > 1:
            shown = machine if len(table.machines) > 1 else ""
            lines.append({"model": model, "machine": shown, "leaders": list(view.leaders(rows)),
                          "differing": view.differences(rows)})  # fmt: skip
    return lines


def _rows(table: Table, sound: list[Row], metrics: list[Any], columns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    leading: dict[str, set[str]] = {metric.name: set() for metric in metrics}
    for _, _, rows in table.groups():
        for metric in metrics:
            leading[metric.name] |= {row.key for row in view.best(rows, metric)}
    order = {model: place for place, model in enumerate(table.models)}
    lines: list[dict[str, Any]] = []
    for row in sorted(sound, key=lambda row: (order[row.model], row.machine, row.backend, row.settings)):
        word, style = view.STATUS[row.status]
        cells = []
        for column in columns:
            metric = column["metric"]
            value = row.values.get(metric.name)
            cells.append({
                "style": column["style"],
                "key": "" if value is None else repr(value.middle),
                "text": show(value.middle if value else None, metric.unit),
                "spread": view.spread(value, metric) if value else "",
                "best": row.key in leading[metric.name],
            })  # fmt: skip
        lines.append({
            "row": row,
            "first": not lines or lines[-1]["row"].model != row.model,
            "status": word,
            "status_style": style,
            "badges": view.badges(row),
            "cells": cells,
            "facts": [row.facts.get(fact.name, "") for fact in FACTS],
            "text": f"{row.model} {row.label} {row.machine} {word} {row.reason}".lower(),
        })  # fmt: skip
    return lines


def _filters(table: Table) -> list[dict[str, Any]]:
    sound = [row for row in table.rows if row.sound]
    known = (("model", "Model", table.models), ("backend", "Backend", sorted({row.backend for row in sound})),
             ("machine", "Machine", sorted({row.machine for row in sound})),
             ("status", "Status", sorted({row.status for row in sound})))  # fmt: skip
    return [{"key": key, "label": label, "options": options} for key, label, options in known if len(options) > 1]


def _drawings(table: Table, look: Look) -> dict[str, list[Plot]]:
    """Return all drawings, each kind under its name; sizes of one family are shown by their growth."""
    families = {row.family for row in table.ranked if row.family}
    growth: list[Plot | None] = []
    for family in sorted(families):
        for machine in dict.fromkeys(row.machine for row in table.ranked):
            own = [row for row in table.ranked if row.family == family and row.machine == machine]
            for metric in ("prove_seconds", "setup_seconds", "memory_bytes"):
                growth.append(plots.growth(family, own, BY_NAME[metric], look, f"growth{len(growth)}"))
    grown = {plot.title.partition(": ")[0] for plot in growth if plot}
    alone = type(table)(tuple(row for row in table.rows if row.family not in grown), table.machines)
    prove, memory, agreement = (BY_NAME[name] for name in ("prove_seconds", "memory_bytes", "top1_agreement"))
    groups = [rows for _, _, rows in alone.groups() if len(rows) > 1][:MOST_PANELS]
    found: dict[str, list[Plot | None]] = {
        "bar_plots": [plots.bars(alone, BY_NAME[name], look, f"bars{place}") for place, name in enumerate(BARS)],
        "front_plots": [plots.scatter(rows, prove, memory, look, f"front{i}") for i, rows in enumerate(groups)],
        "fidelity_plots": [plots.scatter(rows, prove, agreement, look, f"top{i}") for i, rows in enumerate(groups)],
        "growth_plots": growth,
        "estimate_plots": [plots.prophecy(table, BY_NAME[name], look, f"estimate{i}")
                           for i, name in enumerate(("setup_seconds", "prove_seconds", "memory_bytes"))],
    }  # fmt: skip
    return {name: [plot for plot in some if plot] for name, some in found.items()}
