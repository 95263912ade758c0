"""All backends and verifiers that cheat."""

from __future__ import annotations

import cheating_declarations
import cheating_stages
import cheating_verifiers
from cheats import CHEATS

__all__ = ["CHEATS"]

MODULES = (cheating_verifiers, cheating_stages, cheating_declarations)
"""Each enters its own into the list."""
