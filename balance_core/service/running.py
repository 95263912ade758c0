"""A provider at work: the processes that answer, the queue, the workers that prove, and the way of each request."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from balance_core import registry
from balance_core.errors import ConfigError, Rejected
from balance_core.keys import DEFAULT_KEY, KeyStore
from balance_core.service.answering import answering
from balance_core.service.jobs import AnsweredBefore, JobQueue, Order, Prover, Terms, Workers
from balance_core.service.receipts import (
    AnswerReceipt,
    SignedReceipt,
    context_of,
    now,
    request_sha256,
    sign_receipt,
)
from balance_core.service.tensors import shown
from balance_core.stages import Limits

if TYPE_CHECKING:
    import numpy as np

    from balance_core.contracts import ChainAdapter, Storage
    from balance_core.records import Registration
    from balance_core.registering import Registered
    from balance_core.service import wire
    from balance_core.service.jobs import Job
    from balance_core.service.nonces import Nonces
    from balance_core.service.provider import Provider
    from balance_core.session import Options
    from balance_core.signing import SigningKey
    from balance_core.workspace import Workspace

NOW_PRIORITY = 60
"""How many minutes a proof that is wanted now goes ahead of those that are wanted later."""


@dataclass(frozen=True)
class Answer:
    """An answer with what binds its provider to it."""

    outputs: dict[str, np.ndarray]
    """The numbers, in the model's own types; exactly as proven they stand in the receipt."""
    receipt: SignedReceipt
    job: Job | None
    """The proof to come, if one was asked for."""


class Running:
    """What runs while a provider answers: processes, queue and workers."""

    def __init__(self, provider: Provider, registered: Registered) -> None:
        self.provider, self.registered = provider, registered
        self.registration_id = registered.registration.registration_id
        self._hides_inputs = provider.capabilities.private_input
        self.key = _key(provider.workspace, provider.options.get("key", DEFAULT_KEY), registered.registration)
        options = provider.options
        self.storage = None if options.get("storage", "local") is None else self._new_storage()
        self.chain = None if options.get("chain", "ledger") is None else self._new_chain()
        with ExitStack() as held:
            self.queue = held.enter_context(self._open_queue())
            self.answerers = answering(
                provider.workspace,
                registered.preparation,
                count=provider.settings.answerers,
                threads=provider.settings.threads,
                seconds=provider.settings.limits.answer_seconds,
            )
            held.callback(self.answerers.close)
            if provider.settings.provers:
                self._start_provers(held)
            self._held = held.pop_all()

    def close(self) -> None:
        """Stop all of it, the workers first."""
        self._held.close()

    def _new_storage(self) -> Storage:
        options = self.provider.options
        made: Storage = registry.create("storage", options.get("storage") or "local", options.get("storage_settings"))
        return made

    def _new_chain(self) -> ChainAdapter:
        options = self.provider.options
        name = options.get("chain") or "ledger"
        made: ChainAdapter = registry.create("chains", name, chain_settings(name, options))
        return made

    def _open_queue(self) -> JobQueue:
        workspace = self.provider.workspace
        return JobQueue(self.provider.settings.database or workspace.root / "service" / "jobs.db")

    def _start_provers(self, held: ExitStack) -> None:
        if self.storage is None:
            raise ConfigError(
                "proofs need a storage to lie in", hint="name one with --storage, or serve with provers=0"
            )
        limits = self.provider.options.get("limits") or Limits()
        prover = Prover(
            self.provider.workspace,
            storage=self._new_storage,
            chain=self._new_chain if self.chain is not None else None,
            seconds=limits.seconds or 3600.0,
            threads=limits.threads,
        )
        held.callback(prover.close)
        count = self.provider.settings.provers
        held.enter_context(Workers(self.queue, prover, count=count, memory_bytes=limits.memory_bytes))

    def terms(self, priority: int) -> Terms:
        """Return on what terms an answer is proven."""
        estimate = self.registered.preparation.estimate
        return Terms(priority=priority, memory_bytes=estimate.memory_bytes)

    def answer(self, inputs: dict[str, np.ndarray], asked: wire.Asked, nonces: Nonces) -> Answer:
        """Answer, sign and keep, in this order, unless the same request was answered before."""
        self._admit(asked)
        sha256 = request_sha256(inputs)
        nonce = asked.nonce or os.urandom(32).hex()
        context = context_of(nonce, self.registration_id)
        proof = asked.proof or self.provider.settings.proof
        blind = bytes.fromhex(asked.blind) if asked.blind else None
        known = nonces.claim(context, sha256)
        earlier = self.queue.receipt(known) if known is not None else None
        if earlier is not None and earlier.receipt.proof == proof:
            return self._again(earlier)
        try:
            answered = self.answerers.answer(inputs)
            unjobbed = AnswerReceipt(
                registration_id=self.registration_id,
                provider=self.key.public,
                nonce=nonce,
                context=context,
                input_digest=None if self._hides_inputs else answered.input_digest,
                input_sha256=sha256,
                outputs=answered.outputs,
                time=now(),
                proof="none",
                job_id=None,
            )
            if proof == "none":
                signed, job = sign_receipt(self.key, unjobbed), None
                self.queue.keep(signed, inputs if self.provider.settings.keep_inputs else None, blind)
            else:
                promised = unjobbed.model_copy(update={"proof": proof, "job_id": unjobbed.job})
                signed = sign_receipt(self.key, promised)
                priority = NOW_PRIORITY if proof == "now" else 0
                job = self.queue.accept(Order(inputs, self.terms(priority), blind), signed)
        except AnsweredBefore as found:  # by another process, or before this one was started
            nonces.settle(context, found.receipt_id)
            earlier = self.queue.receipt(found.receipt_id)
            if earlier is None:
                raise
            return self._again(earlier)
        except BaseException:
            nonces.release(context)
            raise
        nonces.settle(context, signed.receipt_id)
        return self._given(signed, job)

    def _again(self, earlier: SignedReceipt) -> Answer:
        """Return what a request got before."""
        job_id = earlier.receipt.job_id
        return self._given(earlier, self.queue.job(job_id) if job_id else None)

    def _admit(self, asked: wire.Asked) -> None:
        """Refuse what this registration cannot do."""
        if asked.registration not in {None, self.registration_id}:
            raise Rejected(
                f"this is served under the registration {self.registration_id}, not {asked.registration}",
                hint="look the provider's newest registration up on the chain, and rely on that",
            )
        backend = self.registered.registration.backend
        if asked.visibility == "private" and not self._hides_inputs:
            raise ConfigError(
                f"{backend} does not hide inputs under this registration: a proof would show them",
                hint="ask with balance_visibility=public, or another provider",
            )
        if asked.visibility == "public" and self._hides_inputs:
            raise ConfigError(
                f"{backend} hides inputs under this registration: a proof does not show them",
                hint="ask with balance_visibility=private, or leave it out",
            )

        if asked.blind is not None and not self._hides_inputs:
            raise ConfigError(
                f"{backend} does not hide inputs under this registration: there is nothing to blind",
                hint="leave balance_blind out",
            )

    def _given(self, signed: SignedReceipt, job: Job | None) -> Answer:
        specs = {spec.name: spec for spec in self.provider.summary.outputs}
        return Answer({one.name: shown(one, specs[one.name]) for one in signed.receipt.outputs}, signed, job)


def chain_settings(name: str, options: Options) -> dict[str, Any]:
    """Return the chain's settings, with the provider's key for one that signs with the user's keys."""
    settings = dict(options.get("chain_settings") or {})
    if "key" in options and "key" in registry.load("chains", name).settings_class.model_fields:
        settings.setdefault("key", options["key"])
    return settings


def _key(workspace: Workspace, name: str, registration: Registration) -> SigningKey:
    """Return the key that the registration names; raises ConfigError where this workspace does not hold it."""
    store = KeyStore(workspace.keys)
    key = store.default() if name == DEFAULT_KEY else store.load(name)
    if key.public != registration.provider:
        raise ConfigError(
            f"the key {name!r} is not the one that registration {registration.name!r} names",
            hint="name the provider's key with --key, or register anew",
        )
    return key
