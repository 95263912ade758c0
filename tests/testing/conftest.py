"""Puts the mocks where tests, and the fresh processes of the kit, can import them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
