"""A comparison as Markdown, CSV and JSON: stable forms, the same bytes for the same results."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

from balance_core.compare.facts import FACTS
from balance_core.compare.metrics import BY_NAME, METRICS
from balance_core.compare.report import view
from balance_core.compare.report.numbers import DASH, show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from balance_core.compare.table import Row, Table

FORMAT_VERSION = 1
_SPECIAL = re.compile(r"([\\`*{}\[\]<>#|~!&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
"""What Markdown acts upon; an underscore within a word it does not."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that begins so for a formula."""
_MARKDOWN = ("setup_seconds", "prove_seconds", "verify_seconds", "memory_bytes", "proof_bytes", "verify_gas",
             "top1_agreement")  # fmt: skip


def markdown(table: Table) -> str:
    """Return coverage, security, figures and failures as Markdown tables."""
    return "\n".join(("## What each proves", "", support(table), "## What each proof is worth", "", security(table),
                      "## Figures", "", figures(table), failures(table)))  # fmt: skip


def support(table: Table) -> str:
    """Return which model each backend takes, as a Markdown table."""
    lines = []
    for model, cells in view.coverage(table):
        texts = [f"{cell[0]}: {cell[2]}" if cell and cell[2] else cell[0] if cell else DASH for cell in cells]
        lines.append((model, *texts))
    return _table(("model", *table.backends), lines)


def security(table: Table) -> str:
    """Return what each backend's proofs are worth, as a Markdown table."""
    return _table(("", *table.backends), [(label, *texts) for label, _, texts in view.worth(table)])


def figures(table: Table) -> str:
    """Return the medians of the sound backends' cells, as a Markdown table; what is best of its model is bold."""
    metrics = [BY_NAME[name] for name in _MARKDOWN if any(name in row.values for row in table.ranked)]
    several = len(table.machines) > 1
    lines = []
    for machine, _, rows in table.groups():
        for row in sorted(rows, key=lambda row: (row.backend, row.settings)):
            cells = []
            for metric in metrics:
                text = _escape(show(row.get(metric.name), metric.unit))
                leads = row.key in {other.key for other in view.best(rows, metric)}
                cells.append(f"**{text}**" if leads else text)
            worth = _escape(", ".join(badge.text for badge in view.badges(row)))
            head = (*((_escape(machine),) if several else ()), _escape(row.model), _escape(row.label))
            lines.append((*head, *cells, worth))
    heads = (*(("machine",) if several else ()), "model", "backend", *(metric.label for metric in metrics), "worth")
    return _table(heads, lines, escaped=True, right=range(len(heads) - 1 - len(metrics), len(heads) - 1))


def failures(table: Table) -> str:
    """Return the cells that did not end well, and those of backends that prove nothing, as Markdown."""
    text = ""
    if table.failures:
        lines = [(row.model, row.label, view.STATUS[row.status][0], row.reason) for row in table.failures]
        text += "## What did not work\n\n" + _table(("model", "backend", "status", "why"), lines)
    if table.unranked:
        lines = [(row.model, row.label, view.STATUS[row.status][0], row.reason) for row in table.unranked]
        text += "\n## Not proofs\n\nThese backends are not sound; nothing ranks them.\n\n"
        text += _table(("model", "backend", "status", "why"), lines)
    return text


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _table(
    heads: Iterable[str], lines: Iterable[tuple[str, ...]], *, escaped: bool = False, right: Iterable[int] = ()
) -> str:
    heads = tuple(heads)
    columns = frozenset(right)
    rows = [line if escaped else tuple(map(_escape, line)) for line in lines]
    rule = ("---:" if place in columns else "---" for place in range(len(heads)))
    written = (f"| {' | '.join(row)} |" for row in (tuple(map(_escape, heads)), tuple(rule), *rows))
    return "\n".join(written) + "\n"


def csv_text(table: Table) -> str:
    """Return one line for each cell, with every figure's median, smallest, largest and number of samples."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    spread = [metric for metric in METRICS if metric.unit in {"s", "B", "money"}]
    writer.writerow(
        (
            *("machine", "model", "model_id", "backend", "settings", "status", "stopped_at", "reason", "sound"),
            *(fact.name for fact in FACTS),
            *(metric.name for metric in METRICS),
            *(f"{metric.name}_{part}" for metric in spread for part in ("min", "max", "samples")),
        )
    )
    for row in table.rows:
        texts = (row.machine, row.model, row.model_id, row.backend, row.settings, row.status, row.stage, row.reason)
        values = [row.values.get(metric.name) for metric in METRICS]
        spreads = [row.values.get(metric.name) for metric in spread]
        writer.writerow(
            (
                *map(_harmless, texts),
                str(row.sound).lower(),
                *(_harmless(row.facts.get(fact.name, "")) for fact in FACTS),
                *("" if value is None else repr(value.middle) for value in values),
                *(part for value in spreads for part in
                  (("", "", "") if value is None else (repr(value.low), repr(value.high), value.samples))),
            )
        )  # fmt: skip
    return stream.getvalue()


def _harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(_FORMULA) else text


def json_text(table: Table) -> str:
    """Return everything that the reports show, as JSON for programs."""
    value: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "metrics": [{"name": m.name, "label": m.label, "unit": m.unit, "better": m.better, "means": m.means}
                    for m in METRICS],
        "machines": [{"name": machine.name, "facts": dict(machine.facts)} for machine in table.machines],
        "rows": [_row(row) for row in table.rows],
        "estimates": [{"backend": score.backend, "metric": score.metric.name, "cells": len(score.errors),
                       "median_error": score.median, "largest_error": max(score.errors),
                       "fitted_median_error": score.fitted_median}
                      for score in view.scores(table)],
        "notes": list(table.notes),
    }  # fmt: skip
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _row(row: Row) -> dict[str, Any]:
    return {
        "key": row.key,
        "machine": row.machine,
        "model": row.model,
        "model_id": row.model_id,
        "backend": row.backend,
        "settings": row.settings,
        "status": row.status,
        "stopped_at": row.stage,
        "reason": row.reason,
        "sound": row.sound,
        "ranked": row.ok and row.sound,
        "facts": dict(row.facts),
        "values": {name: {"median": value.middle, "min": value.low, "max": value.high, "samples": value.samples}
                   for name, value in row.values.items()},
        "predicted": dict(row.predicted),
        "uncovered": [{"node": hole.node, "operator": hole.operator, "reason": hole.reason, "mend": hole.mend}
                      for hole in row.uncovered],
        "notes": list(row.notes),
    }  # fmt: skip
