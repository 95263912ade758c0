"""A registered model of a few neurons, and receipts that its answers get: what tests of proving begin with."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import numpy as np

import balance_core
from balance_core import registry
from balance_core.keys import KeyStore
from balance_core.service.jobs import JobQueue, Order, Prover, Terms
from balance_core.service.receipts import AnswerReceipt, context_of, job_id_of, now, request_sha256, sign_receipt
from balance_core.testing import models
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from balance_core.registering import Registered
    from balance_core.runs import Execution
    from balance_core.service.jobs import Job
    from balance_core.service.receipts import SignedReceipt

ODD = '''
import json, os, subprocess, sys, time
from pathlib import Path

from balance_core.builtin import integer_verifier
from balance_core.builtin.integer_backend import IntegerBackend
from balance_core.builtin.integer_verifier import IntegerVerifier, read_model
from balance_core.integer.interface import STRUCTURE_PART
from balance_core.records import Proof

class OddBackend(IntegerBackend):
    """Proves as `integer` does, but for requests of which the file `behave` says otherwise, by their context."""

    api_version = 1
    name = "odd"

    def make_verifier(self):
        return OddVerifier()

    def prove_integers(self, circuit, opening, integer, requests, job):
        home = Path(os.environ["BALANCE_HOME"])
        behave = json.loads((home / "behave").read_text()) if (home / "behave").exists() else {}
        what = behave.get(requests[0].context.hex(), behave.get("*"))
        if what == "die":
            os.kill(os.getpid(), 9)
        if what == "linger":
            time.sleep(0.5)
        if what == "eat":
            kept = bytearray(b"x") * (2 << 30)
            time.sleep(600)
        if what == "sleep":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            job.progress("thinking", 0.5)
            (home / "pids.new").write_text(f"{os.getpid()} {child.pid}")
            (home / "pids.new").replace(home / "pids")
            time.sleep(600)
        return super().prove_integers(circuit, opening, integer, requests, job)

class OddVerifier(IntegerVerifier):
    api_version = 1

    def verify(self, key, commitment, proof):
        return super().verify(key, commitment, Proof("integer", proof.data))

    @staticmethod
    def _model(key):
        return read_model(key.parts[STRUCTURE_PART], key.parts[integer_verifier.WEIGHTS_PART])
'''
ENTRY_POINTS = {
    "balance.backends": ["odd = odd_prover:OddBackend"],
    "balance.verifiers": ["odd = odd_prover:OddVerifier"],
}


def install_odd(folder: Path) -> None:
    """Write the distribution of the backend `odd`."""
    info = folder / "odd-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    groups = (f"[{group}]\n" + "\n".join(points) + "\n" for group, points in ENTRY_POINTS.items())
    (info / "entry_points.txt").write_text("\n".join(groups))
    (folder / "odd_prover.py").write_text(ODD)


class Desk:
    """A provider's desk without its door: it answers inputs that were worked out before, and signs."""

    def __init__(self, count: int = 8, backend: str = "integer") -> None:
        self.workspace = Workspace.default()
        self.key = KeyStore(self.workspace.keys).default()
        self.inputs = np.random.default_rng(5).standard_normal((count, 1, 4)).astype(np.float32)
        model = models.mlp(seed=1)
        self.registered: Registered = balance_core.setup(model, self.inputs, backend=backend)
        self.registration_id = self.registered.registration.registration_id
        execution: Execution = balance_core.execute(self.registration_id, self.inputs)
        self.answers = execution.answers

    @classmethod
    def again(cls) -> Desk:
        """Return a desk for another process, that can do no more than open queue and prover."""
        desk = object.__new__(cls)
        desk.workspace = Workspace.default()
        return desk

    def receipt(self, index: int, *, nonce: str | None = None, answer: int | None = None) -> SignedReceipt:
        """Sign an answer, or, as a liar would, another input's."""
        inputs = {"x": self.inputs[index]}
        nonce = nonce or secrets.token_hex(32)
        context = context_of(nonce, self.registration_id)
        sha256 = request_sha256(inputs)
        receipt = AnswerReceipt(
            registration_id=self.registration_id,
            provider=self.key.public,
            nonce=nonce,
            context=context,
            input_digest=None,
            input_sha256=sha256,
            outputs=self.answers[index if answer is None else answer],
            time=now(),
            proof="later",
            job_id=job_id_of(self.registration_id, sha256, context),
        )
        return sign_receipt(self.key, receipt)

    def order(self, index: int, **terms: object) -> Order:
        return Order({"x": self.inputs[index]}, Terms(**terms))

    def accept(self, queue: JobQueue, index: int = 0, **terms: object) -> Job:
        return queue.accept(self.order(index, **terms), self.receipt(index))

    def prover(self, **options: object) -> Prover:
        options = {"storage": lambda: registry.create("storage", "local"), "chain": self.chain, **options}
        return Prover(self.workspace, **options)

    @staticmethod
    def chain():
        return registry.create("chains", "ledger")

    def queue(self, name: str = "jobs.db", **options: object) -> JobQueue:
        return JobQueue(self.workspace.root / "service" / name, **options)


def until(holds, seconds: float = 60.0) -> None:
    """Wait until something holds; fails after a time."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come about in time"
        time.sleep(0.05)


def settled(queue: JobQueue, *names: str, seconds: float = 60.0) -> list[Job]:
    """Wait until jobs have ended, and return them."""
    until(lambda: all(queue.job(name).state.final for name in names), seconds)
    return [queue.job(name) for name in names]
