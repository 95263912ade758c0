"""Whether a bundle bears out what a chain, or a caller, says of it: judged in a worker, told in few bytes.

A validator judges bundles of strangers. What comes back to it from the worker is small whatever the proof states.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from balance_core.bundle import Bundle
from balance_core.chain import ProofRecord, Voucher
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import Digest, Name, Record, SetupTrust, Statement
from balance_core.verification import verify

if TYPE_CHECKING:
    from balance_core.contracts import Verifier
    from balance_core.verification import Verified

MAX_FILE_BYTES = 256 * 2**20
"""Largest file, its log included, that a process may write which checks what a stranger made."""


class Judgement(Record):
    """A bundle that was checked and found valid: of which registration, how soundly, and what it states."""

    kind: ClassVar[str] = "judgement"
    registration_id: Digest
    backend: Name
    sound: bool
    """Whether the verifier says that what it accepts is proven."""
    setup_trust: SetupTrust
    vouched_by: tuple[Voucher, ...] = ()
    """Empty: whoever made the bundle chose the registration too."""
    count: Annotated[int, Field(ge=1)]
    """How many statements the proof makes."""
    statements: tuple[Statement, ...] = ()
    """The first of them, as many as fit into the size that was asked for."""


def read(data: bytes, *, backend: str | None, max_size: int) -> Bundle:
    """Read a bundle of the backend that is expected, if one is; raises InvalidProof for anything else.

    What lies under a proof's address and is no bundle proves nothing, and never will: that is a verdict, where a
    ConfigError could also mean that something is wrong on this machine.
    """
    try:
        bundle = Bundle.from_bytes(data, max_size=max_size)
    except ConfigError as error:
        raise InvalidProof(f"it is no bundle: {error.message}") from error
    if backend not in {None, bundle.proof.backend}:
        raise InvalidProof(f"the bundle is of the backend {bundle.proof.backend!r}, and not of {backend!r}")
    return bundle


def judge(
    bundle: Bundle,
    verifier: Verifier,
    *,
    record: ProofRecord | None = None,
    expected: str | None = None,
    voucher: Voucher | None = None,
    told_bytes: int = 0,
) -> Judgement:
    """Check a bundle as `verification.verify` does, and that it proves what the record says; raises InvalidProof.

    At most `told_bytes` of statements are told, as canonical JSON.
    """
    verified = verify(bundle, verifier, expected=expected, voucher=voucher)
    if record is not None:
        check_record(verified, record)
    told, left = [], told_bytes
    for statement in verified.statements:
        size = _least_bytes(statement)
        if size <= left:
            size = len(statement.to_json())
        if size > left:
            break
        left -= size
        told.append(statement)
    return Judgement(
        registration_id=verified.registration_id,
        backend=verified.registration.backend,
        sound=verified.sound,
        setup_trust=verified.setup_trust,
        vouched_by=verified.vouched_by,
        count=len(verified.statements),
        statements=tuple(told),
    )


def _least_bytes(statement: Statement) -> int:
    """Return how long a statement's JSON is at least, without making it: two bytes for each number."""
    return 2 * sum(len(getattr(tensor, "integers", ())) for tensor in (*statement.inputs, *statement.outputs))


def check_record(verified: Verified, record: ProofRecord) -> None:
    """Raise InvalidProof unless the bundle proves what the chain says."""
    said = {(one.context, one.inputs_digest, one.digest) for one in verified.statements}
    if verified.registration_id != record.registration_id or (
        (record.context, record.inputs_digest, record.statement_digest) not in said
    ):
        raise InvalidProof(
            "the bundle proves something else than the chain says",
            hint="its provider published a record that does not fit the bundle: do not rely on either",
        )


def confine() -> None:
    """Keep this process from filling the disk: a verifier that fails can be made to write without end."""
    for limit, value in ((resource.RLIMIT_FSIZE, MAX_FILE_BYTES), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (most, most))
