"""A constant: numbers of the program, as immediate operands or in its data, where the program's hash binds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_orion.emitter import View

if TYPE_CHECKING:
    import numpy as np


def view(values: np.ndarray) -> View:
    """Return the view of known numbers."""
    return View("constant", values.reshape(-1))
