"""What the tests of this plugin share, as fixtures; the functions behind them are in `workshop`."""

from __future__ import annotations

from .workshop import bench, tiny, tiny_bench, tiny_model

__all__ = ["bench", "tiny", "tiny_bench", "tiny_model"]
