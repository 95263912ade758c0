"""A provider: registers a model once, answers with signed receipts, and has the answers proven."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from balance_core import provider as once
from balance_core import registering, registry
from balance_core.errors import BlobNotFound, ConfigError, Rejected
from balance_core.keys import DEFAULT_KEY, KeyStore
from balance_core.service import wire
from balance_core.service.answering import Answerers
from balance_core.service.jobs import JobQueue, Order, Prover, Terms, Workers
from balance_core.service.nonces import Nonces
from balance_core.service.problems import HttpRefusal
from balance_core.service.receipts import (
    AnswerReceipt,
    SignedReceipt,
    context_of,
    now,
    request_sha256,
    sign_receipt,
)
from balance_core.service.settings import ServiceSettings
from balance_core.stages import Limits
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from fastapi import FastAPI
    from typing_extensions import Unpack

    from balance_core.contracts import ChainAdapter, ProofBackend, Storage
    from balance_core.records import Registration, Tensor, TensorSpec
    from balance_core.registering import Registered
    from balance_core.runs import ModelSummary
    from balance_core.service.auth import KeyRing
    from balance_core.service.jobs import Job
    from balance_core.service.receipts import ProofMode
    from balance_core.session import Options
    from balance_core.signing import SigningKey
    from balance_core.stages import Capabilities

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


class Provider:
    """Serves one model. `register` and `infer` start what they need; close it, or use it as a context manager.

        with Provider("model.onnx", backend="zkml_halo2") as provider:
            answer = provider.infer(x, proof="later")

    `model` is a file, bytes or an ONNX ModelProto, or the name of a registration in this workspace. `samples` are
    typical inputs, to choose settings by; other options are those of `balance_core.setup`. `service` says how to
    answer and to prove.
    """

    def __init__(
        self,
        model: Any,
        *,
        samples: Any = None,
        service: ServiceSettings | Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.model = model
        self.samples = samples
        if not isinstance(service, ServiceSettings):
            service = ServiceSettings.parse(service or {}, owner="the service")
        self.settings = service
        self.options = options
        self.workspace = Workspace.default()
        self._registered: Registered | None = None
        self._running: _Running | None = None
        self._nonces = Nonces()
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def register(self) -> Registered:
        """Convert, set up, commit and publish, unless all that was done before; raises as `balance_core.setup`."""
        with self._lock:
            if self._registered is not None:
                return self._registered
            self._registered = self._known() or once.setup(self.model, self.samples, **self.options)
            return self._registered

    def _known(self) -> Registered | None:
        """Return the registration that the model's name stands for, if it is no file."""
        if not isinstance(self.model, (str, Path)) or Path(self.model).exists():
            return None
        try:
            return registering.find(self.workspace, str(self.model))
        except ConfigError as error:
            raise ConfigError(
                f"{str(self.model)!r} is neither a file nor a registration of this workspace",
                hint=error.hint or "check the path",
            ) from None

    def start(self) -> None:
        """Register, and start what answers and what proves; does nothing where that runs."""
        with self._lock:
            if self._running is None:
                self._running = _Running(self, self.register())

    def close(self) -> None:
        """Stop answering and proving; what was accepted is proven after the next start."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.close()

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._running is not None

    @property
    def registration(self) -> Registration:
        """What is served, as others see it."""
        return self.register().registration

    @property
    def summary(self) -> ModelSummary:
        """What is known of the model."""
        return self.register().preparation.model

    @property
    def capabilities(self) -> Capabilities:
        """What the backend promises under the settings that the model was set up with."""
        preparation = self.register().preparation
        backend: ProofBackend = registry.create("backends", preparation.backend, preparation.settings)
        return backend.promises

    @property
    def queue(self) -> JobQueue:
        """The jobs and receipts."""
        return self._started.queue

    @property
    def key(self) -> SigningKey:
        """The key that the registration names, with which receipts are signed."""
        return self._started.key

    @property
    def storage(self) -> Storage | None:
        """Where bundles lie."""
        return self._started.storage

    @property
    def chain(self) -> ChainAdapter | None:
        """Where registration and proofs are published."""
        return self._started.chain

    @property
    def _started(self) -> _Running:
        running = self._running
        if running is not None:
            return running
        with self._lock:
            self.start()
            if self._running is None:
                raise ConfigError("the provider was closed", hint="make another one")
            return self._running

    def infer(
        self,
        inputs: Any,
        *,
        proof: ProofMode | None = None,
        nonce: str | None = None,
        visibility: wire.Visibility = "public",
        registration: str | None = None,
    ) -> Answer:
        """Answer one input: an array for a model with one input, or arrays by name, of the model's own shapes.

        The receipt is on the disk when this returns, and so is the job, with proof `later` or `now`. `nonce` is 32
        bytes as hex that name the request; the same request again gets the same receipt. Raises ConfigError for what
        the model does not take, Busy where too much waits, Rejected for a nonce that named another input.
        """
        running = self._started
        asked = wire.Asked(
            proof=proof, nonce=nonce or os.urandom(32).hex(), visibility=visibility, registration=registration
        )
        return running.answer(_typed(inputs, self.summary.inputs), asked, self._nonces)

    def respond(self, body: bytes, header_length: str | None, *, may_prove: bool = True) -> wire.Body:
        """Answer a request of the Open Inference Protocol in its own form; `may_prove` says whether with a proof."""
        request, inputs = wire.read_request(body, header_length, self.summary.inputs)
        asked = wire.asked(request.parameters)
        if not may_prove and (asked.proof or self.settings.proof) != "none":
            raise HttpRefusal(
                HTTPStatus.FORBIDDEN, "this key may not ask for proofs", hint="ask with balance_proof=none"
            )
        names = [spec.name for spec in self.summary.outputs]
        unknown = {output.name for output in request.outputs or ()} - set(names)
        if unknown:
            raise ConfigError(f"the model has no output {min(unknown)!r}", hint=f"its outputs are {', '.join(names)}")
        answer = self._started.answer(inputs, asked, self._nonces)
        given = wire.Given(
            receipt=answer.receipt.to_json().decode(),
            registration=self.registration.registration_id,
            job=answer.receipt.receipt.job_id,
        )
        response = wire.InferResponse(
            model_name=self.registration.name,
            model_version=str(self.registration.version),
            id=request.id,
            parameters=wire.as_parameters(given),
            outputs=[],
        )
        return wire.write_response(request, response, answer.outputs, order=names)

    def prove(self, receipt_id: str) -> Job:
        """Have an answer proven that was given before; raises BlobNotFound for an unknown receipt."""
        if self.queue.receipt(receipt_id) is None:
            raise BlobNotFound(f"there is no receipt {receipt_id[:64]}", hint="receipts are kept for a limited time")
        return self.queue.order(receipt_id, self._started.terms(NOW_PRIORITY))

    @property
    def app(self) -> FastAPI:
        """The HTTP service, for any ASGI server; it starts and closes this provider, and is open to all."""
        return self.serve_with(None)

    def serve_with(self, keys: KeyRing | None) -> FastAPI:
        """Return the HTTP service that only holders of these keys may use."""
        from balance_core.service.app import application

        return application(self, keys)


class _Running:
    """What runs while a provider answers: processes, queue and workers."""

    def __init__(self, provider: Provider, registered: Registered) -> None:
        self.provider, self.registered = provider, registered
        self.registration_id = registered.registration.registration_id
        self.key = _key(provider.workspace, provider.options.get("key", DEFAULT_KEY), registered.registration)
        options = provider.options
        self.storage = None if options.get("storage", "local") is None else self._new_storage()
        self.chain = None if options.get("chain", "ledger") is None else self._new_chain()
        with ExitStack() as held:
            self.queue = held.enter_context(self._open_queue())
            self.answerers = self._start_answerers()
            held.callback(self.answerers.close)
            if provider.settings.provers:
                self._start_provers(held)
            self._held = held.pop_all()

    def close(self) -> None:
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

    def _start_answerers(self) -> Answerers:
        settings = self.provider.settings
        answerers = Answerers(
            self.provider.workspace,
            self.registered.preparation,
            count=settings.answerers,
            threads=settings.threads,
            seconds=settings.limits.answer_seconds,
        )
        try:
            answerers.start()
        except BaseException:
            answerers.close()
            raise
        return answerers

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
        estimate = self.registered.preparation.estimate
        return Terms(priority=priority, memory_bytes=estimate.memory_bytes)

    def answer(self, inputs: dict[str, np.ndarray], asked: wire.Asked, nonces: Nonces) -> Answer:
        self._admit(asked)
        sha256 = request_sha256(inputs)
        nonce = asked.nonce or os.urandom(32).hex()
        context = context_of(nonce, self.registration_id)
        proof = asked.proof or self.provider.settings.proof
        earlier = nonces.claim(context, sha256)
        if earlier is not None and earlier.receipt.proof == proof:
            job = self.queue.job(earlier.receipt.job_id) if earlier.receipt.job_id else None
            return self._given(earlier, job)
        try:
            answered = self.answerers.answer(inputs)
            unjobbed = AnswerReceipt(
                registration_id=self.registration_id,
                provider=self.key.public,
                nonce=nonce,
                context=context,
                input_digest=answered.input_digest if asked.visibility == "public" else None,
                input_sha256=sha256,
                outputs=answered.outputs,
                time=now(),
                proof="none",
                job_id=None,
            )
            if proof == "none":
                signed, job = sign_receipt(self.key, unjobbed), None
                self.queue.keep(signed, inputs if self.provider.settings.keep_inputs else None)
            else:
                promised = unjobbed.model_copy(update={"proof": proof, "job_id": unjobbed.job})
                signed = sign_receipt(self.key, promised)
                priority = NOW_PRIORITY if proof == "now" else 0
                job = self.queue.accept(Order(inputs, self.terms(priority)), signed)
        except BaseException:
            nonces.release(context)
            raise
        nonces.settle(context, signed)
        return self._given(signed, job)

    def _admit(self, asked: wire.Asked) -> None:
        """Refuse what this registration cannot do."""
        if asked.registration not in {None, self.registration_id}:
            raise Rejected(
                f"this is served under the registration {self.registration_id}, not {asked.registration}",
                hint="look the provider's newest registration up on the chain, and rely on that",
            )
        if asked.visibility == "private" and not self.provider.capabilities.private_input:
            raise ConfigError(
                f"{self.registered.registration.backend} cannot hide inputs: a proof would show them",
                hint="ask with balance_visibility=public, or another provider",
            )

    def _given(self, signed: SignedReceipt, job: Job | None) -> Answer:
        specs = {spec.name: spec for spec in self.provider.summary.outputs}
        return Answer({one.name: _numbers(one, specs[one.name]) for one in signed.receipt.outputs}, signed, job)


def _numbers(tensor: Tensor, spec: TensorSpec) -> np.ndarray:
    """Return an output's numbers in the model's own type, to which they are rounded."""
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "biu" and tensor.scale == 1:
        integers = np.array(tensor.integers, dtype=object).reshape(tensor.shape) - tensor.zero_point
        return integers.astype(dtype)
    return tensor.real().astype(dtype)


def _typed(inputs: Any, specs: tuple[TensorSpec, ...]) -> dict[str, np.ndarray]:
    """Return arrays of exactly the model's types and shapes; raises ConfigError where a number would change."""
    if not isinstance(inputs, dict):
        if len(specs) != 1:
            raise ConfigError(f"the model has {len(specs)} inputs", hint="give a dict with an array for each")
        inputs = {specs[0].name: inputs}
    known = {spec.name: spec for spec in specs}
    if inputs.keys() != known.keys():
        raise ConfigError(f"these are not the model's inputs: {', '.join(inputs)}", hint=f"give {', '.join(known)}")
    return {name: _fitting(inputs[name], spec) for name, spec in known.items()}


def _fitting(value: Any, spec: TensorSpec) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.size != spec.size:
        raise ConfigError(
            f"input {spec.name!r} has shape {list(array.shape)} and type {array.dtype}",
            hint=f"give {spec.dtype} of shape {list(spec.shape)}",
        )
    converted = array.astype(spec.dtype)
    if array.dtype.kind != "f" and not np.array_equal(converted.astype(array.dtype), array):
        raise ConfigError(f"input {spec.name!r} holds numbers that {spec.dtype} does not")
    if array.dtype.kind == "f" and converted.dtype.kind != "f" and not np.array_equal(converted, array):
        raise ConfigError(f"input {spec.name!r} takes {spec.dtype}, not fractions")
    return converted.reshape(spec.shape)


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
