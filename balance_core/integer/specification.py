"""The tables of docs/integer-model.md, made from the code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.integer.lowering.rules import load
from balance_core.integer.operations import OPERATIONS

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, END = "<!-- {} begin: generated, see `balance_core/integer/specification.py` -->", "<!-- {} end -->"


def operations_table() -> str:
    """Return a Markdown table of all operations: meaning, rules and attributes, straight from their classes."""
    lines = [
        "| code | operation | operands | meaning | shape | interval | attributes |",
        "|---|---|---|---|---|---|---|",
    ]
    for operation in OPERATIONS:
        arity = "1 or more" if operation.arity is None else str(operation.arity)
        cells = (
            str(operation.code), f"`{operation.name}`", arity, operation.meaning, operation.shape_rule,
            operation.interval_rule, operation.attributes,
        )  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def operators_table() -> str:
    """Return a Markdown table of all ONNX operators that are lowered, and the precision that each declares."""
    lines = ["| operator | largest error |", "|---|---|"]
    for (domain, operator), rule in sorted(load().items()):
        name = f"{domain}:{operator}" if domain else operator
        lines.append(f"| {name} | {rule.precision:g} |")
    return "\n".join(lines)


TABLES = {"operations": operations_table, "operators": operators_table}


def renewed(text: str) -> str:
    """Return the document with its generated tables made anew."""
    for name, make in TABLES.items():
        begin, end = BEGIN.format(name), END.format(name)
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{make()}\n{end}{tail}"
    return text


def renew(path: Path) -> None:
    """Write the generated tables into a document."""
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
