"""The native halves: `balance_zkml_prover` and `balance_zkml_verifier`, as typed functions with typed errors.

The integer model crosses as its canonical bytes (docs/integer-model.md section 4), tensors as lists in row-major
order. Both modules raise ValueError with one line that says what is wrong.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from balance_core.errors import ConfigError, InvalidProof, StageOutOfMemory, ToolFailed, ToolNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

PROVER = "balance_zkml_prover"
VERIFIER = "balance_zkml_verifier"
MAX_KEY_BYTES = 2**26
"""Largest native part of a key, which is a few kilobytes."""
MAX_PROOF_BYTES = 2**26
"""Largest proof: some kilobytes, and up to 32 bytes for each public value."""
PHASES = {
    "layout": ("laying the circuit out", 0.0),
    "key": ("making the proving key", 0.04),
    "witness": ("computing the witness", 0.12),
    "commit": ("committing", 0.15),
    "quotient": ("computing the quotient", 0.5),
    "open": ("opening the commitments", 0.85),
    "verify": ("verifying", 0.97),
}
"""The parts of a first proof in their order: what each does, and about how much of the work is done when it begins.

Later proofs of the same `Prover` begin with the witness."""


@dataclass(frozen=True)
class Plan:
    """What a circuit will be, and what proving it should cost on this machine."""

    k: int
    columns: int
    rows: int
    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Verified:
    """What a proof authenticates."""

    context: bytes
    structure_digest: str
    inputs: list[list[int]]
    """None where they are hidden."""
    outputs: list[list[int]]
    hidden: bytes | None
    """The commitments that stand for hidden inputs."""


def load(*, prover: bool) -> None:
    """Import a native half, if it is installed."""
    with suppress(ToolNotFound):
        if prover:
            _prover()
        _verifier()


def use_threads(count: int) -> None:
    """Let the native code use so many threads; only before its first call in a process."""
    os.environ["RAYON_NUM_THREADS"] = str(count)


def plan(structure: bytes, secrets: Mapping[str, str]) -> Plan:
    """Lay a structure out; raises ValueError where it cannot be proven, with the node as `node N operation: why`.

    `secrets` says whether "weights" and "inputs" are private or public.
    """
    found = _prover().plan(structure, dict(secrets))
    return Plan(found["k"], found["columns"], found["rows"], found["seconds"], found["memory"])


def setup(
    structure: bytes, srs: Path, secrets: Mapping[str, str], *, k: int, values: bytes | None
) -> tuple[bytes, dict[str, int | float | str | bool]]:
    """Return the verifying key for the k of a plan, and facts; public weights are given as `values`, for the key."""
    options: dict[str, Any] = {**secrets, "k": k}
    if values is not None:
        options["values"] = values
    with _stage_errors("make the keys"):
        made = _prover().setup(structure, str(srs), options)
    return bytes(made["key"]), dict(made["facts"])


def commit(structure: bytes, weights: bytes, key: bytes, srs: Path, provider: bytes) -> tuple[bytes, bytes]:
    """Return the public commitment to the weights for a provider, and its secret opening."""
    with _stage_errors("commit to the weights"):
        made = _prover().commit(structure, weights, key, str(srs), provider)
    return bytes(made["commitment"]), bytes(made["opening"])


class Prover:
    """Proves answers of one model under one key; what all proofs share, the proving key above all, is made once.

    The opening is that of `commit`, or None for public weights. `watch` is called with each of PHASES as it begins,
    and what it raises ends the work.
    """

    def __init__(
        self,
        structure: bytes,
        weights: bytes,
        key: bytes,
        srs: Path,
        *,
        opening: bytes | None,
        watch: Callable[[str], None] | None = None,
    ) -> None:
        with _stage_errors("make the proving key"):
            self._native = _prover().Prover(structure, weights, key, str(srs), opening, watch)

    def prove(
        self,
        context: bytes,
        inputs: Sequence[Sequence[int]],
        *,
        blind: bytes | None = None,
        watch: Callable[[str], None] | None = None,
    ) -> bytes:
        """Prove the answer to one request; private inputs need 32 secret bytes that blind them."""
        given = [list(map(int, each)) for each in inputs]
        with _stage_errors("prove"):
            return bytes(self._native.prove(context, given, blind, watch))


def verify(key: bytes, commitment: tuple[bytes, bytes] | None, proof: bytes) -> Verified:
    """Check a proof to its last byte and return what it says; raises InvalidProof with the reason.

    A commitment comes with the key of the provider that it is to be of.
    """
    _check_size("key", key, MAX_KEY_BYTES)
    _check_size("proof", proof, MAX_PROOF_BYTES)
    try:
        context, digest, inputs, outputs, hidden = _prepared(key, commitment).verify(proof)
    except (ValueError, OverflowError) as error:
        raise InvalidProof(f"the proof does not verify: {_line(error)}") from None
    return Verified(bytes(context), bytes(digest).hex(), inputs, outputs, None if hidden is None else bytes(hidden))


@lru_cache(maxsize=4)
def _prepared(key: bytes, commitment: tuple[bytes, bytes] | None) -> Any:
    """Decode a key and check a commitment's own proof, once for all proofs under them: half of what a check costs."""
    return _verifier().Prepared(key, commitment)


# What is prepared has a thread, which a forked child does not inherit: it would wait for it for ever.
os.register_at_fork(after_in_child=_prepared.cache_clear)


def hide(key: bytes, context: bytes, inputs: Sequence[Sequence[int]], blind: bytes) -> bytes:
    """Return the commitments that stand for these inputs under this blinding; raises InvalidProof with the reason."""
    _check_size("key", key, MAX_KEY_BYTES)
    try:
        return bytes(_verifier().hide(key, context, [list(map(int, each)) for each in inputs], blind))
    except (ValueError, OverflowError) as error:
        raise InvalidProof(f"the inputs cannot be hidden: {_line(error)}") from None


def parameters(key: bytes) -> bytes:
    """Return the points of the reference string that a key relies on, as the 388 bytes of docs/srs.md."""
    _check_size("key", key, MAX_KEY_BYTES)
    try:
        return bytes(_verifier().parameters(key))
    except ValueError as error:
        raise InvalidProof(f"the verifying key is broken: {_line(error)}") from None


def import_srs(source: Path, target: Path, *, power: int | None, ceremony: bool) -> Mapping[str, Any]:
    """Check a reference string, write it in the raw format, cut to 2^power, and return what was found out.

    `ceremony` says that it is a powers-of-tau file. Raises ConfigError with the reason of a refusal.
    """
    module = _prover()
    with _file_errors(source):
        found: Mapping[str, Any] = (module.import_ptau if ceremony else module.import_raw)(source, target, power)
    return found


def make_test_srs(k: int, target: Path) -> None:
    """Write a reference string for tests, of 2^k powers of a secret from the operating system."""
    module = _prover()
    with _file_errors(target):
        module.make_test(k, target)


def _prover() -> Any:
    try:
        return import_module(PROVER)
    except ImportError as error:
        raise ToolNotFound(
            "the prover of zkml_halo2 is not installed", hint="pip install 'balance-zkml[prover]'"
        ) from error


def _verifier() -> Any:
    try:
        return import_module(VERIFIER)
    except ImportError as error:
        raise ToolNotFound(
            "the verifier of zkml_halo2 is not installed", hint="pip install balance-zkml-verifier"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_size(what: str, data: bytes, limit: int) -> None:
    if len(data) > limit:
        raise InvalidProof(f"the {what} has {len(data)} bytes, more than the {limit} allowed")


@contextmanager
def _stage_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise ToolFailed(f"halo2 did not {what}: {_line(error)}") from error
    except MemoryError as error:
        raise StageOutOfMemory(f"there was not enough memory to {what}") from error


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"reference string {str(path)!r} is refused: {_line(error)}", hint="fetch it again from its publisher"
        ) from error
    except OSError as error:
        raise ConfigError(f"reference string {str(path)!r}: {_line(error)}") from error
