"""Publishing exactly once: stored by content address, journalled, and only then told to the chain.

The journal is what makes it once. A worker whose lease is gone cannot write to it, and what is not in it is not
submitted; whoever takes the job up after a crash finds the entry and submits the same record under the same
idempotency key.
"""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

from balance_core.bundle import MAX_BUNDLE_BYTES, Bundle
from balance_core.chain import ProofRecord
from balance_core.contracts import ChecksProofs
from balance_core.errors import BalanceError, ChainError, Rejected, StorageError, ToolFailed
from balance_core.service.jobs.leases import LeaseLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.chain import ChainRef
    from balance_core.contracts import ChainAdapter, Storage
    from balance_core.records import Statement
    from balance_core.service.jobs.leases import Lease


class Publisher:
    """Puts bundles into the storage and their records onto the chain; each thread has plugins of its own."""

    def __init__(self, storage: Callable[[], Storage], chain: Callable[[], ChainAdapter] | None) -> None:
        self._make_storage = storage
        self._make_chain = chain
        self._mine = threading.local()

    def publish(self, lease: Lease, statement: Statement, bundle: Bundle) -> None:
        """Store and journal a verified bundle, and have the chain order it; what goes wrong goes to the lease."""
        try:
            data = bundle.to_bytes()
            address = self._storage().put(io.BytesIO(data))
            if address != bundle.cid:
                raise ToolFailed(f"the storage keeps the bundle as {address}, its address is {bundle.cid}")
            record = ProofRecord(
                registration_id=lease.registration_id,
                context=statement.context,
                inputs_digest=statement.inputs_digest,
                statement_digest=statement.digest,
                bundle=address,
            )
            lease.proven(address, record)
        except LeaseLost:
            return
        except BalanceError as error:
            _give_back(lease, error)
            return
        self.submit(lease, bundle)

    def submit(self, lease: Lease, bundle: Bundle | None = None) -> None:
        """Have the chain order a journalled proof, and end the job."""
        try:
            lease.done(self._submitted(lease, bundle))
        except LeaseLost:
            return
        except BalanceError as error:
            _give_back(lease, error)

    def _submitted(self, lease: Lease, bundle: Bundle | None) -> ChainRef | None:
        record = lease.proof
        if record is None:
            raise ToolFailed(f"the journal of job {lease.job_id} holds no record")
        chain = self._chain()
        if chain is None:
            return None
        call = f"submit/{record.proof_id}/{record.bundle}"
        try:
            if isinstance(chain, ChecksProofs):
                return chain.submit_checked(record, bundle or self._read(record.bundle), key=call)
            return chain.submit(record, key=call)
        except Rejected:
            found = _on_chain(chain, record)
            if found is None:
                raise
            lease.leasing.adopt(lease, found[0].bundle, found[0])
            return found[1]

    def _read(self, address: str) -> Bundle:
        with self._storage().open(address, max_size=MAX_BUNDLE_BYTES) as stream:
            return Bundle.from_bytes(stream.read())

    def _storage(self) -> Storage:
        if not hasattr(self._mine, "storage"):
            self._mine.storage = self._make_storage()
        storage: Storage = self._mine.storage
        return storage

    def _chain(self) -> ChainAdapter | None:
        if not hasattr(self._mine, "chain"):
            self._mine.chain = self._make_chain() if self._make_chain else None
        chain: ChainAdapter | None = self._mine.chain
        return chain


def _on_chain(chain: ChainAdapter, record: ProofRecord) -> tuple[ProofRecord, ChainRef] | None:
    """Return what the chain has of the very answer: the same statement, whichever proof of it came first."""
    for event in chain.events():
        if event.type == "submitted":
            found = ProofRecord.from_value(event.record)
            if found.proof_id == record.proof_id and found.statement_digest == record.statement_digest:
                return found, event.ref
    return None


def _give_back(lease: Lease, error: BalanceError) -> None:
    """Retry for ever what a store or a chain may yet do; end what they refuse; count the rest."""
    away = isinstance(error, (ChainError, StorageError)) and not isinstance(error, Rejected)
    lease.failed(f"{type(error).__name__}: {error.message}", retry=away or lease.bundle is None, counted=not away)
