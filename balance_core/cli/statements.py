"""How a statement is shown to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.cli.display import field
from balance_core.records import HiddenTensor

if TYPE_CHECKING:
    from balance_core.records import Statement, Tensor

_SHOWN = 12


def show_statement(statement: Statement) -> None:
    """Print the context, the inputs in brief, and the outputs of a proven statement."""
    field("context", statement.context)
    for given in statement.inputs:
        field("input", in_brief(given))
    for answered in statement.outputs:
        field("output", in_brief(answered))


def show_opened(inputs: tuple[Tensor, ...]) -> None:
    """Print private inputs that an opening showed to be the proof's."""
    for given in inputs:
        field("input", f"{in_brief(given)} (opened)")


def in_brief(tensor: Tensor | HiddenTensor) -> str:
    """Return a tensor's name, shape and first numbers."""
    name = f"{tensor.name}{list(tensor.shape)}"
    if isinstance(tensor, HiddenTensor):
        return f"{name} hidden behind the commitment {tensor.commitment[:16]}... ({tensor.scheme})"
    unit = tensor.numerator / tensor.denominator
    values = [f"{(integer - tensor.zero_point) * unit:.5g}" for integer in tensor.integers[:_SHOWN]]
    more = " ..." if len(tensor.integers) > _SHOWN else ""
    return f"{name} = {' '.join(values)}{more}"
