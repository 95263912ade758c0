"""The closed set of operations of the integer model, each in a module of its own."""

from __future__ import annotations

from balance_core.integer.operations.add import Add
from balance_core.integer.operations.argmax import ArgMax
from balance_core.integer.operations.base import Operation
from balance_core.integer.operations.clamp import Clamp
from balance_core.integer.operations.constant import Constant
from balance_core.integer.operations.conv2d import Conv2d
from balance_core.integer.operations.divide import Divide
from balance_core.integer.operations.input import Input
from balance_core.integer.operations.less import Less
from balance_core.integer.operations.lookup import Lookup
from balance_core.integer.operations.matmul import MatMul
from balance_core.integer.operations.max import Max
from balance_core.integer.operations.mul import Mul
from balance_core.integer.operations.rescale import Rescale
from balance_core.integer.operations.sub import Sub
from balance_core.integer.operations.sum import Sum
from balance_core.integer.operations.wire import Wire

OPERATIONS: tuple[type[Operation], ...] = (
    Input,
    Constant,
    Wire,
    Add,
    Sub,
    Mul,
    Sum,
    MatMul,
    Conv2d,
    Rescale,
    Divide,
    Clamp,
    Lookup,
    Less,
    Max,
    ArgMax,
)
"""All operations; the place of each is the code that stands for it in the encoding."""

if [operation.code for operation in OPERATIONS] != list(range(len(OPERATIONS))):
    raise AssertionError("operations stand in the order of their codes")

__all__ = [
    "OPERATIONS",
    "Add",
    "ArgMax",
    "Clamp",
    "Constant",
    "Conv2d",
    "Divide",
    "Input",
    "Less",
    "Lookup",
    "MatMul",
    "Max",
    "Mul",
    "Operation",
    "Rescale",
    "Sub",
    "Sum",
    "Wire",
]
