"""Checking a published proof: its id on a chain, its bundle from a storage, and one against the other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from balance_core import registry
from balance_core.bundle import MAX_BUNDLE_BYTES, Bundle
from balance_core.chain import RECORD_KINDS, Attestation, ProofRecord, Verification
from balance_core.consumer import verify
from balance_core.contracts import ChecksProofs
from balance_core.errors import ConfigError, Rejected
from balance_core.judging import check_record
from balance_core.records import Digest, Name, Record
from balance_core.verification import Verified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.contracts import ChainAdapter, Storage
    from balance_core.stages import Limits


class Published(Record):
    """A published proof, as checked here and as the chain has it."""

    kind: ClassVar[str] = "published"
    proof_id: Digest
    chain: Name
    record: ProofRecord
    checked_by_chain: bool
    """Whether a contract checked it, and that contract is the one that the chain's plugin knows."""
    attested_valid: int
    """How many validators, whoever they are, call it valid and nothing else."""
    attested_invalid: int
    verified: Verified
    """What this machine's own verification says."""


def verify_published(
    proof_id: str,
    *,
    chain: str,
    chain_settings: Mapping[str, Any] | None = None,
    storage: str = "local",
    storage_settings: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> Published:
    """Fetch a proof as the chain names it, check it here, and compare; raises InvalidProof where they differ."""
    if not re.fullmatch(r"[0-9a-f]{64}", proof_id):
        raise ConfigError(
            f"{proof_id[:80]!r} is not a proof's id",
            hint="an id has 64 hex digits; without --chain a file is taken",
        )
    adapter: ChainAdapter = registry.create("chains", chain, chain_settings)
    store: Storage = registry.create("storage", storage, storage_settings)
    record, checked, words = _read(adapter, proof_id)
    with store.open(record.bundle, max_size=MAX_BUNDLE_BYTES) as stream:
        data = stream.read()
    verified = verify(
        data, registration=record.registration_id, chain=chain, chain_settings=chain_settings, limits=limits
    )
    check_record(verified, record)
    if checked and isinstance(adapter, ChecksProofs):
        checked = adapter.examine(record, Bundle.from_bytes(data))
    verdicts = [next(iter(said)) for said in words.values() if len(said) == 1]
    return Published(
        proof_id=proof_id,
        chain=chain,
        record=record,
        checked_by_chain=checked,
        attested_valid=verdicts.count(True),
        attested_invalid=verdicts.count(False),
        verified=verified,
    )


def _read(adapter: ChainAdapter, proof_id: str) -> tuple[ProofRecord, bool, dict[str, set[bool]]]:
    """Return what a chain has of a proof: its record, whether the chain checked it, and what each validator said."""
    record: ProofRecord | None = None
    checked = False
    words: dict[str, set[bool]] = {}
    for event in adapter.events():
        if event.record.get("proof_id", proof_id) != proof_id or event.type == "reverted":
            continue
        found = RECORD_KINDS[event.record_kind].from_value(event.record)
        if isinstance(found, ProofRecord) and found.proof_id == proof_id:
            record = found
        elif isinstance(found, Verification):
            checked = True
        elif isinstance(found, Attestation):
            words.setdefault(found.validator, set()).add(found.valid)
    if record is None:
        raise Rejected(
            f"the proof {proof_id} is not on the chain", hint="check the id, and that the chain is the right one"
        )
    return record, checked, words
