"""Which answers must be proven: drawn from a seed that neither side chose alone.

Each side commits to 32 random bytes before any answer is given; the consumer reveals his when all answers are signed,
and the provider then reveals his, or counts as caught. The seed is a digest over the audit, the signed answers and
both shares, so that neither side knew it while it could still change anything.

The draw is SHAKE256 (FIPS 202) over the seed, read as 64-bit integers, most significant byte first. A uniform
number below b is v mod b of the next integer v that is below b * floor(2^64 / b); others are skipped. The sample is
the first `drawn` places of a Fisher-Yates shuffle of 0 ... samples-1 (place i is exchanged with the place
i + uniform(samples - i)), in ascending order. Every set of that size is equally likely.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from balance_core import canonical
from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Side = Literal["consumer", "provider"]

_WORD_BYTES = 8
_WORDS = 2 ** (8 * _WORD_BYTES)
_FIRST_BYTES = 4096


def share_commitment(side: Side, share: str) -> str:
    """Return the commitment to a share of 32 random bytes (hex); naming the side, nobody can copy the other's."""
    return canonical.digest("audit-share/1", side.encode(), bytes.fromhex(share))


def answers_digest(receipt_ids: Sequence[str]) -> str:
    """Return the digest of all answers, in the order of the test set."""
    return canonical.digest("audit-answers/1", *map(bytes.fromhex, receipt_ids))


def seed_of(audit_id: str, answers: str, consumer_share: str, provider_share: str) -> bytes:
    """Return the 32 bytes that the draw follows from."""
    parts = (audit_id, answers, consumer_share, provider_share)
    return bytes.fromhex(canonical.digest("audit-seed/1", *map(bytes.fromhex, parts)))


def draw(seed: bytes, *, samples: int, drawn: int) -> tuple[int, ...]:
    """Return the numbers of the answers that must be proven, in ascending order."""
    if not 0 <= drawn <= samples:
        raise ConfigError(f"{drawn} of {samples} samples cannot be drawn", hint="draw at most all of them")
    words = _words(seed)
    moved: dict[int, int] = {}
    chosen = []
    for place in range(drawn):
        other = place + _uniform(words, samples - place)
        chosen.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return tuple(sorted(chosen))


def _uniform(words: Iterator[int], bound: int) -> int:
    limit = _WORDS - _WORDS % bound
    return next(word for word in words if word < limit) % bound


def _words(seed: bytes) -> Iterator[int]:
    """Yield the integers of the stream; a longer output of SHAKE256 continues a shorter one."""
    state = hashlib.shake_256(b"balance/audit-draw/1" + seed)
    start, size = 0, _FIRST_BYTES
    while True:
        stream = state.digest(size)
        for at in range(start, size, _WORD_BYTES):
            yield int.from_bytes(stream[at : at + _WORD_BYTES], "big")
        start, size = size, 2 * size
