"""Damaged files: what anybody might send in place of a model."""

from __future__ import annotations

import random
import resource
import time
import warnings

from onnx import ModelProto

from balance_core.errors import BalanceError

MEMORY = 2**30
"""By how much converting damaged files may raise the peak of memory, in bytes."""
SECONDS = 20.0
"""Longest time for one of them."""


def mutated(data: bytes, seed: int, words: list[bytes]) -> bytes:
    """Return the data with one to four faults: bytes changed, parts cut, repeated or moved, words put in."""
    draw = random.Random(seed)
    result = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(result) + 1)
        size = draw.choice([1, 2, 8, 64, 512])
        match draw.randrange(9):
            case 0:
                result[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del result[at : at + size]
            case 2:
                result[at:at] = result[at : at + size] * draw.choice([1, 2, 50])
            case 3:
                result[at:at] = draw.choice(words)
            case 4:
                result[at : at + len(words[0])] = draw.choice(words)
            case 5:
                other = draw.randrange(len(result) + 1)
                result[at:at] = result[other : other + size]
            case 6 | 7:
                _renumber(result, draw)
            case _:
                if draw.random() < 0.2:
                    del result[at:]
    return bytes(result)


def _renumber(data: bytearray, draw: random.Random) -> None:
    """Put another number in the place of a digit: the form of a text stays whole."""
    digits = [i for i, byte in enumerate(data) if byte in b"0123456789"]
    if digits:
        at = draw.choice(digits)
        data[at : at + 1] = draw.choice([b"0", b"1", b"9", b"-7", b"4.5", b"31", b"2147483647", b""])


def try_all(convert, data: bytes, seeds, words: list[bytes], path) -> dict[str, int]:
    """Convert mutations; each must give a model or an error of one line, soon, and within memory. Count the ends."""
    ends = {"converted": 0, "refused": 0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        path.write_bytes(mutated(data, seed, words))
        started = time.monotonic()
        ends[_end(convert, path, seed)] += 1
        assert time.monotonic() - started < SECONDS, seed
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY
    return ends


def _end(convert, path, seed) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = convert(path)
    except BalanceError as error:
        message, hint = error.message, error.hint
    except Exception as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    else:
        assert isinstance(found, ModelProto)
        return "converted"
    assert "\n" not in message, (seed, message)
    assert hint, seed
    return "refused"
