"""An honest chain: a file of records and signers, one line each, that the reducer lets in."""

from __future__ import annotations

import json
from functools import cache
from typing import ClassVar

from pydantic import Field

from balance_core.chain import RECORD_KINDS, ChainEvent, ChainRef, Finality, Standing
from balance_core.chain_state import Event, State, reduce
from balance_core.contracts import ChainAdapter
from balance_core.errors import ChainError, Rejected
from balance_core.files import locked
from balance_core.keys import KeyStore
from balance_core.records import Registration
from balance_core.settings import Settings
from balance_core.workspace import Workspace

TYPES = {
    "proof-record": "submitted",
    "attestation": "attested",
    "revocation": "revoked",
    "claim": "claimed",
    "challenge": "challenged",
    "answer": "answered",
    "settlement": "settled",
    "withdrawal": "withdrawn",
}


@cache
def parsed(text):
    line = json.loads(text)
    return Event(RECORD_KINDS[line["kind"]].from_value(line["record"]), line["signer"])


class HonestChainSettings(Settings):
    """Who writes."""

    key: str = Field(default="default", description="the name of the key that signs")


class HonestChain(ChainAdapter):
    """Entries in a file of the workspace."""

    api_version = 1
    settings_class: ClassVar[type[Settings]] = HonestChainSettings
    settings: HonestChainSettings
    local: ClassVar[bool] = True

    @property
    def file(self):
        return Workspace.default().root / "honest-chain"

    @property
    def signer(self):
        return KeyStore(Workspace.default().keys).public(self.settings.key)

    def lines(self):
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def event(self, line):
        return parsed(json.dumps(line))

    def state(self, lines):
        state = State()
        for line in lines:
            state = self.reduce(state, self.event(line))
        return state

    def reduce(self, state, event):
        return reduce(state, event)

    def append(self, record, call):
        if not isinstance(call, str) or not call:
            raise ChainError("an idempotency key is a text")
        with self.lock():
            lines = self.lines()
            event = Event(record, self.signer)
            for number, line in enumerate(lines, start=1):
                if self.is_same_call(line, call):
                    if line["record"] != record.model_dump(mode="json"):
                        raise Rejected(f"the key {call!r} was used for another record")
                    return self.ref(number)
            before = self.state(lines)
            after = self.reduce(before, event)
            if after.length == before.length:
                return self.repeat(before.events[event.event_id], record, call)
            self.write(record, call)
            return self.ref(len(lines) + 1)

    def repeat(self, number, *_):
        return self.ref(number)

    def lock(self):
        return locked(self.file.with_suffix(".lock"))

    def write(self, record, call):
        line = {"kind": record.kind, "record": record.model_dump(mode="json"), "signer": self.signer, "call": call}
        with self.file.open("a") as stream:
            stream.write(json.dumps(line) + "\n")

    def is_same_call(self, line, call):
        return (line["call"], line["signer"]) == (call, self.signer)

    def ref(self, number):
        return ChainRef(chain="honest", entry=str(number))

    def register(self, registration, *, key):
        return self.append(registration, key)

    def revoke(self, revocation, *, key):
        return self.append(revocation, key)

    def submit(self, record, *, key, inline=None):
        if inline is not None and len(inline) > 2**20:
            raise Rejected("too much to keep")
        return self.append(record, key)

    def attest(self, attestation, *, key):
        return self.append(attestation, key)

    def registration(self, registration_id):
        found = self.state(self.lines()).registrations.get(registration_id)
        if found is None or found.standing in {Standing.REVOKED, Standing.PROPOSED}:
            raise Rejected(f"registration {registration_id} is {found.standing if found else 'unknown'}")
        return found.registration

    def status(self, ref):
        known = [self.ref(number) for number in range(1, len(self.lines()) + 1)]
        return Finality.FINAL if ref in known else Finality.UNKNOWN

    def events(self, since=None):
        lines = self.lines()
        start = 0 if since is None else self.position(since, len(lines))
        for number, line in enumerate(lines[start:], start=start + 1):
            yield self.told(number, line)

    def position(self, cursor, length):
        number = int(cursor) if cursor.isdecimal() else 0
        if not 1 <= number <= length or str(number) != cursor:
            raise ChainError(f"{cursor!r} is no cursor of this chain")
        return number

    def told(self, number, line):
        event = self.event(line)
        if isinstance(event.record, Registration):
            kind = "registered" if event.record.provider == event.signer else "proposed"
        else:
            kind = TYPES[line["kind"]]
        return ChainEvent(
            ref=self.ref(number),
            cursor=str(number),
            type=kind,
            signer=event.signer,
            record_kind=line["kind"],
            record=line["record"],
        )
