"""How much folding may make of a small file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from balance_core.errors import UnsupportedModel
from balance_core.model import tensors
from balance_core.model.graph import issue

if TYPE_CHECKING:
    from onnx import NodeProto

    from balance_core.model.draft import Draft

FREE_BYTES, FREE_FACTOR = 2**28, 4
"""Most bytes that all folded values may take together: this many, and this many times those that the file brings."""
MAX_UNROLLED_NODES = 20_000
"""Most nodes that all loops of a model together are unrolled to."""


@dataclass
class Budget:
    """What is left to spend."""

    size: int
    nodes: int = MAX_UNROLLED_NODES

    @classmethod
    def of(cls, draft: Draft) -> Self:
        """Return the budget of a model."""
        return cls(FREE_BYTES + FREE_FACTOR * sum(map(tensors.nbytes, draft.constants.values())))

    def spend(self, size: int, node: NodeProto) -> None:
        """Take bytes for a constant that a node asks for; raises UnsupportedModel where too few are left."""
        self.size -= size
        if self.size < 0:
            found = issue(node, f"its constants take {size} bytes more")
            raise UnsupportedModel("the model makes too large constants of small ones", issues=[found])
