"""Numbers as people read them, by their unit; `None` is a dash."""

from __future__ import annotations

import math

DASH = "\N{EN DASH}"
_SECONDS = ((1.0, 1e-3, "ms"), (120.0, 1.0, "s"), (7200.0, 60.0, "min"), (math.inf, 3600.0, "h"))
_BYTES = ((2**10, 1, "B"), (2**20, 2**10, "KiB"), (2**30, 2**20, "MiB"), (math.inf, 2**30, "GiB"))
_COUNTS = ((1e4, 1.0, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (math.inf, 1e9, "G"))
_SCALES = {"s": _SECONDS, "B": _BYTES, "count": _COUNTS, "gas": _COUNTS, "1/s": _COUNTS}
_SIGNIFICANT = 3


def show(value: float | None, unit: str) -> str:
    """Return a value with its unit: "4.21 s", "1.85 GiB", "98.5 %", "12.3 k"."""
    if value is None or not math.isfinite(value):
        return DASH
    if unit == "share":
        return f"{_trim(value * 100)} %"
    if unit in _SCALES:
        for bound, factor, name in _SCALES[unit]:
            if abs(value) < bound:
                return f"{_trim(value / factor)} {name}".rstrip()
    return _trim(value) if unit == "money" else f"{_trim(value)} {unit}".rstrip()


def _trim(value: float) -> str:
    """Return three significant digits without an exponent where that can be read, and whole numbers whole."""
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4 or size > 9:
        return f"{value:.2e}"
    if float(value).is_integer() and size < 4:
        return f"{value:.0f}"
    digits = max(0, _SIGNIFICANT - 1 - size)
    return f"{value:,.{digits}f}"


def ratio(value: float) -> str:
    """Return a ratio, behind a multiplication sign."""
    return f"\N{MULTIPLICATION SIGN}{_trim(value)}"
