"""A provider in this process: real receipts, hosting and draws, over a network that is a function call.

Its answers and proofs are those of the reference backend, without a process for each: so many audits take seconds.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

from balance_core import cid, provider, verification
from balance_core.builtin.integer_verifier import WEIGHTS_PART, Answer, IntegerVerifier, ReExecution, read_model, seal
from balance_core.builtin.ledger import Ledger, LedgerSettings
from balance_core.bundle import Bundle
from balance_core.errors import BalanceError, BlobNotFound
from balance_core.integer.executor import execute_integers
from balance_core.integer.interface import STRUCTURE_PART, Interface
from balance_core.keys import KeyStore
from balance_core.records import Proof, Registration, SetupTrust, Trust
from balance_core.service import wire
from balance_core.service.audit.check import check_file
from balance_core.service.audit.conduct import AuditTerms
from balance_core.service.audit.hosting import AuditHost
from balance_core.service.audit.messages import AskedReveal
from balance_core.service.audit.records import SignedPlan
from balance_core.service.client.clients import Client
from balance_core.service.client.inputs import digest_of, stated_inputs
from balance_core.service.client.parts import Parts
from balance_core.service.receipts import AnswerReceipt, context_of, now, request_sha256, sign_receipt
from balance_core.signing import SignedRegistration
from balance_core.testing import models
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "tiny"


@cache
def circuit(home, seed):
    """Make a tiny model's verifying key in a data folder, once."""
    del home
    samples = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    run = provider.run(models.mlp(seed=seed), samples, backend="integer", chain=None, storage=None, name=f"m{seed}")
    return Bundle.read(run.folder / "proof.balance").key


class Wire(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A network that is a function call; what comes back is read as from a socket."""

    def __init__(self, desk):
        self.desk = desk

    def handle_request(self, request):
        request.read()
        answered = self.desk.respond(request)
        return httpx.Response(
            answered.status_code, headers=answered.headers, stream=httpx.ByteStream(answered.content)
        )

    async def handle_async_request(self, request):
        await request.aread()
        return self.handle_request(request)


def never(_):
    return False


@dataclass
class Job:
    job_id: str
    receipt_id: str
    state: str = "published"
    bundle: str | None = None
    reason: str = ""

    def as_json(self):
        return {"job_id": self.job_id, "state": self.state, "bundle": self.bundle, "reason": self.reason}


@dataclass
class Desk:
    """A provider; with `swapped` it answers these requests, counted from 0, by another model than the registered."""

    home: object
    name: str = "provider"
    seed: int = 1
    swapped: Callable[[int], bool] = never
    refuses_to_prove: Callable[[str], bool] = never
    refuses_to_reveal: bool = False
    gives_parts: bool = True
    hooks: dict = field(default_factory=dict)
    """Path pattern to a function of request and true response, for what a hostile provider sends instead."""

    def __post_init__(self):
        store = KeyStore(Workspace(self.home).keys)
        self.signer = store.load(self.name) if self.name in store.names() else store.create(self.name)
        self.key = circuit(self.home, self.seed)
        self.ledger = Ledger(LedgerSettings(key=self.name))
        self.registration = self.register()
        self.receipts, self.ordered, self.bundles, self.asked = {}, {}, {}, {}
        self.answered = 0
        self.host = self.hosted()

    def hosted(self):
        folder = self.home / "audits" / self.name
        return AuditHost(folder, self.signer, [self.registration.registration_id], self)

    def register(self, **changes):
        fields = {
            "name": NAME,
            "backend": "integer",
            "backend_version": "2",
            "circuit_id": self.key.circuit_id,
            "setup_trust": SetupTrust(trust=Trust.TRANSPARENT),
            "provider": self.signer.public,
        }
        registration = Registration(**{**fields, **changes})
        self.ledger.register(registration, key=f"register/{registration.registration_id}")
        return registration

    @property
    def model(self):
        return read_model(self.key.parts[STRUCTURE_PART], self.key.parts[WEIGHTS_PART])

    def truth(self, inputs, *, seed=None):
        """Return the outputs that the model gives, as a statement has them."""
        key = self.key if seed is None else circuit(self.home, seed)
        model = read_model(key.parts[STRUCTURE_PART], key.parts[WEIGHTS_PART])
        stated = stated_inputs(key, inputs)
        found = execute_integers(model, {one.name: np.array([one.integers]).reshape(1, *one.shape) for one in stated})
        ports = Interface.of(self.model).outputs
        taken = [
            np.clip(found.outputs[name], port.lo, port.hi) for name, port in zip(found.outputs, ports, strict=True)
        ]
        return tuple(port.tensor(array.reshape(-1).tolist()) for port, array in zip(ports, taken, strict=True))

    def answer(self, inputs, *, nonce, proof="none", **changes):
        """Return a signed receipt, of another model's answer where this one is swapped."""
        number, self.answered = self.answered, self.answered + 1
        registration_id = self.registration.registration_id
        fields = {
            "registration_id": registration_id,
            "provider": self.signer.public,
            "nonce": nonce,
            "context": context_of(nonce, registration_id),
            "input_digest": digest_of(stated_inputs(self.key, inputs)),
            "input_sha256": request_sha256(inputs),
            "outputs": self.truth(inputs, seed=self.seed + 1 if self.swapped(number) else None),
            "time": now(),
            "proof": "none",
            "job_id": None,
        }
        receipt = AnswerReceipt(**{**fields, **changes})
        if proof != "none":
            receipt = receipt.model_copy(update={"proof": proof, "job_id": receipt.job})
        signed = sign_receipt(self.signer, receipt)
        self.receipts[signed.receipt_id] = signed
        self.asked[signed.receipt_id] = inputs
        if proof != "none":
            self.order(signed.receipt_id)
        return signed

    def bundle(self, inputs, context, *, outputs=None):
        """Return a bundle that proves what the registered model answers."""
        stated = stated_inputs(self.key, inputs)
        outputs = self.truth(inputs) if outputs is None else outputs
        answer = Answer(
            context=context,
            inputs=tuple(one.integers for one in stated),
            outputs=tuple(one.integers for one in outputs),
        )
        proof = ReExecution(answers=(answer,), seal=seal(self.key.circuit_id, [answer]))
        signed = SignedRegistration.sign(self.registration, self.signer)
        return Bundle(signed, self.key, None, Proof("integer", proof.to_json()))

    # What hosting audits needs

    def receipt(self, receipt_id):
        return self.receipts.get(receipt_id)

    def order(self, receipt_id):
        receipt = self.receipts[receipt_id].receipt
        job = Job(receipt.job, receipt_id)
        if self.refuses_to_prove(receipt_id):
            job.state, job.reason = "failed", "no"
        else:
            data = self.bundle(self.asked[receipt_id], receipt.context).to_bytes()
            job.bundle = cid.of_bytes(data)
            self.bundles[job.bundle] = data
        self.ordered[job.job_id] = job
        return job

    def jobs(self, job_ids):
        found = {job_id: self.job(job_id) for job_id in job_ids}
        return {job_id: job for job_id, job in found.items() if job is not None}

    def job(self, job_id):
        return self.ordered.get(job_id)

    # What is asked over the network

    def transport(self):
        return Wire(self)

    def respond(self, request):
        path = request.url.path
        try:
            response = self._respond(request, path)
        except BlobNotFound as error:
            response = _problem(404, error)
        except BalanceError as error:
            response = _problem(409, error)
        for pattern, hook in self.hooks.items():
            if re.fullmatch(pattern, path):
                return hook(request, response)
        return response

    def _respond(self, request, path):
        for pattern, route in _ROUTES.items():
            if found := re.fullmatch(pattern, path):
                return route(self, request, *found.groups())
        return httpx.Response(404, json={"error": "there is no such page", "type": "NotFound"})

    def _registrations(self, _):
        listed = {"name": NAME, "registration_id": self.registration.registration_id}
        return httpx.Response(200, json={"registrations": [listed]})

    def _model(self, _):
        return httpx.Response(200, content=self._metadata().model_dump_json())

    def _parts(self, _):
        signed = SignedRegistration.sign(self.registration, self.signer)
        content = Parts(signed, self.key, None).to_bytes()
        return httpx.Response(200, content=content) if self.gives_parts else httpx.Response(404)

    def _bundle(self, _, address):
        data = self.bundles.get(address)
        return httpx.Response(404) if data is None else httpx.Response(200, content=data)

    def _job(self, _, job_id):
        return httpx.Response(200, json=self.ordered[job_id].as_json())

    def _proof(self, _, receipt_id):
        return httpx.Response(202, json=self.order(receipt_id).as_json())

    def _open(self, request):
        return httpx.Response(201, content=self.host.open(SignedPlan.from_json(request.content)).to_json())

    def _state(self, _, audit_id):
        return httpx.Response(200, content=self.host.state(audit_id).to_json())

    def _reveal(self, request, audit_id):
        if self.refuses_to_reveal:
            return httpx.Response(409, json={"error": "no", "type": "Rejected"})
        asked = AskedReveal.from_json(request.content)
        return httpx.Response(200, content=self.host.reveal(audit_id, asked).to_json())

    def _metadata(self):
        ports = Interface.of(self.model)
        return wire.ModelMetadata(
            name=NAME,
            versions=["1"],
            platform="balance_integer",
            inputs=[_described(port) for port in ports.inputs],
            outputs=[_described(port) for port in ports.outputs],
            parameters={"balance_registration": self.registration.registration_id},
        )

    def _infer(self, request):
        body = request.content
        length = request.headers.get(wire.HEADER_LENGTH)
        found = wire.read(wire.InferRequest, wire.split(body, length)[0])
        asked = wire.asked(found.parameters)
        arrays = wire._arrays(found.inputs, wire.split(body, length)[1])
        signed = self.answer(arrays, nonce=asked.nonce, proof=asked.proof)
        return self.told(signed)

    def told(self, signed):
        given = wire.Given(
            receipt=signed.to_json().decode(),
            registration=signed.receipt.registration_id,
            job=signed.receipt.job_id,
        )
        outputs = [
            wire.OutputTensor(
                name=one.name, shape=list(one.shape), datatype="FP32", data=one.real().reshape(-1).tolist()
            )
            for one in signed.receipt.outputs
        ]
        response = wire.InferResponse(model_name=NAME, parameters=wire.as_parameters(given), outputs=outputs)
        return httpx.Response(200, content=response.model_dump_json(exclude_none=True))


_ID = "([0-9a-f]{64})"
_ROUTES = {
    "/v1/registrations": Desk._registrations,
    f"/v2/models/{NAME}": Desk._model,
    "/v1/registrations/[0-9a-f]{64}/parts": Desk._parts,
    f"/v2/models/{NAME}/infer": Desk._infer,
    "/v1/bundles/([a-z2-7]+)": Desk._bundle,
    f"/v1/jobs/{_ID}": Desk._job,
    f"/v1/receipts/{_ID}/proof": Desk._proof,
    "/v1/audits": Desk._open,
    f"/v1/audits/{_ID}": Desk._state,
    f"/v1/audits/{_ID}/reveal": Desk._reveal,
}


def _described(port):
    return wire.TensorMetadata(name=port.name, datatype="FP32", shape=list(port.shape))


def _problem(status, error):
    return httpx.Response(status, content=json.dumps({"error": error.message, "type": type(error).__name__}))


@lru_cache(maxsize=1)
def _verifier():
    return IntegerVerifier()


class QuickChecker:
    """Checks in this process; a stranger's bundles are checked in another one, as `Checker` does."""

    def prepare(self, backend):
        assert backend == "integer"

    def check(self, bundles, *, backend, registration_id, voucher=None, openings=()):
        assert backend == "integer"
        assert not any(openings)  # the reference backend hides nothing
        return [self._one(Bundle.from_bytes(data), registration_id, voucher) for data in bundles]

    def by_sample(self, bundles, registration_id, openings):
        assert not openings
        return {sample: self._one(bundle, registration_id, None) for sample, bundle in bundles.items()}

    def close(self):
        pass

    @staticmethod
    def _one(bundle, registration_id, voucher):
        try:
            return verification.verify(bundle, _verifier(), expected=registration_id, voucher=voucher)
        except BalanceError as error:
            return error


def made_set(count, *, seed=0):
    """Return inputs, and labels at random: whether answers are right does not matter to the protocol."""
    random = np.random.default_rng(seed)
    return random.standard_normal((count, 4)).astype(np.float32), random.integers(0, 3, count)


@contextmanager
def data_folder(folder):
    """Make a folder the data folder, for this process and those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BALANCE_HOME", str(folder))
        for seed in (1, 2):  # the registered model, and the one that a cheater answers with
            circuit(folder, seed)
        yield folder


@contextmanager
def client_of(desk, *, checker=None, **options):
    """Return a client of a desk that checks proofs in this process, unless told otherwise."""
    options = {"chain": Ledger(LedgerSettings(read_only=True)), "seconds": 60.0, **options}
    with Client("http://provider.test", transport=desk.transport(), **options) as client:
        client.consumer.checker = checker or QuickChecker()
        yield client


def audited(client, inputs, labels, **terms):
    """Conduct an audit and return its file."""
    return client.audit(inputs, labels, AuditTerms(**terms))


def checked(file, **options):
    """Check a file as a third person does, in this process."""
    return check_file(file, QuickChecker().by_sample, **options)
