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


def in_brief(tensor: Tensor | HiddenTensor) -> str:
    """Return a tensor's name, shape and first numbers."""
    name = f"{tensor.name}{list(tensor.shape)}"
    if isinstance(tensor, HiddenTensor):
        return f"{name} hidden behind a commitment ({tensor.scheme})"
    unit = tensor.numerator / tensor.denominator
    values = [f"{(integer - tensor.zero_point) * unit:.5g}" for integer in tensor.integers[:_SHOWN]]
    more = " ..." if len(tensor.integers) > _SHOWN else ""
    return f"{name} = {' '.join(values)}{more}"
