"""Chains that cheat, each in one way, and the exact set of cases of the kit that must find them out."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from honest_chain import HonestChain

from balance_core.chain import Attestation, ChainRef, Finality, ProofRecord, Revocation
from balance_core.chain_state import Event, RegistrationState, State, decide, reduce
from balance_core.errors import Rejected
from balance_core.records import Registration
from balance_core.workspace import Workspace

CHEATS: list[tuple[type[HonestChain], frozenset[str]]] = []
RULES = "it_decides_as_the_rules_say"


def caught_by(*cases: str) -> Any:
    def enter(cheat: type[HonestChain]) -> type[HonestChain]:
        CHEATS.append((cheat, frozenset(cases)))
        return cheat

    return enter


@caught_by("it_remembers_after_a_restart")
class ForgetsCallsAfterRestart(HonestChain):
    """Idempotency keys are known to the instance that saw them."""

    def append(self, record, call):
        known = self.__dict__.setdefault("calls", {})
        if call in known and known[call][0] != record:
            raise Rejected("used for another record")
        ref = super().append(record, f"{call}-{id(self)}")
        known[call] = (record, ref)
        return ref

    def reduce(self, state, event):
        return super().reduce(state, event)


@caught_by("only_the_right_signer_writes", "key_is_rotated_in_two_steps", RULES)
class AcceptsAnySigner(HonestChain):
    """Whoever sends a registration is taken for its provider."""


@caught_by("same_key_with_another_record_is_rejected", "same_call_again_gives_the_first_entry")
class IgnoresIdempotencyKeys(HonestChain):
    """Each call is a new one."""

    def is_same_call(self, *_):
        return False


@caught_by("repetition_counts_once", RULES)
class CountsRepetitions(HonestChain):
    """The same record under a new key is a new entry."""


@caught_by("answer_counts_once", RULES)
class CountsAnswersTwice(HonestChain):
    """An answer is proven as often as somebody likes."""


@caught_by("attestations_are_kept", RULES)
class DropsContradictions(HonestChain):
    """A validator that contradicts itself is not heard."""

    def reduce(self, state, event):
        if isinstance(event.record, Attestation) and event.event_id not in state.events:
            proof = state.proofs.get(event.record.proof_id)
            if proof is not None and event.record.validator in proof.verdicts:
                raise Rejected("it has spoken")
        return super().reduce(state, event)


@caught_by("revocation_is_final", RULES)
class ReturnsRevoked(HonestChain):
    """Who asks for a registration gets it, whatever became of it."""

    def registration(self, registration_id):
        with contextlib.suppress(Rejected):
            return super().registration(registration_id)
        found = self.state(self.lines()).registrations.get(registration_id)
        if found is None or found.standing == "proposed":
            raise Rejected("unknown")
        return found.registration


@caught_by("key_is_rotated_in_two_steps", RULES)
class ReturnsProposed(HonestChain):
    """What was offered counts as accepted."""

    def registration(self, registration_id):
        found = self.state(self.lines()).registrations.get(registration_id)
        if found is not None and found.standing == "proposed":
            return found.registration
        return super().registration(registration_id)


@caught_by("events_are_told_in_order", "what_is_no_cursor_is_refused")
class StartsAnew(HonestChain):
    """A cursor that is not understood starts from the first entry; all are."""

    def position(self, cursor, length):
        return 0


@caught_by("what_is_no_cursor_is_refused")
class GuessesCursors(HonestChain):
    """A cursor that was never given means the end."""

    def position(self, cursor, length):
        return int(cursor) if cursor.isdecimal() else length


@caught_by("status_is_told")
class CallsAllFinal(HonestChain):
    """Every reference is final."""

    def status(self, ref):
        return Finality.FINAL


@caught_by("two_write_at_once")
class WritesWithoutLock(HonestChain):
    """Who reads before another has written writes over it."""


@caught_by("unknown_ids_are_rejected")
class CrashesOnUnknown(HonestChain):
    """An unknown registration is a KeyError."""


@caught_by("inline_bytes_are_taken_or_refused")
class TakesAnySize(HonestChain):
    """Bytes of any size are put on the chain."""

    def submit(self, record, *, key, inline=None):
        return super().submit(record, key=key)


@caught_by("it_keeps_to_its_place")
class KeepsCopyAtHome(HonestChain):
    """A copy goes home."""

    def write(self, record, call):
        super().write(record, call)
        (Path.home() / f".copy-{uuid.uuid4().hex}").touch()


@caught_by("registration_comes_back")
class AltersRegistrations(HonestChain):
    """What comes back is nearly what was published."""
