"""Matrix product: the blocks and the argument are those of `linear` and `packing`."""

from __future__ import annotations

from balance_orion.kernels.linear import matmul_blocks as blocks

__all__ = ["blocks"]
