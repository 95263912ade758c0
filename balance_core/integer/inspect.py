"""What an integer model is made of, for people: a summary as data, a table as text, a diagram as SVG."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from balance_core.integer.operations import Constant, Lookup, Wire

if TYPE_CHECKING:
    from balance_core.integer.model import IntegerModel

BOX, GAP, LINE = (190, 46), (24, 34), 15
"""Size of a box, space between boxes and height of a line of text, in pixels."""
COLOURS = {
    "input": "#d7ecd9", "matmul": "#d5e4f7", "conv2d": "#d5e4f7", "lookup": "#f7e3c8", "rescale": "#eee8f6",
    "divide": "#eee8f6", "clamp": "#eee8f6", "wire": "#f2f2f2",
}  # fmt: skip
"""Fill of a box by operation; others are white."""


def summary(model: IntegerModel) -> dict[str, Any]:
    """Return digests, totals and one entry for each node, as JSON-able data.

    A weight's digest is not shown: of private weights it would confirm a guess.
    """
    nodes = []
    for place, (node, fact) in enumerate(zip(model.nodes, model.facts, strict=True)):
        operands = [model.facts[i] for i in node.inputs]
        entry = {
            "node": place,
            "operation": node.operation.name,
            "inputs": list(node.inputs),
            "shape": list(fact.shape),
            "interval": [fact.lo, fact.hi],
            "bits": fact.bits,
            "scale": f"{node.scale.numerator}/{node.scale.denominator}",
            "zero_point": node.zero_point,
            "macs": node.operation.macs(operands),
            "label": node.label,
        }
        if isinstance(node.operation, Lookup):
            entry["table"] = int(node.operation.table.size)
        if isinstance(node.operation, Constant):
            entry["weight"] = node.operation.is_weight
        nodes.append(entry)
    weights = [model.facts[i].size for i in model.weight_nodes]
    tables = {op.key: op.table.size for op in (node.operation for node in model.nodes) if isinstance(op, Lookup)}
    computed = [
        fact
        for node, fact in zip(model.nodes, model.facts, strict=True)
        if not isinstance(node.operation, (Constant, Wire))
    ]
    return {
        "structure_digest": model.structure_digest,
        "inputs": [{"name": op.label, "shape": list(op.to), "interval": [op.lo, op.hi]} for _, op in model.inputs],
        "outputs": [
            {"name": output.name, "node": output.tensor, "shape": list(model.facts[output.tensor].shape)}
            for output in model.outputs
        ],
        "operations": dict(sorted(Counter(node.operation.name for node in model.nodes).items())),
        "weights": sum(weights),
        "macs": sum(entry["macs"] for entry in nodes),
        "elements": sum(fact.size for fact in computed),
        "lookups": sum(
            fact.size
            for node, fact in zip(model.nodes, model.facts, strict=True)
            if isinstance(node.operation, Lookup)
        ),
        "tables": sorted((int(size) for size in tables.values()), reverse=True),
        "widest_bits": max(fact.bits for fact in model.facts),
        "nodes": nodes,
    }


def table(model: IntegerModel) -> str:
    """Return the summary as text: totals, then one line for each node."""
    data = summary(model)
    used = ", ".join(f"{count} {name}" for name, count in data["operations"].items())
    totals = (
        f"{data['weights']:,} weights, {data['macs']:,} multiply-adds, {data['elements']:,} computed integers, "
        f"{data['lookups']:,} look-ups in {len(data['tables'])} tables {data['tables']}, "
        f"widest value {data['widest_bits']} bits"
    )
    lines = [f"structure {data['structure_digest']}", f"operations: {used}", totals]
    rows = [("node", "operation", "inputs", "shape", "interval", "bits", "scale", "macs", "for")]
    for entry in data["nodes"]:
        name = entry["operation"]
        if "table" in entry:
            name += f"[{entry['table']}]"
        if entry.get("weight"):
            name = "weight"
        rows.append(
            (
                str(entry["node"]),
                name,
                " ".join(map(str, entry["inputs"])),
                "x".join(map(str, entry["shape"])) or "-",
                "[{}, {}]".format(*entry["interval"]),
                str(entry["bits"]),
                entry["scale"],
                f"{entry['macs']:,}" if entry["macs"] else "",
                entry["label"],
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def svg(model: IntegerModel) -> str:
    """Return a diagram of the graph, inputs at the top; constants stand inside the boxes that read them."""
    drawn = [i for i, node in enumerate(model.nodes) if not isinstance(node.operation, Constant)]
    rank: dict[int, int] = {}
    row: Counter[int] = Counter()
    corner: dict[int, tuple[int, int]] = {}
    for i in drawn:
        rank[i] = 1 + max((rank[j] for j in model.nodes[i].inputs if j in rank), default=-1)
        column = row[rank[i]]
        row[rank[i]] += 1
        corner[i] = (GAP[0] + column * (BOX[0] + GAP[0]), GAP[1] + rank[i] * (BOX[1] + GAP[1]))
    width = 2 * GAP[0] + max(row.values()) * (BOX[0] + GAP[0])
    height = 2 * GAP[1] + len(row) * (BOX[1] + GAP[1])
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for i in drawn:
        for j in model.nodes[i].inputs:
            if j in corner:
                (x, y), (u, v) = corner[j], corner[i]
                parts.append(
                    f'<path d="M{x + BOX[0] // 2} {y + BOX[1]} C{x + BOX[0] // 2} {y + BOX[1] + GAP[1]} '
                    f'{u + BOX[0] // 2} {v - GAP[1]} {u + BOX[0] // 2} {v}" fill="none" stroke="#888"/>'
                )
    outputs = {output.tensor: output.name for output in model.outputs}
    parts += [_box(model, i, corner[i], outputs.get(i)) for i in drawn]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(model: IntegerModel, place: int, at: tuple[int, int], output: str | None) -> str:
    node, fact = model.nodes[place], model.facts[place]
    x, y = at
    constants = sum(isinstance(model.nodes[j].operation, Constant) for j in node.inputs)
    title = f"{place} {node.operation.name}" + (f" + {constants} constant" if constants else "")
    shape = "x".join(map(str, fact.shape)) or "scalar"
    lines = [title, f"{shape}  [{fact.lo}, {fact.hi}]", output or node.label]
    texts = "".join(
        f'<text x="{x + 6}" y="{y + 13 + LINE * i}">{escape(_printable(line[:34]))}</text>'
        for i, line in enumerate(lines)
    )
    fill = COLOURS.get(node.operation.name, "white")
    edge = "#000" if output else "#888"
    size = f'width="{BOX[0]}" height="{BOX[1]}" rx="4"'
    return f'<g><rect x="{x}" y="{y}" {size} fill="{fill}" stroke="{edge}"/>{texts}</g>'


def _printable(text: str) -> str:
    """Replace what XML cannot hold."""
    return "".join(c if c.isprintable() else "?" for c in text)
