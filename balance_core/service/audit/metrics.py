"""When an answer is right: measures of outputs against labels, computed from the exact numbers of a statement."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from balance_core.errors import ConfigError, ToolFailed
from balance_core.records import Label, Name, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from balance_core.records import Tensor

    Right = Callable[[dict[str, np.ndarray], np.ndarray], bool]
    """A measure of one's own: the outputs by name, as float64, and the label, to whether the answer is right."""

ENTRY_POINTS = "balance.metrics"
"""Where an installed distribution names a `Right` of its own."""

Number = int | float
LabelValue = tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
"""A sample's label: one number for a class, several for a regression of several."""


class Metric(Record):
    """How an audit measures, fixed before any answer is given."""

    kind: ClassVar[str] = "metric"
    name: Name
    """`top1`: the largest number of the output stands at the label's place (the first of equals).

    `equal`: the output's numbers, rounded half up, are the label's. `tolerance`: none is further from the label's
    than `tolerance`. Any other name is an entry point's, or that of a function that the caller hands over.
    """
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    output: Label | None = None
    """Which output, where there are several; by default the first."""

    def right(self, outputs: tuple[Tensor, ...], label: LabelValue, own: Right | None = None) -> bool:
        """Say whether an answer is right; raises ConfigError where label and output do not fit the measure."""
        measure = _BUILT_IN.get(self.name)
        if measure is None:
            import numpy as np

            found = own or _installed(self.name)
            try:
                return bool(found({tensor.name: tensor.real() for tensor in outputs}, np.array(label)))
            except Exception as error:
                raise ToolFailed(f"the measure {self.name!r} failed: {type(error).__name__}: {error}") from error
        return measure(self, self._chosen(outputs), label)

    def _chosen(self, outputs: tuple[Tensor, ...]) -> Tensor:
        for tensor in outputs:
            if self.output in {None, tensor.name}:
                return tensor
        names = ", ".join(tensor.name for tensor in outputs)
        raise ConfigError(f"the model has no output {self.output!r}", hint=f"its outputs are {names}")

    @property
    def has_classes(self) -> bool:
        """Whether labels are classes, so that a table of them makes sense."""
        return self.name in {"top1", "equal"}


def _numbers(tensor: Tensor) -> list[Fraction]:
    return [(integer - tensor.zero_point) * tensor.scale for integer in tensor.integers]


def _top1(metric: Metric, output: Tensor, label: LabelValue) -> bool:
    del metric
    if len(output.integers) < 2 or len(label) != 1 or not 0 <= label[0] < len(output.integers):
        raise ConfigError(
            f"label {list(label)} names no place among the {len(output.integers)} numbers of {output.name!r}",
            hint="choose another measure: --metric equal, or --metric tolerance",
        )
    return output.integers.index(max(output.integers)) == label[0]


def _equal(metric: Metric, output: Tensor, label: LabelValue) -> bool:
    del metric
    half = Fraction(1, 2)
    return [(number + half).__floor__() for number in _numbers(_fitting(output, label))] == list(label)


def _tolerance(metric: Metric, output: Tensor, label: LabelValue) -> bool:
    if metric.tolerance is None:
        raise ConfigError("the measure `tolerance` needs one", hint="--tolerance 0.1")
    allowed = Fraction(metric.tolerance)
    pairs = zip(_numbers(_fitting(output, label)), label, strict=True)
    return all(abs(number - Fraction(wanted)) <= allowed for number, wanted in pairs)


def _fitting(output: Tensor, label: LabelValue) -> Tensor:
    if len(output.integers) != len(label):
        raise ConfigError(f"a label has {len(label)} numbers, the output {output.name!r} has {len(output.integers)}")
    return output


_BUILT_IN: dict[str, Callable[[Metric, Tensor, LabelValue], bool]] = {
    "equal": _equal,
    "tolerance": _tolerance,
    "top1": _top1,
}


def _installed(name: str) -> Any:
    from importlib import metadata

    points = metadata.entry_points(group=ENTRY_POINTS, name=name)
    if len(points) != 1:
        raise ConfigError(
            f"there is no measure {name!r}" if not points else f"several distributions bring the measure {name!r}",
            hint=f"built in are {', '.join(sorted(_BUILT_IN))}; others are handed over, or are entry points",
        )
    return next(iter(points)).load()
