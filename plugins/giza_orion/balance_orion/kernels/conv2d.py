"""Convolution: the blocks and the argument are those of `linear` and `packing`.

A padded image is copied once, with its zeros, so that all windows look alike to the loop.
"""

from __future__ import annotations

from balance_orion.kernels.linear import conv_blocks as blocks

__all__ = ["blocks"]
