"""Why a proof ended as it did: one word for counting, beside the sentence that says what was wrong."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """How far a proof has come."""

    WAITING = "waiting"
    """It is to be fetched and checked."""
    DECIDED = "decided"
    """The verdict stands and is on its way to the chain."""
    ATTESTED = "attested"
    """The verdict is on the chain."""
    RECORDED = "recorded"
    """Nothing is said on the chain; the reason is kept."""
    REVERTED = "reverted"
    """The chain took the proof back."""


class Reason(StrEnum):
    """What decided."""

    VALID = "valid"
    INVALID = "invalid"
    """It was checked and does not prove what the chain says, or is no bundle at all."""
    UNAVAILABLE = "unavailable"
    """No storage gave the content, however often it was asked."""
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    """Fetching it took longer than it may."""
    UNKNOWN_BACKEND = "unknown-backend"
    """No verifier for it is installed."""
    OTHER_BACKEND = "other-backend"
    """A verifier is installed, and the settings do not name it."""
    UNSOUND = "unsound"
    """The proof system proves nothing, and the settings say to keep silent then."""
    INSECURE_SETUP = "insecure-setup"
    """Somebody may know how to forge under the setup, and the settings say to keep silent then."""
    REVOKED = "revoked"
    """The provider no longer stands behind the registration."""
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out-of-memory"
    FAILED = "failed"
    """The verifier broke down."""
    INTERRUPTED = "interrupted"
    """The validator died with it in hand, again and again."""
    BUDGET = "budget"
    """It is invalid, like so many of its provider's today that no more of them are named on the chain."""
    CONTRADICTION = "contradiction"
    """The verdict would contradict what this validator has said of the same answer before."""
    REFUSED = "refused"
    """The chain does not take the attestation."""


FINAL = frozenset({State.ATTESTED, State.RECORDED, State.REVERTED})
"""Where nothing is left to do."""
