"""The format of results as text: JSON Schemas, and the tables of docs/results-format.md, both from the records."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
from typing import TYPE_CHECKING, Any

from balance_core.compare.results import Cell, Machine
from balance_core.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES: dict[str, type[Record]] = {"cell.schema.json": Cell, "machine.schema.json": Machine}
BEGIN, END = "<!-- made by balance_core.compare.documenting -->", "<!-- end -->"

_PLAIN = {
    "curve": "The curve of the reference string.",
    "disagreements": "How many samples have another decision; null for a model that decides nothing.",
    "dtype": "numpy's name of the element type.",
    "k": "It holds 2^k powers.",
    "largest_error": "Largest absolute error.",
    "log_rows": "Logarithm of the rows to the base of 2, rounded up.",
    "mean_error": "Mean absolute error.",
    "mend": "What would mend it, where that is known.",
    "name": "The tensor's name.",
    "node": "The node's name.",
    "operator": "The node's operator.",
    "outputs": "The same for each output.",
    "parameters": "Digest of the points that a verifier relies on.",
    "prove_seconds": "Of one proof.",
    "reason": "Why it cannot be proven.",
    "rows": "Rows of the circuit.",
    "samples": "How many samples were compared.",
    "schema_version": "The version of this format.",
    "setup_seconds": "Of one setup.",
    "shape": "The fixed shape.",
    "top1_agreement": "Share of samples with the same decision; null for a model that decides nothing.",
    "trust": "`ceremony`, `transparent` or `insecure-test`.",
}
"""Keys whose name says all to those who read the code."""


def schemas() -> dict[str, str]:
    """Return the JSON Schemas of a cell and of a machine, by the name of their file in docs/."""
    return {name: json.dumps(_schema(kind), indent=1, sort_keys=True) + "\n" for name, kind in FILES.items()}


def _schema(kind: type[Record]) -> dict[str, Any]:
    """Return a record's schema, with the words that stand below each field in the code."""
    found = kind.model_json_schema(mode="serialization")
    records = {one.__name__: one for one in _records(Record)}
    for name, definition in (*found.get("$defs", {}).items(), (kind.__name__, found)):
        if name in records:
            words = {**_PLAIN, **_words(records[name])}
            for key, field in definition["properties"].items():
                if key in words:
                    field["description"] = words[key]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _records(kind: type[Record]) -> Iterator[type[Record]]:
    for one in kind.__subclasses__():
        yield one
        yield from _records(one)


def _words(kind: type[Record]) -> dict[str, str]:
    """Return what stands below each field of a record."""
    (definition,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    found = {}
    for field, below in itertools.pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def tables() -> str:
    """Return every key of machine.json and of a cell, with its type and meaning, as Markdown."""
    parts: list[str] = []
    done: set[str] = set()
    for title, kind in (("machine.json", Machine), ("A cell", Cell)):
        schema = _schema(kind)
        parts.append(_table(title, schema))
        for name, definition in sorted(schema.get("$defs", {}).items()):
            if name in done:
                continue
            done.add(name)
            if "enum" in definition:
                values = ", ".join(f"`{value}`" for value in definition["enum"])
                parts.append(f"### `{name}`\n\n{definition['description']} One of {values}.\n")
            else:
                parts.append(_table(f"`{name}`", definition))
    return "\n".join(parts)


def page(text: str) -> str:
    """Return a page with its tables brought up to date, between the marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{rest.partition(END)[2]}"


def _table(title: str, schema: dict[str, Any]) -> str:
    lines = [f"### {title}", "", " ".join(schema.get("description", "").split()), ""]
    lines += ["| key | type | meaning |", "|---|---|---|", *_rows(schema)]
    return "\n".join(lines) + "\n"


def _rows(schema: dict[str, Any]) -> Iterator[str]:
    for name, field in schema["properties"].items():
        yield f"| `{name}` | {_type(field)} | {field.get('description', '')} |"


def _type(field: dict[str, Any]) -> str:
    """Return a JSON Schema's type in words."""
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2]}`"
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    values = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), None)
    parts = {"array": field.get("items"), "object": values}
    kind = str(field.get("type", "anything"))
    word = {"array": "list"}.get(kind, kind)
    part = parts.get(kind)
    return f"{word} of {_type(part)}" if isinstance(part, dict) and part else word
