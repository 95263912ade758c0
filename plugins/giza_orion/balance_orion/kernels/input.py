"""An input: cells of the output segment, which the statement shows.

Whoever verifies checks that each is in its interval.

The segment begins with the context's two halves, then come the inputs in the model's order, one cell an integer.
"""

from __future__ import annotations

import numpy as np

from balance_orion.emitter import View

CONTEXT_CELLS = 2
"""Cells before the inputs."""


def view(first: int, size: int) -> View:
    """Return the view of an input that begins behind `first` integers of earlier ones."""
    return View("output", CONTEXT_CELLS + first + np.arange(size, dtype=np.int64))
