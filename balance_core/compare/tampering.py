"""Every cell tries to have its own proof accepted after it was altered; a sound verifier takes none of them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from balance_core.bundle import Bundle
from balance_core.compare.results import Tampering
from balance_core.records import Proof
from balance_core.testing import attacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from balance_core.records import Statement

_FLIPS, _VALUES, _SCANNED = 8, 8, 60
_QUICK = 3
REJECTIONS = frozenset({"InvalidProof", "ConfigError"})
"""What a verifier may say to an altered proof; anything else means that it stumbled over it."""


def attempts(bundle: Bundle, statement: Statement, *, seed: int, quick: bool) -> Iterator[tuple[str, str, Bundle]]:
    """Yield what was altered, how, and the altered bundle: bytes of the proof, its length, and what it states.

    The public values are looked for in the proof, in all usual encodings.
    """
    data = bundle.proof.data
    flips = attacks.flips(data, count=_QUICK if quick else _FLIPS, seed=seed)
    for name, altered in flips:
        yield "proof", name, _with(bundle, altered)
    for name, altered in (("its last byte cut off", data[:-1]), ("a zero byte added", data + b"\0"), ("empty", b"")):
        yield "proof", name, _with(bundle, altered)
    found = list(islice(attacks.changed_values(data, [statement]), _SCANNED))
    random = np.random.default_rng(seed)
    count = min(_QUICK if quick else _VALUES, len(found))
    chosen = sorted(map(int, random.choice(len(found), size=count, replace=False))) if found else []
    for place in chosen:
        name, altered = found[place]
        yield "statement", name, _with(bundle, altered)


def write(
    bundle: Bundle, statement: Statement, folder: Path, *, seed: int, quick: bool
) -> tuple[list[tuple[str, str]], list[str]]:
    """Write the altered bundles into a folder; return what each is, and their paths."""
    names: list[tuple[str, str]] = []
    paths: list[str] = []
    for number, (target, name, altered) in enumerate(attempts(bundle, statement, seed=seed, quick=quick)):
        path = folder / f"{number}.balance"
        altered.write(path)
        names.append((target, name))
        paths.append(str(path))
    return names, paths


def judged(names: Sequence[tuple[str, str]], said: Sequence[Any]) -> tuple[Tampering, ...]:
    """Return what became of each attempt, from the verdicts of the verify stage.

    Raises LookupError or TypeError for verdicts that cannot be read.
    """
    result = []
    for (target, name), verdict in zip(names, said, strict=True):
        error = verdict.get("error")
        words = f"{error}: {verdict['message']}" if error else "accepted"
        result.append(Tampering(target=target, attempt=name[:256], rejected=error in REJECTIONS, verdict=words[:500]))
    return tuple(result)


def _with(bundle: Bundle, data: bytes) -> Bundle:
    return Bundle(bundle.registration, bundle.key, bundle.commitment, Proof(bundle.proof.backend, data))
