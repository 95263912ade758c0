"""What calibration reports: the bits chosen, the accuracy they keep, and each layer's part in the error."""

from __future__ import annotations

from typing import ClassVar

from balance_core.records import Digest, Record


class Quality(Record):
    """How close an integer model of some bits comes to the float model, on the calibration samples."""

    kind: ClassVar[str] = "integer-quality"
    bits: int
    weight_bits: int
    agreement: float | None
    """Share of samples with the float model's decision; none for a model that decides nothing."""
    relative_error: float
    """Largest error of a real output, as a share of that output's range."""
    largest_errors: dict[str, float]
    """Largest error of each output."""


class LayerReport(Record):
    """One ONNX tensor as the integer model holds it: narrowed for its readers where it is."""

    kind: ClassVar[str] = "integer-layer"
    tensor: str
    operator: str
    shape: tuple[int, ...]
    low: float
    high: float
    scale: str
    bits: int
    largest_error: float | None
    saturated: float
    """Share of the calibration values that lie outside the interval kept."""


class IntegerReport(Record):
    """How an integer model was chosen, and what was lost."""

    kind: ClassVar[str] = "integer-report"
    samples: int
    random_inputs: bool
    chosen: Quality
    suffices: bool
    """Whether the agreement and the error asked for were reached."""
    tried: tuple[Quality, ...]
    mean_bits: float
    structure_digest: Digest
    layers: tuple[LayerReport, ...]

    def table(self) -> str:
        """Return the report as text for people."""
        chosen = self.chosen
        agreement = "no decision" if chosen.agreement is None else f"{chosen.agreement:.2%} agreement"
        bits = f"{chosen.bits} bits, weights {chosen.weight_bits} bits, mean {self.mean_bits:.1f} bits per activation"
        lines = [f"{bits}: {agreement} on {self.samples} {'random inputs' if self.random_inputs else 'samples'}"]
        if not self.suffices:
            lines.append("the agreement or the error asked for was not reached: allow more bits")
        lines += [f"largest error of {name}: {error:.4g}" for name, error in sorted(chosen.largest_errors.items())]
        rows = [("tensor", "operator", "shape", "range", "scale", "bits", "error", "saturated")]
        for layer in self.layers:
            error = "" if layer.largest_error is None else f"{layer.largest_error:.3g}"
            shape = "x".join(map(str, layer.shape)) or "scalar"
            span = f"{layer.low:.4g} .. {layer.high:.4g}"
            rows.append(
                (
                    layer.tensor[-40:],
                    layer.operator,
                    shape,
                    span,
                    layer.scale,
                    str(layer.bits),
                    error,
                    f"{layer.saturated:.2%}",
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        return "\n".join(lines)
