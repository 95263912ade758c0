"""Proving for a cell: one answer, checked by a process that holds nothing but the bundle, and tampered with."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core.bundle import Bundle
from balance_core.compare import checks, tampering
from balance_core.compare.checks import Refusal
from balance_core.compare.results import Status
from balance_core.compare.stages import Stopped, copied
from balance_core.records import Proof
from balance_core.verification import Verified

if TYPE_CHECKING:
    from balance_core.compare.circuits import Made
    from balance_core.compare.describing import Described
    from balance_core.compare.results import Tampering
    from balance_core.compare.stages import Course
    from balance_core.compare.subjects import Prepared
    from balance_core.records import Statement, Tensor


@dataclass(frozen=True)
class Proven:
    """A proof that a stranger verified, of what was asked and answered."""

    index: int
    bundle: Bundle
    statement: Statement
    covered: float
    """Share of the model's inputs and outputs that the statement holds."""


def answer(course: Course, subject: Prepared, made: Made, inputs: str) -> tuple[tuple[Tensor, ...], ...]:
    """Return the backend's own answers to inputs of the subject's workspace, by CID; raises Stopped."""
    given = {**made.blobs, "samples": copied(subject.workspace, made.workspace, inputs)}
    result = course.run("execute", made.workspace, blobs=given)
    return checks.read_answers(made.workspace.blob(result.blobs["answers"]))


def prove(
    course: Course,
    subject: Prepared,
    backend: Described,
    made: Made,
    answers: tuple[tuple[Tensor, ...], ...],
    *,
    index: int,
    repeat: int,
) -> Proven:
    """Prove the answer to one input under a fresh context; raises Stopped, and Refusal for what is not believed."""
    context = os.urandom(32)
    blind = os.urandom(32).hex() if backend.record.capabilities.private_input else None
    result = course.run(
        "prove",
        made.workspace,
        repeat=repeat,
        blobs={**made.blobs, "samples": copied(subject.workspace, made.workspace, subject.inputs)},
        arguments={"index": index, "context": context.hex(), "blind": blind},
    )
    proof = Proof(made.circuit.backend, made.workspace.blob(result.blobs["proof"]).read_bytes())
    bundle = Bundle(made.signed, made.key, made.commitment, proof)
    verified = verify(course, bundle, repeat)
    if len(verified.statements) != 1:
        raise Refusal(f"its proof of one request states {len(verified.statements)}")
    if backend.record.capabilities.sound and not verified.sound:
        raise Refusal("it declares itself sound, and its verifier says that what it accepts is not proven")
    covered = checks.check_statement(
        verified.statements[0],
        asked={name: array[index] for name, array in subject.asked.inputs.items()},
        answered=answers[index],
        context=context,
        backend=backend.record,
        model=subject.record,
    )
    course.at = None
    return Proven(index, bundle, verified.statements[0], covered)


def verify(course: Course, bundle: Bundle, repeat: int) -> Verified:
    """Check a bundle in a process whose workspace is empty; raises Stopped, as refused for an invalid proof."""
    stranger = course.workspace(strings=False)
    path = stranger.root / "bundle.balance"
    bundle.write(path)
    registration = bundle.registration.registration.model_dump(mode="json")
    try:
        result = course.run(
            "verify", stranger, repeat=repeat, arguments={"bundle": str(path), "registration": registration}
        )
    except Stopped as stopped:
        if stopped.status is Status.REFUSED:
            stopped.reason = f"no other process can verify its proof: {stopped.reason}"
        raise
    finally:
        shutil.rmtree(stranger.root, ignore_errors=True)
    return Verified.from_value(result.value)


def tamper(course: Course, proven: Proven, *, seed: int, quick: bool) -> tuple[Tampering, ...]:
    """Alter proof and statement, and return what a fresh process makes of each; it is measured by nobody.

    Raises Stopped, as refused, where an altered proof ends the verifier's process.
    """
    stranger = course.workspace(strings=False)
    course.at = "verify"
    registration = proven.bundle.registration.registration.model_dump(mode="json")
    try:
        names, paths = tampering.write(proven.bundle, proven.statement, stranger.root, seed=seed, quick=quick)
        given = {"bundles": paths, "registration": registration}
        result, _ = course.measured("verify", stranger, arguments=given)
    except Stopped as stopped:
        raise Stopped(Status.REFUSED, f"an altered proof stopped its verifier: {stopped.reason}") from stopped
    finally:
        shutil.rmtree(stranger.root, ignore_errors=True)
    return tampering.judged(names, result.value)


def try_onchain(course: Course, proven: Proven) -> dict[str, int] | None:
    """Return the gas and the calldata of having the proof checked by a contract; None where no chain here can try.

    Raises Stopped.
    """
    place = course.workspace(strings=False)
    path = place.root / "bundle.balance"
    proven.bundle.write(path)
    try:
        given = {"bundle": str(path), "statement": proven.statement.model_dump(mode="json")}
        found: dict[str, int] | None = course.run("onchain", place, arguments=given).value
    finally:
        shutil.rmtree(place.root, ignore_errors=True)
    if found is None:
        del course.stages["onchain"]  # nothing was measured
    return found
