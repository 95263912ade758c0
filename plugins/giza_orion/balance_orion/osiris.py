"""The osiris wire format: tensors as the Giza tools and Orion's programs take them.

A tensor is two lists, `[shape] [elements]`. A fixed-point number is magnitude and sign (1 for negative), an integer
is a field element, the order less its magnitude where it is negative: FP16x16 of [[1.5, -2.25]] is `[1 2] [98304 0
147456 1]`. Reals are cut off towards zero, as giza-osiris does; `tests/osiris.json` records what giza-osiris 0.2.9
writes and reads.
"""

from __future__ import annotations

import re
from math import prod

import numpy as np

from balance_core.errors import ConfigError
from balance_orion.machine import P

FIXED = {"FP8x23": (23, 31), "FP16x16": (16, 32)}
"""Fractional bits and bits of the magnitude."""
INTEGERS = {"i8": (-(2**7), 2**7 - 1), "i32": (-(2**31), 2**31 - 1), "u32": (0, 2**32 - 1)}
MAX_TEXT = 2**27
"""Longest text that is read."""
_FORM = re.compile(r"\[((?:[0-9]+(?: [0-9]+)*)?)\] \[((?:(?:[0-9]+|true|false)(?: (?:[0-9]+|true|false))*)?)\]")
_SIGNS = {"0": 1, "false": 1, "1": -1, "true": -1}


def write(array: np.ndarray, kind: str) -> str:
    """Return a tensor's text; raises ConfigError for a number that the kind does not hold."""
    array = np.asarray(array)
    if kind in FIXED:
        words = [word for value in array.reshape(-1).tolist() for word in _fixed(float(value), kind)]
    else:
        lo, hi = _interval(kind)
        if array.dtype.kind not in "iub":
            raise ConfigError(f"{kind} holds integers, and the array holds {array.dtype}")
        values = [int(value) for value in array.reshape(-1).tolist()]
        if values and (min(values) < lo or max(values) > hi):
            raise ConfigError(f"{kind} holds integers in [{lo}, {hi}]")
        words = [str(value % P) for value in values]
    return f"[{' '.join(map(str, array.shape))}] [{' '.join(words)}]"


def read(text: str, kind: str) -> np.ndarray:
    """Return a tensor: float64 for a fixed-point kind, else int64; raises ConfigError for any other text.

    Signs may be written as 0 and 1 or as `false` and `true`.
    """
    form = _FORM.fullmatch(text) if len(text) <= MAX_TEXT else None
    if form is None:
        raise ConfigError("this is no tensor in the osiris format", hint="it looks like [1 2] [98304 0 147456 1]")
    shape = tuple(_number(word, 2**32) for word in form[1].split())
    words = form[2].split()
    per_element = 2 if kind in FIXED else 1
    if len(words) != per_element * prod(shape):
        raise ConfigError(f"a tensor of shape {shape} has {len(words)} words")
    if kind in FIXED:
        fraction, bits = FIXED[kind]
        signs = [_SIGNS.get(word) for word in words[1::2]]
        if None in signs:
            raise ConfigError("a sign is 0 or 1, false or true")
        magnitudes = [_number(word, 2**bits) for word in words[::2]]
        reals = [sign * magnitude / 2**fraction for sign, magnitude in zip(signs, magnitudes, strict=True) if sign]
        return np.array(reals, dtype=np.float64).reshape(shape)
    lo, hi = _interval(kind)
    numbers = [_number(word, P) for word in words]
    values = [number if 2 * number < P else number - P for number in numbers]
    if values and (min(values) < lo or max(values) > hi):
        raise ConfigError(f"{kind} holds integers in [{lo}, {hi}]")
    return np.array(values, dtype=np.int64).reshape(shape)


def _fixed(value: float, kind: str) -> tuple[str, str]:
    fraction, bits = FIXED[kind]
    if not np.isfinite(value) or abs(value) * 2**fraction >= 2**bits:
        raise ConfigError(f"{kind} does not hold {value}")
    return str(int(abs(value) * 2**fraction)), str(int(value < 0))


def _number(word: str, limit: int) -> int:
    if not word.isdecimal() or len(word) > 80 or int(word) >= limit:
        raise ConfigError(f"{word[:20]} is not a number below {limit}")
    return int(word)


def _interval(kind: str) -> tuple[int, int]:
    if kind not in INTEGERS:
        raise ConfigError(f"{kind} is no kind of number", hint=f"known are {', '.join([*FIXED, *INTEGERS])}")
    return INTEGERS[kind]
