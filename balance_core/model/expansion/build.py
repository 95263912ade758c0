"""Writing the operations that stand in place of one node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from balance_core.errors import UnsupportedModel
from balance_core.model import tensors
from balance_core.model.graph import label
from balance_core.model.ml import attributes

if TYPE_CHECKING:
    from balance_core.model.draft import Draft


class Build:
    """The node to replace, and the nodes that replace it; their names begin with its name.

    The expansions of ai.onnx.ml compute in float32, whatever the input's type, as their definitions do; `nodes` must
    end by writing every output of the node that has a name.
    """

    def __init__(self, node: NodeProto, draft: Draft) -> None:
        self.node = node
        self.draft = draft
        self.given: dict[str, Any] = attributes(node)
        self.nodes: list[NodeProto] = []

    def text(self, name: str, default: str) -> str:
        """Return a string attribute."""
        value = self.given.get(name, default.encode())
        return bytes(value).decode("utf-8", "replace")

    def array(self, name: str, dtype: Any = np.float32) -> np.ndarray:
        """Return a list or tensor attribute as an array; empty where it is absent."""
        value = self.given.get(name, ())
        return np.asarray(tensors.array(value) if isinstance(value, TensorProto) else value, dtype=dtype)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the fixed shape of one of the node's own inputs."""
        sizes = self.draft.shape(name)
        if sizes is None:
            raise UnsupportedModel(f"the shape of {name!r} is not known")
        return sizes

    def constant(self, values: np.ndarray | list[int]) -> str:
        """Add a constant and return its name; a list becomes int64."""
        array = np.asarray(values, dtype=np.int64) if isinstance(values, list) else values
        return self.draft.define(self.draft.fresh(f"{label(self.node)}/constant"), array)

    def floats(self, values: Any) -> str:
        """Add a constant of float32 and return its name."""
        return self.constant(np.asarray(values, dtype=np.float32))

    def add(self, operator: str, *inputs: str, into: str = "", **given: Any) -> str:
        """Append a node of the default domain and return the name of its output."""
        stem = f"{label(self.node)}/{operator}"
        output = into or self.draft.fresh(stem)
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output if not into else stem, **given))
        return output

    def reduce(self, operator: str, value: str, axes: list[int], *, keepdims: bool = False) -> str:
        """Append a reduction over some axes, in the form that the opset wants: as an input, or as an attribute."""
        if operator == "ReduceSum" or self.draft.versions.get("", 0) >= 18:
            return self.add(operator, value, self.constant(axes), keepdims=int(keepdims))
        return self.add(operator, value, axes=axes, keepdims=int(keepdims))

    def dtype(self, name: str) -> np.dtype:
        """Return the element type of one of the node's own inputs or outputs."""
        return np.dtype(helper.tensor_dtype_to_np_dtype(self.draft.types[name].tensor_type.elem_type))

    def matrix(self, element: int = TensorProto.FLOAT) -> tuple[str, int, int]:
        """Return the first input as floats in two axes, its number of rows, and of features."""
        name = self.node.input[0]
        sizes = self.shape(name)
        if len(sizes) not in {1, 2}:
            raise UnsupportedModel(f"its input has {len(sizes)} axes, and not 1 or 2")
        rows, features = sizes if len(sizes) == 2 else (1, sizes[0])
        if self.draft.types[name].tensor_type.elem_type != element:
            name = self.add("Cast", name, to=element)
        if len(sizes) == 1:
            name = self.add("Reshape", name, self.constant([1, features]))
        return name, rows, features

    def output(self, position: int) -> str:
        """Return the name of one of the node's outputs, empty where it has none there."""
        return self.node.output[position] if position < len(self.node.output) else ""
