"""What a consumer does with a provider, written once for the client that blocks and the one that awaits."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from balance_core import canonical
from balance_core.bundle import MAX_BUNDLE_BYTES, Bundle
from balance_core.errors import (
    BalanceError,
    BlobNotFound,
    Busy,
    ConfigError,
    InvalidProof,
    ProviderError,
    ProviderUnreachable,
    Refused,
)
from balance_core.model.inputs import as_batch
from balance_core.records import Cid, Digest, TensorSpec
from balance_core.service import wire
from balance_core.service.client.asking import Answer, Question, check_proof, read_answer
from balance_core.service.client.parts import Parts
from balance_core.service.client.steps import Call, Pause, Work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from balance_core.contracts import Storage
    from balance_core.service.client.book import Book, Pin
    from balance_core.service.client.checking import Checker
    from balance_core.service.client.pinning import Pinning, Wanted
    from balance_core.service.client.steps import Reply, Steps
    from balance_core.service.receipts import ProofMode
    from balance_core.signing import SigningKey

_POLL_SECONDS = 0.1
_POLL_MOST_SECONDS = 2.0
_SMALL_BYTES = 2**20
_NUMPY = {datatype: name for name, datatype in wire.DATATYPES.items()}
_MODEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class SeenJob(BaseModel):
    """What a client reads of a job; the provider's word."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_id: Digest
    state: Annotated[str, Field(max_length=32)]
    bundle: Cid | None = None
    reason: Annotated[str, Field(max_length=10_000)] = ""


ENDED = frozenset({"failed", "cancelled", "expired"})
"""States of jobs that come to nothing."""


@dataclass
class Consumer:
    """One provider's model as a consumer sees it; its methods are procedures of `steps`."""

    url: str
    model: str | None
    wanted: Wanted
    pinning: Pinning
    book: Book
    checker: Checker
    key: SigningKey
    storage: Storage | None
    headers: Mapping[str, str]
    patience: float
    """Seconds for a call, and for waiting while the provider is busy."""
    pinned: Pin | None = None
    inputs: tuple[TensorSpec, ...] = ()
    hides: bool = False
    """Whether proofs are to hide inputs; the provider's word, which every proof shows to be true or not."""
    parts: Parts | None = None
    """The verifying key and what belongs to it, where the provider hands it out."""

    def begin(self) -> Steps[Pin]:
        """Pin the registration from the chain and learn what the model takes; done once, before the first request."""
        if self.pinned is not None:
            return self.pinned
        if self.model is None:
            self.model = yield from self._only_model()
        if not _MODEL.fullmatch(self.model):
            raise ConfigError(f"{self.model[:80]!r} is not a model's name")
        found = yield from self.call(Call("GET", f"/v2/models/{self.model}", max_bytes=_SMALL_BYTES))
        metadata = _message(wire.ModelMetadata, found)
        named = metadata.parameters.get("balance_registration")
        self.hides = metadata.parameters.get("balance_private_input") is True
        address = f"{self.url[:180]} {self.model}"
        pin: Pin = yield Work(
            lambda: self.pinning.pin(address, self.wanted, named if isinstance(named, str) else None)
        )
        try:
            self.inputs = tuple(
                TensorSpec.from_value({"name": one.name, "dtype": _NUMPY[one.datatype], "shape": one.shape})
                for one in metadata.inputs
            )
        except ConfigError as error:
            raise ProviderUnreachable(f"the provider's description of {self.model!r} is wrong: {error}") from error
        self.parts = yield from self._parts(pin)
        self.pinned = pin
        return pin

    def _only_model(self) -> Steps[str]:
        """Return the name of the provider's model, which it names in its list of registrations."""
        found = yield from self.call(Call("GET", "/v1/registrations", max_bytes=_SMALL_BYTES))
        listed = _json(found, "the list of registrations")
        wanted = self.wanted.registration_id
        names = [name for name, one in _names(listed) if wanted in {None, one}]
        if len(names) != 1:
            raise ConfigError(
                f"the provider serves {len(names)} models that could be meant: {', '.join(names)}"[:300],
                hint="name one with --model",
            )
        return names[0]

    def _parts(self, pin: Pin) -> Steps[Parts | None]:
        """Fetch the pinned registration's verifying key; None where the provider does not hand it out."""
        path = f"/v1/registrations/{pin.registration.registration_id}/parts"
        try:
            reply = yield from self.call(Call("GET", path, max_bytes=MAX_BUNDLE_BYTES))
        except Refused:
            return None
        try:
            return Parts.from_bytes(reply.body, pin.registration)
        except ConfigError as error:
            raise ProviderUnreachable(f"the provider's verifying key cannot be read: {error.message}") from error

    def call(self, call: Call) -> Steps[Reply]:
        """Ask the provider; wait while it is busy, as long as patience lasts; raise what it refuses as Refused."""
        end = time.monotonic() + self.patience
        asked = Call(
            call.method,
            call.path,
            call.body,
            {**self.headers, **call.headers},
            call.max_bytes,
            min(call.seconds, self.patience),
        )
        while True:
            reply: Reply = yield asked
            if reply.status < 300 or (reply.status == 304 and "If-None-Match" in call.headers):
                return reply
            error = _refusal(call, reply)
            left = end - time.monotonic()
            if not isinstance(error, Busy) or error.retry_after > left:
                raise error
            yield Pause(error.retry_after)

    def ask(self, inputs: Any, *, proof: ProofMode = "none", private: bool | None = None) -> Steps[Answer]:
        """Ask one question; with proof `now` the answer is returned with its proof, checked here.

        `private` says that a proof must hide the input, or must show it; by default it is as the registration has it.
        """
        pin = yield from self.begin()
        batch = as_batch(inputs, self.inputs)
        count = len(next(iter(batch.values())))
        if count != 1:
            raise ConfigError(f"one question holds one input, not {count}", hint="ask for them one by one")
        question = Question(
            {name: array[0] for name, array in batch.items()},
            pin.registration,
            proof,
            private=self.hides if private is None else private,
            visibility=None if private is None else "private" if private else "public",
        )
        answer = yield from self.put(question)
        yield Work(lambda: self.book.keep(answer.signed))
        return (yield from self.prove(answer)) if proof == "now" else answer

    def put(self, question: Question) -> Steps[Answer]:
        """Send a question and check the answer and its receipt, which is not kept yet."""
        body = question.body()
        path = f"/v2/models/{self.model}/infer"
        reply = yield from self.call(Call("POST", path, body.content, body.headers, seconds=self.patience))
        return read_answer(question, reply.body, _lower(reply.headers), key=self.parts.key if self.parts else None)

    def prove(self, answer: Answer, *, seconds: float | None = None) -> Steps[Answer]:
        """Have an answer proven, or wait for the proof that was promised, and return it with the proof, checked here.

        Raises Refused where the provider will not, or failed to; InvalidProof for a proof of anything else.
        """
        pin = yield from self.begin()
        end = time.monotonic() + (seconds if seconds is not None else math.inf)
        receipt = answer.receipt
        if receipt.job_id is None:
            reply = yield from self.call(Call("POST", f"/v1/receipts/{receipt.receipt_id}/proof"))
            job = _job(reply)
        else:
            job = yield from self.job(receipt.job_id)
        wait = _POLL_SECONDS
        while job.bundle is None:
            _check_goes_on(job)
            if time.monotonic() > end:
                raise ProviderUnreachable(
                    f"the proof was not made within {seconds:g} s", hint="ask for it again with the same receipt"
                )
            yield Pause(wait)
            wait = min(wait * 1.5, _POLL_MOST_SECONDS)
            job = yield from self.job(receipt.job)
        data = yield from self.bundle(job.bundle)
        bundle = Bundle.from_bytes(data)
        if bundle.registration_id != pin.registration.registration_id:
            raise InvalidProof("the proof is under another registration than the one that you rely on")
        opening = answer.question.opening(bundle.key)
        said = yield Work(
            lambda: self.checker.check(
                [data],
                openings=[opening],
                backend=pin.registration.backend,
                registration_id=pin.registration.registration_id,
                voucher=pin.voucher,
            )
        )
        return check_proof(answer, bundle, raised(said[0]))

    def job(self, job_id: str) -> Steps[SeenJob]:
        """Return how a job stands, as the provider says."""
        return _job((yield from self.call(Call("GET", f"/v1/jobs/{job_id}", max_bytes=_SMALL_BYTES))))

    def bundle(self, address: str) -> Steps[bytes]:
        """Fetch a bundle from the storage if there is one that has it, else from the provider; not checked yet."""
        if self.storage is not None:
            try:
                data: bytes = yield Work(lambda: self._stored(address))
            except BlobNotFound:
                pass
            else:
                return data
        path = f"/v1/bundles/{quote(address, safe='')}"
        reply = yield from self.call(Call("GET", path, max_bytes=MAX_BUNDLE_BYTES))
        return reply.body

    def _stored(self, address: str) -> bytes:
        if self.storage is None:
            raise BlobNotFound("there is no storage")
        with self.storage.open(address, max_size=MAX_BUNDLE_BYTES) as stream:
            return stream.read()


def raised(said: Any) -> Any:
    """Return what a check found, or raise the error that took its place."""
    if isinstance(said, BalanceError):
        raise said
    return said


def _check_goes_on(job: SeenJob) -> None:
    """Raise Refused for a job that has come to an end without a proof."""
    if job.state in ENDED:
        reason = f": {_one_line(job.reason)}" if job.reason else ""
        raise Refused(
            f"the provider did not prove its answer: the job {job.state}{reason}",
            hint="it signed the answer: `balance receipt check` shows what the receipt says",
        )


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _refusal(call: Call, reply: Reply) -> ProviderError | Busy:
    """Turn a refusal into its error; the provider's words are shown as its own, on one line."""
    try:
        problem = wire.read(wire.Problem, reply.body[:_SMALL_BYTES])
        words, hint = problem.error, problem.hint
    except ConfigError:
        words, hint = f"status {reply.status}", None
    shown = _one_line(words)
    if reply.status in {429, 503}:
        header = _lower(reply.headers).get("retry-after", "1")
        wait = float(header) if re.fullmatch(r"\d{1,6}(\.\d{1,3})?", header) else 1.0
        return Busy(f"the provider is busy: {shown}", retry_after=max(wait, 0.05))
    return Refused(
        f"the provider refused {call.path}: {shown}", status=reply.status, hint=_one_line(hint) if hint else None
    )


def _one_line(words: str) -> str:
    """Return a stranger's words without what would move a terminal's cursor."""
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())[:500]


def _json(reply: Reply, what: str) -> Any:
    try:
        return canonical.decode(reply.body, max_size=_SMALL_BYTES, what=what)
    except ConfigError as error:
        raise ProviderUnreachable(f"the provider's answer is not of the protocol: {error.message}") from error


def _job(reply: Reply) -> SeenJob:
    try:
        return SeenJob.model_validate_json(reply.body)
    except ValidationError as error:
        raise ProviderUnreachable("the provider's word on a job is not of the protocol") from error


def _message(kind: type[Any], reply: Reply) -> Any:
    try:
        return wire.read(kind, reply.body)
    except ConfigError as error:
        raise ProviderUnreachable(f"the provider's answer is not of the protocol: {error.message}") from error


def _names(listed: Any) -> list[tuple[str, str]]:
    """Return names and ids out of a list of registrations, whatever else stands there."""
    found: Sequence[Any] = listed.get("registrations", []) if isinstance(listed, dict) else listed
    return [
        (str(one.get("name")), str(one.get("registration_id")))
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict) and _MODEL.fullmatch(str(one.get("name")))
    ]
