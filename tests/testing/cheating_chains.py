"""Chains that cheat, each in one way, and the exact set of cases of the kit that must find them out."""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from honest_chain import HonestChain

from balance_core.chain import Attestation, Finality, ProofRecord
from balance_core.chain_state import Event
from balance_core.errors import Rejected
from balance_core.records import Registration

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


MEMORY: dict[Path, list[Any]] = {}


@caught_by("it_remembers_after_a_restart")
class ForgetsAfterRestart(HonestChain):
    """Entries are kept in memory until the chain is closed."""

    def lines(self):
        return list(MEMORY.get(self.file, ()))

    def write(self, record, call):
        line = {"kind": record.kind, "record": record.model_dump(mode="json"), "signer": self.signer, "call": call}
        MEMORY.setdefault(self.file, []).append(line)

    def close(self):
        MEMORY.clear()


@caught_by("only_the_right_signer_writes", RULES)
class AcceptsAnySigner(HonestChain):
    """Whoever sends a first version is taken for its provider."""

    def reduce(self, state, event):
        record = event.record
        if isinstance(record, Registration) and record.previous is None:
            event = Event(record, record.provider)
        return super().reduce(state, event)


@caught_by("it_remembers_after_a_restart", "same_key_with_another_record_is_rejected")
class IgnoresIdempotencyKeys(HonestChain):
    """Each call is a new one."""

    def is_same_call(self, *_):
        return False


@caught_by("repetition_counts_once", RULES)
class CountsRepetitions(HonestChain):
    """The same record under a new key is a new entry."""

    def repeat(self, number, record, call):
        self.write(record, call)
        return super().repeat(number, record, call)


@caught_by("answer_counts_once", RULES)
class CountsAnswersTwice(HonestChain):
    """An answer is proven as often as somebody likes."""

    def reduce(self, state, event):
        record = event.record
        if isinstance(record, ProofRecord) and record.proof_id in state.proofs:
            return replace(state, events={**state.events, event.event_id: state.length + 1})
        return super().reduce(state, event)


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

    def position(self, *_):
        return 0


@caught_by("what_is_no_cursor_is_refused")
class GuessesCursors(HonestChain):
    """A cursor that was never given means the end."""

    def position(self, cursor, length):
        return int(cursor) if cursor.isdecimal() else length


@caught_by("status_is_told")
class CallsAllFinal(HonestChain):
    """Every reference is final."""

    def status(self, _):
        return Finality.FINAL


@caught_by("two_write_at_once")
class WritesWithoutLock(HonestChain):
    """Who reads before another has written writes over it."""

    def lock(self):
        return contextlib.nullcontext()

    def write(self, record, call):
        before = self.file.read_text() if self.file.exists() else ""
        super().write(record, call)
        line = self.file.read_text().splitlines(keepends=True)[-1]
        time.sleep(0.02)
        self.file.write_text(before + line)


@caught_by("unknown_ids_are_rejected")
class CrashesOnUnknown(HonestChain):
    """An unknown registration is a KeyError."""

    def registration(self, registration_id):
        self.state(self.lines()).registrations[registration_id]
        return super().registration(registration_id)


@caught_by("inline_bytes_are_taken_or_refused")
class TakesAnySize(HonestChain):
    """Bytes of any size are put on the chain."""

    def submit(self, record, *, key, **_):
        return super().submit(record, key=key)


@caught_by("it_keeps_to_its_place")
class KeepsCopyAtHome(HonestChain):
    """A copy goes home."""

    def write(self, record, call):
        super().write(record, call)
        (Path.home() / f".copy-{uuid.uuid4().hex}").touch()


@caught_by("key_is_rotated_in_two_steps", "registration_comes_back", "versions_follow_each_other", RULES)
class AltersRegistrations(HonestChain):
    """What comes back is nearly what was published."""

    def registration(self, registration_id):
        return super().registration(registration_id).model_copy(update={"backend_version": "2"})
