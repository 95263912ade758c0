"""A provider: registers a model once, answers with signed receipts, and has the answers proven."""

from __future__ import annotations

import os
import threading
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

from balance_core import provider as once
from balance_core import registering, registry
from balance_core.closing import Closing
from balance_core.errors import BlobNotFound, ConfigError
from balance_core.service import wire
from balance_core.service.nonces import Nonces
from balance_core.service.problems import HttpRefusal
from balance_core.service.running import NOW_PRIORITY, Answer, Running
from balance_core.service.settings import ServiceSettings
from balance_core.service.tensors import typed
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from typing_extensions import Unpack

    from balance_core.contracts import ChainAdapter, ProofBackend, Storage
    from balance_core.records import Registration
    from balance_core.registering import Registered
    from balance_core.runs import ModelSummary
    from balance_core.service.auth import KeyRing
    from balance_core.service.jobs import Job, JobQueue
    from balance_core.service.receipts import ProofMode
    from balance_core.session import Options
    from balance_core.signing import SigningKey
    from balance_core.stages import Capabilities


class Provider(Closing):
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
        self._running: Running | None = None
        self._nonces = Nonces()
        self._lock = threading.RLock()

    @override
    def __enter__(self) -> Self:
        self.start()
        return self

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
                self._running = Running(self, self.register())

    @override
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
    def _started(self) -> Running:
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
        visibility: wire.Visibility | None = None,
        registration: str | None = None,
        blind: str | None = None,
    ) -> Answer:
        """Answer one input: an array for a model with one input, or arrays by name, of the model's own shapes.

        The receipt is on the disk when this returns, and so is the job, with proof `later` or `now`. `nonce` is 32
        bytes as hex that name the request; the same request again gets the same receipt. `blind` is 32 secret bytes,
        as hex, that hide a private input in its proof: whoever knows them can open it. Raises ConfigError for what
        the model does not take, Busy where too much waits, Rejected for a nonce that named another input.
        """
        running = self._started
        asked = wire.Asked(
            proof=proof,
            nonce=nonce or os.urandom(32).hex(),
            visibility=visibility,
            registration=registration,
            blind=blind,
        )
        return running.answer(typed(inputs, self.summary.inputs), asked, self._nonces)

    def respond(self, body: bytes, header_length: str | None, *, may_prove: bool = True) -> wire.Body:
        """Answer a request of the Open Inference Protocol in its own form; `may_prove` says whether with a proof."""
        request, inputs = wire.read_request(body, header_length, self.summary.inputs)
        asked = wire.asked(request.parameters)
        if not may_prove and (asked.proof or self.settings.proof) != "none":
            raise HttpRefusal(
                HTTPStatus.FORBIDDEN, "this key may not ask for proofs", hint="ask with balance_proof=none"
            )
        outputs = wire.wanted(request, [spec.name for spec in self.summary.outputs])
        running, registration = self._started, self.registration
        answer = running.answer(inputs, asked, self._nonces)
        given = wire.Given(
            receipt=answer.receipt.to_json().decode(),
            registration=running.registration_id,
            job=answer.receipt.receipt.job_id,
        )
        response = wire.InferResponse(
            model_name=registration.name,
            model_version=str(registration.version),
            id=request.id,
            parameters=wire.as_parameters(given),
            outputs=[],
        )
        return wire.write_response(response, answer.outputs, outputs)

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
