"""Re-indexing: no code at all, for cells are never moved: the result's elements are where the operands' are.

Only operands that live in different places, or beside different numbers, are first brought together by a copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_orion.emitter import View

if TYPE_CHECKING:
    from balance_core.integer.operations import Wire


def pooled(operation: Wire, views: list[View]) -> View | None:
    """Return where the result is, or None if the operands that it takes from do not go together."""
    index = operation.index().reshape(-1)
    owner = np.repeat(np.arange(len(views)), [len(view.addresses) for view in views])[index]
    used = [views[number] for number in np.unique(owner)]
    if len({(view.space, view.offset) for view in used}) > 1:
        return None
    return View(used[0].space, np.concatenate([view.addresses for view in views])[index], used[0].offset)
