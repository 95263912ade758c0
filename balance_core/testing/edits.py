"""Altered proofs, public values and keys as attempts on a verifier, and what its statements must say."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from balance_core.records import ModelCommitment, Proof, Statement, Tensor, VerifyingKey
from balance_core.testing import attacks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from balance_core.contracts import Request
    from balance_core.testing.workbench import Proven

Attempt = tuple[str, VerifyingKey, ModelCommitment | None, Proof]
"""What is tried, for the report, and what the verifier is given."""

NO_CONTEXT = bytes(32)
"""What a statement says where its proof system cannot bind a context."""


def proofs(proven: Proven, changes: Iterable[tuple[str, bytes]]) -> Iterator[Attempt]:
    """Yield attempts that differ from a valid proof in its bytes alone."""
    for name, data in changes:
        yield name, proven.key, proven.commitment, Proof(proven.proof.backend, data)


def changed(values: list[int], modulus: int | None) -> Iterator[tuple[str, list[int]]]:
    """Change each value by one and by the order of its field."""
    for place, value in enumerate(values):
        for change in (1, -1, *((modulus, -modulus) if modulus else ())):
            yield f"public value {place} {change:+d}", [*values[:place], value + change, *values[place + 1 :]]


def permuted(values: list[int], modulus: int | None) -> Iterator[tuple[str, list[int]]]:
    """Swap each two values that differ."""
    del modulus
    for one, two in itertools.combinations(range(min(len(values), 40)), 2):
        if values[one] != values[two]:
            swapped = list(values)
            swapped[one], swapped[two] = values[two], values[one]
            yield f"public values {one} and {two} swapped", swapped


def recounted(values: list[int], modulus: int | None) -> Iterator[tuple[str, list[int]]]:
    """Take each value away, repeat it, and add one."""
    del modulus
    for place in range(len(values)):
        yield f"public value {place} taken away", [*values[:place], *values[place + 1 :]]
        yield f"public value {place} twice", [*values[: place + 1], *values[place:]]
    yield "a zero added", [*values, 0]
    yield "no public values", []


def altered_keys(key: VerifyingKey) -> Iterator[tuple[str, VerifyingKey]]:
    """Yield the key with bytes changed, and with parts cut, emptied, swapped, taken away or added."""
    names = sorted(key.parts)
    for name in names:
        data = key.parts[name]
        changes = [*attacks.flips(data, count=24), ("cut in half", data[: len(data) // 2]), ("empty", b"")]
        for change, altered in changes:
            if altered != data:
                yield f"part {name}: {change}", VerifyingKey(key.backend, {**key.parts, name: altered})
        yield (
            f"part {name}: taken away",
            VerifyingKey(key.backend, {part: value for part, value in key.parts.items() if part != name}),
        )
    for one, two in itertools.combinations(names, 2):
        swapped = {**key.parts, one: key.parts[two], two: key.parts[one]}
        yield f"parts {one} and {two} swapped", VerifyingKey(key.backend, swapped)
    yield "a part added", VerifyingKey(key.backend, {**key.parts, "extra": b"1"})
    yield "another backend's name", VerifyingKey("somebody-else", key.parts)


def summary(findings: list[str]) -> str:
    """Return the findings as one line, the first few of them in full."""
    return f"{len(findings)} attempts were not refused as they should be: " + "; ".join(findings[:5])


def check_statements(stated: tuple[Statement, ...], proven: Proven, *, binds_context: bool) -> None:
    """Assert that there is one statement for each request, and that it says what was asked of whom."""
    assert isinstance(stated, tuple)
    assert len(stated) == len(proven.requests), "one statement for each request"
    for statement, request in zip(stated, proven.requests, strict=True):
        assert isinstance(statement, Statement)
        assert statement.circuit_id == proven.key.circuit_id
        assert statement.commitment_id == (proven.commitment.commitment_id if proven.commitment else None)
        assert bytes.fromhex(statement.context) == (request.context if binds_context else NO_CONTEXT)
        _check_inputs(statement, request)


def _check_inputs(statement: Statement, request: Request) -> None:
    assert [tensor.name for tensor in statement.inputs] == list(request.inputs)
    for tensor in statement.inputs:
        asked = request.inputs[tensor.name]
        assert tensor.shape == asked.shape
        if isinstance(tensor, Tensor):
            error = float(np.max(np.abs(tensor.real() - asked), initial=0.0))
            assert error <= float(tensor.scale), f"input {tensor.name} is stated {error} away from what was asked"
