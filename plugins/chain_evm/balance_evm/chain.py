"""The `evm` chain: records ordered, and proofs checked, by the registry contract of any EVM network."""

from __future__ import annotations

import logging
import re
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from balance_core.chain import ChainRef, Finality, Voucher, Vouches
from balance_core.chain_state import Event, decide, vouched
from balance_core.contracts import ChainAdapter, ChecksProofs, Diagnoses, Finding, Signs, TriesOnchain
from balance_core.errors import ChainError, Rejected
from balance_core.keys import DEFAULT_KEY, KeyStore
from balance_core.workspace import Workspace
from balance_evm import NAME, codec, interfaces, typed_data, verifiers
from balance_evm.chronicle import Chronicle, EventsMissing, cursor
from balance_evm.claims import EvmClaims, verification
from balance_evm.network import Network
from balance_evm.rpc import RpcRefused
from balance_evm.sender import Transaction
from balance_evm.settings import EvmSettings
from balance_evm.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from balance_core.bundle import Bundle
    from balance_core.chain import Attestation, ChainEvent, ProofRecord, Revocation
    from balance_core.contracts import OnchainCost
    from balance_core.records import Registration
    from balance_core.settings import Settings
    from balance_core.signing import SigningKey
    from balance_evm.chronicle import Model
    from balance_evm.mirror import Entry, Head, Mirror

log = logging.getLogger(__name__)
_PAUSES = (0.1, 0.2, 0.4, 0.8)
"""Seconds after which a log that is not whole is read again."""
_NOBODY = "0x" + 40 * "0"
_ENTRY = re.compile(r"(?P<tx>0x[0-9a-f]{64})/(?P<rank>0|[1-9][0-9]{0,5})")
_CURSOR = re.compile(r"(?P<block>0|[1-9][0-9]{0,17}):(?P<hash>0x[0-9a-f]{64}):(?P<position>0|[1-9][0-9]{0,8})")
ORIGIN = "origin"
"""The cursor before the first entry, which a reader has once the first entry was taken back."""


class EvmChain(ChainAdapter, ChecksProofs, Diagnoses, Signs, TriesOnchain, Vouches, EvmClaims):
    """A registry on an EVM chain; any number of processes and threads may use it at the same time."""

    api_version = 1
    settings_class: ClassVar[type[Settings]] = EvmSettings
    settings: EvmSettings
    needs_network: ClassVar[bool] = True

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self.network = Network(self.settings)
        self.network.deploy = self._deploy
        self._lock = threading.RLock()
        self._read: Chronicle | None = None
        self._rewinds = 0
        self._complete: Head | None = None
        """How far it is known that no event is missing."""

    def _deploy(self) -> str:
        from balance_evm.deploy import deploy_registry

        return deploy_registry(self)

    @classmethod
    def onchain_cost(cls, record: ProofRecord, bundle: Bundle) -> OnchainCost:
        """Return what it takes on an EVM in this process, by the rules of the dry run."""
        from balance_evm.trial import cost

        return cost(cls(EvmSettings(dry_run=True)), record, bundle)

    @cached_property
    def mirror(self) -> Mirror:
        """The local copy of the registry's log."""
        return self.network.mirror()

    @cached_property
    def writer(self) -> Writer:
        """Whoever signs; opened with the first call that writes."""
        return Writer(self)

    def chronicle(self) -> Chronicle:
        """Return what the log amounts to, after reading what is new.

        Raises EventsMissing where the node leaves out events, of which the registry itself knows how many there are.
        A node may tell of a block before it finds the block's events, and of two behind one address one may be behind
        the other: both pass, so that it is asked again before that is an error.
        """
        with self._lock:
            for pause in _PAUSES:
                try:
                    return self._follow()
                except (EventsMissing, RpcRefused) as error:
                    log.info("the log is read again in %g s: %s", pause, error.message)
                    time.sleep(pause)
            return self._follow()

    def _follow(self) -> Chronicle:
        head = self.mirror.sync()
        if self._read is None or head.rewinds != self._rewinds:
            network, trusting = self.network, self.settings.dry_run
            self._read = Chronicle(interfaces.registry(), network.chain_id, network.registry, trusting=trusting)
            self._rewinds, self._complete = head.rewinds, None
        entries = self.mirror.behind(self._read.place)
        try:
            told = self._read.extend(entries)
            if told:  # before anything else can fail: what was read once is not read again
                self.mirror.keep_told(told)
            if head != self._complete:
                self._read.expect(self._counted(head.hash))
                self._complete = head
        except EventsMissing:
            self.mirror.reset()
            self._read = None
            raise
        return self._read

    def _counted(self, block: str) -> int:
        """Return how many events the registry had counted at the end of a block."""
        return int(self.network.view(self.network.registry, interfaces.registry(), "sequence", block=block))

    def diagnose(self) -> Iterator[Finding]:
        """Try node, chain, registry and account."""
        from balance_evm.examination import findings

        return findings(self)

    # ------------------------------------------------------------------------------------------------ what it tells

    def registration(self, registration_id: str) -> Registration:
        """Return a registration that its provider stands behind: active, or superseded and good for old proofs."""
        return vouched(self.chronicle().replay.state, registration_id, f"chain {self.network.chain_id}")

    def voucher(self, registration_id: str) -> Voucher:
        """Return where the registration stands and how, whatever that is; raises Rejected for an unknown one."""
        read = self.chronicle()
        found = read.replay.state.registrations.get(registration_id)
        if found is None:
            raise Rejected(f"registration {registration_id[:80]!r} is not on chain {self.network.chain_id}")
        return Voucher(
            registration_id=registration_id,
            chain=NAME,
            network=f"{self.network.chain_id}/{self.network.registry}",
            entry="0x" + read.by_registration[registration_id].name.hex(),
            standing=found.standing,
            successor=found.successor,
            reason=found.reason,
        )

    def status(self, ref: ChainRef) -> Finality:
        """Say whether an entry is mined and deep enough to stay; one that the chain took back is reverted."""
        found = _ENTRY.fullmatch(ref.entry)
        if ref.chain != NAME or found is None:
            return Finality.UNKNOWN
        self.chronicle()
        entries = self.mirror.of_transaction(found["tx"])
        rank = int(found["rank"])
        if rank < len(entries) and entries[rank].canonical:
            return self._settled(entries[rank])
        if self._is_waiting(found["tx"]):
            return Finality.PENDING
        return Finality.REVERTED if rank < len(entries) else Finality.UNKNOWN

    def _settled(self, entry: Entry) -> Finality:
        newest = self.mirror.block("latest")
        deep = newest.number - entry.block + 1 if newest is not None else 0
        wanted = self.settings.confirmations_on(self.network.chain_id)
        return Finality.FINAL if deep >= wanted else Finality.PENDING

    def _is_waiting(self, tx: str) -> bool:
        found = self.network.rpc.call("eth_getTransactionByHash", tx)
        return isinstance(found, dict) and found.get("blockHash") is None

    def events(self, since: str | None = None) -> Iterator[ChainEvent]:
        """Yield all entries behind a cursor, up to the newest, and first those that the chain took back since."""
        from balance_core.chain import ChainEvent

        read = self.chronicle()
        place = 0 if since in {None, ORIGIN} else self._place(str(since))
        entry = self.mirror.at(place) if place else None
        while entry is not None and not entry.canonical:
            before = self.mirror.at(entry.previous) if entry.previous else None
            if entry.told is not None:
                back = {**entry.told, "type": "reverted", "cursor": ORIGIN if before is None else cursor(before)}
                yield ChainEvent.from_value(back)
            entry = before
        behind = entry.place if entry is not None else 0
        for found in self.mirror.behind(behind):
            if found.place <= read.place and found.told is not None:
                yield ChainEvent.from_value(found.told)

    def _place(self, since: str) -> int:
        found = _CURSOR.fullmatch(since)
        entry = self.mirror.find(found["hash"], int(found["position"])) if found else None
        if entry is None or found is None or entry.block != int(found["block"]):
            raise ChainError(
                f"the cursor {since[:100]!r} names no entry of the registry {self.network.registry}",
                hint="it is of another registry, or of a chain that went back before this data folder read it: "
                "start from the beginning",
            )
        return entry.place

    # ------------------------------------------------------------------------------------------------ what it is told

    def register(self, registration: Registration, *, key: str) -> ChainRef:
        """Publish a registration, its next version, or the acceptance of one that was handed to this account."""

        def build(read: Chronicle) -> Transaction:
            struct = codec.registration_struct(registration)
            known = read.by_registration.get(registration.registration_id)
            terms = self._terms(read, registration) if known is None else _terms_of(known)
            data = interfaces.registry().call("register", struct, terms)
            what = f"registering {registration.name} version {registration.version}"
            return Transaction(what, self.network.registry, data)

        return self.writer.write(registration, key, build, names=registration.provider)

    def _terms(self, read: Chronicle, registration: Registration) -> tuple[Any, ...]:
        owner = read.account(registration.provider)
        if owner is None:
            raise Rejected(
                f"no account on this chain writes for the key {registration.provider}",
                hint="its owner binds one first: balance evm bind",
            )
        validators = tuple(dict.fromkeys(self.settings.validators))
        return (owner, _NOBODY, bytes(32), "", validators, self.settings.quorum)

    def revoke(self, revocation: Revocation, *, key: str) -> ChainRef:
        """Withdraw a registration; only the account of the line's newest version can."""

        def build(read: Chronicle) -> Transaction:
            model = self.model(read, revocation.registration_id)
            data = interfaces.registry().call("revoke", model.name, revocation.reason)
            return Transaction(f"revoking {revocation.registration_id[:16]}", self.network.registry, data)

        return self.writer.write(revocation, key, build)

    def submit(self, record: ProofRecord, *, key: str, inline: bytes | None = None) -> ChainRef:
        """Publish a proof's digests, with few bytes in the event where asked; the contract checks nothing here."""
        if inline is not None and len(inline) > self.max_inline:
            raise Rejected(
                f"{len(inline)} bytes are too many to keep on the chain: it takes {self.max_inline}",
                hint="leave them in the storage: the record names their address",
            )

        def build(read: Chronicle) -> Transaction:
            model = self.model(read, record.registration_id)
            said = codec.said_struct(record)
            data = interfaces.registry().call("submit", model.name, said, record.bundle, inline or b"")
            return Transaction(f"submitting proof {record.proof_id[:16]}", self.network.registry, data)

        return self.writer.write(record, key, build)

    def submit_checked(self, record: ProofRecord, bundle: Bundle, *, key: str) -> ChainRef:
        """Publish a proof and have the model's verifier check it in the same transaction.

        The model's owner binds the verifier first, where the model has none; what is not deployed yet is deployed.
        """
        source = verifiers.exporter(bundle.proof.backend) if self.settings.verify else None
        if source is None:
            return self.submit(record, key=key)
        registration = bundle.registration.registration
        if registration.registration_id != record.registration_id:
            raise Rejected(f"the bundle is of the registration {registration.registration_id}, the record is not")
        known = self.chronicle().by_registration.get(record.registration_id)
        wanted = verifiers.checkable(source, bundle.key, registration, verifiers.kind_of(self, known))
        evidence = verifiers.evidence(source, bundle.key, bundle.proof)
        event = verification(self.network.registry, record.proof_id, record.statement_digest)

        def build(read: Chronicle) -> Transaction:
            if record.proof_id not in read.replay.state.proofs:
                decide(read.replay.state, Event(record, read.identity(self.writer.account.address)))
            model = verifiers.bind(self, self.model(read, record.registration_id), wanted, record.bundle)
            said = codec.said_struct(record)
            data = interfaces.registry().call("verify", model.name, said, record.bundle, evidence)
            return Transaction(f"verifying proof {record.proof_id[:16]}", self.network.registry, data)

        return self.writer.write(event.record, key, build, judged_here=False, event=event)

    def examine(self, record: ProofRecord, bundle: Bundle) -> bool:
        """Raise InvalidProof unless the model's verifier is this plugin's adapter over the known contract."""
        source = verifiers.exporter(bundle.proof.backend)
        if source is None:
            return False
        model = self.model(self.chronicle(), record.registration_id)
        registration = bundle.registration.registration
        wanted = verifiers.checkable(source, bundle.key, registration, verifiers.kind_of(self, model))
        verifiers.genuine(self, model, wanted)
        return True

    @cached_property
    def max_inline(self) -> int:
        """The largest number of bytes that an event keeps."""
        return int(self.network.view(self.network.registry, interfaces.registry(), "MAX_INLINE"))

    def attest(self, attestation: Attestation, *, key: str) -> ChainRef:
        """Publish a validator's word as typed data that its account signs."""

        def build(read: Chronicle) -> Transaction:
            word = self.word(attestation, read)
            signature = self.writer.account.sign_typed(
                typed_data.typed(word, self.network.chain_id, self.network.registry)
            )
            return self.carry(word, signature)

        return self.writer.write(attestation, key, build, names=attestation.validator)

    def word(self, attestation: Attestation, read: Chronicle | None = None) -> typed_data.Word:
        """Return what a validator signs; raises Rejected for a proof that is not on the chain."""
        read = read or self.chronicle()
        proof = read.replay.state.proofs.get(attestation.proof_id)
        if proof is None:
            raise Rejected(f"the proof {attestation.proof_id} has not been submitted")
        return typed_data.Word(
            model=self.model(read, proof.record.registration_id).name,
            proofId=bytes.fromhex(attestation.proof_id),
            statementDigest=bytes.fromhex(attestation.statement_digest),
            valid=attestation.valid,
        )

    def carry(self, word: typed_data.Word, signature: bytes) -> Transaction:
        """Return the transaction that publishes a word, whoever sends it."""
        struct = (word["model"], word["proofId"], word["statementDigest"], word["valid"])
        data = interfaces.registry().call("attest", struct, signature)
        return Transaction(f"attesting proof {word['proofId'].hex()[:16]}", self.network.registry, data)

    @staticmethod
    def model(read: Chronicle, registration_id: str) -> Model:
        """Return a registration's model; raises Rejected for one that is not on the chain."""
        found = read.by_registration.get(registration_id)
        if found is None:
            raise Rejected(f"registration {registration_id} is not on this chain")
        return found

    def answer_name(self, read: Chronicle, proof_id: str) -> bytes:
        """Return the registry's name for an answer; raises Rejected for one that was neither proven nor claimed."""
        found = read.answers.get(proof_id)
        if found is None:
            raise Rejected(f"the answer {proof_id} is not on this chain")
        return found

    def signer(self) -> str:
        """Return how records name the account that signs here: by the key it is bound to, or by its address."""
        return self.chronicle().identity(self.writer.account.address)

    def signing_key(self) -> SigningKey:
        """Return the user's key that registrations name."""
        store = KeyStore(Workspace.default().keys)
        return store.default() if self.settings.key == DEFAULT_KEY else store.load(self.settings.key)


def _terms_of(model: Model) -> tuple[Any, ...]:
    terms = model.terms
    names = ("owner", "verifier", "verifyingKey", "cid", "validators", "quorum")
    return tuple(terms[name] for name in names)
