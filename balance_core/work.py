"""What each stage does, inside the worker: it takes content by address and gives content by address."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from balance_core import arrays, registry
from balance_core.contracts import Job, ProofBackend, Request, Samples
from balance_core.errors import BalanceError, BlobNotFound, PluginError
from balance_core.records import Circuit, InputOpening, Opening, Registration
from balance_core.stages import SrsUse, Task
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from balance_core.contracts import Verifier
    from balance_core.model import Model

PROVEN = "proven {number} {cid}"
"""How the prove stage tells of each proof, where it makes several."""


class LocalJob(Job):
    """A stage's view of the workspace on this machine."""

    def __init__(
        self,
        workspace: Workspace,
        scratch: Path,
        *,
        threads: int,
        memory_bytes: int | None,
        report: Callable[[str, float | None], None],
        parameters: str | None = None,
    ) -> None:
        """`parameters` is the digest of the one reference string to be used, when a setup is to be repeated."""
        self.scratch = scratch
        self.threads = threads
        self.memory_bytes = memory_bytes
        self.srs_used: list[SrsUse] = []
        self._workspace = workspace
        self._report = report
        self._parameters = parameters

    @override
    def path(self, cid: str) -> Path:
        return self._workspace.blob(cid)

    @override
    def publish(self, source: Path) -> str:
        return self._workspace.publish(source)

    def publish_bytes(self, data: bytes, name: str) -> str:
        """Hand over bytes as a blob."""
        target = self.scratch / name
        target.write_bytes(data)
        return self.publish(target)

    @override
    def srs(self, curve: str, k: int, make: Callable[[Path], None], *, parameters: str | None = None) -> Path:
        from balance_core.srs import SrsStore

        store = SrsStore(self._workspace.srs)
        wanted = parameters or self._parameters
        found = store.find(curve, k, wanted)
        if found is None and wanted is not None:
            raise BlobNotFound(
                f"the store has no {curve} reference string of 2^{k} powers with the digest {wanted}",
                hint="import the one that the registration was made with: balance srs import FILE",
            )
        if found is None:
            found = store.make(curve, k, make)
        self.srs_used.append(SrsUse(curve=curve, k=k, parameters=found.parameters))
        return found.path

    @override
    def progress(self, message: str, fraction: float | None = None) -> None:
        self._report(message, fraction)


@dataclass(frozen=True)
class Outcome:
    """What a stage gives: a JSON value, and content by name."""

    value: Any
    blobs: Mapping[str, str]


def warm_up(stage: str, plugin: str | None) -> None:
    """Import what a stage will need, before its task is known."""
    if stage == "convert":
        import balance_core.conversion
        import balance_core.model.inputs
        import balance_core.model.load
        from balance_core.model import reference

        reference.warm_up()
    elif stage in {"judge", "verify"} and plugin:
        import balance_core.verification

        registry.load("verifiers", plugin).warm_up(stage)
    elif plugin:
        import balance_core.model.fidelity  # noqa: F401

        registry.load("backends", plugin).warm_up(stage)


def perform(order: dict[str, Any], report: Callable[[str, float | None], None]) -> dict[str, Any]:
    """Do one task and return its outcome as JSON."""
    task = Task.from_value(order["task"])
    job = LocalJob(
        Workspace(Path(order["workspace"])),
        Path(order["scratch"]),
        threads=order["threads"],
        memory_bytes=order["memory_bytes"],
        report=report,
        parameters=task.arguments.get("parameters"),
    )
    outcome = _STAGES[task.stage](task, job)
    return {
        "value": outcome.value,
        "blobs": dict(outcome.blobs),
        "srs": [use.model_dump(mode="json") for use in job.srs_used],
    }


def _backend(task: Task) -> ProofBackend:
    backend: ProofBackend = registry.create("backends", str(task.plugin), task.settings)
    return backend


def _model(task: Task, job: Job) -> Model:
    from balance_core.model import Model

    return Model.from_bytes(job.path(task.blobs["model"]).read_bytes())


def _samples(task: Task, job: Job, name: str = "samples") -> Samples:
    return arrays.read_samples(job.path(task.blobs[name]))


def _circuit(task: Task, job: Job) -> Circuit:
    return Circuit.from_json(job.path(task.blobs["circuit"]).read_bytes())


def _opening(task: Task, job: Job) -> Opening:
    address = task.blobs.get("opening")
    return Opening.from_json(job.path(address).read_bytes()) if address else Opening()


def _convert(task: Task, job: LocalJob) -> Outcome:
    """Read model and inputs, normalise, and let the original answer the samples in float."""
    from balance_core.conversion import convert

    return convert(task.arguments, task.blobs.get("model"), job)


def _check(task: Task, job: LocalJob) -> Outcome:
    support = _backend(task).check(_model(task, job))
    return Outcome(support.model_dump(mode="json"), {})


def _setup(task: Task, job: LocalJob) -> Outcome:
    samples = _samples(task, job) if "samples" in task.blobs else None
    circuit = _backend(task).setup(_model(task, job), samples, job)
    return Outcome(None, {"circuit": job.publish_bytes(circuit.to_json(), "circuit.json")})


def _commit(task: Task, job: LocalJob) -> Outcome:
    commitment = _backend(task).commit(_circuit(task, job), _model(task, job), task.arguments["provider"], job)
    blobs = {"opening": job.publish_bytes(commitment.opening.to_json(), "opening.json")}
    if commitment.public is not None:
        blobs["commitment"] = job.publish_bytes(commitment.public.to_json(), "commitment.json")
    return Outcome(None, blobs)


def _execute(task: Task, job: LocalJob) -> Outcome:
    """Answer all samples as proofs would, and compare with the float model's answers."""
    from balance_core.model import fidelity

    samples = _samples(task, job)
    answers = _backend(task).execute(_circuit(task, job), _opening(task, job), samples.inputs, job)
    measured = fidelity.measure(samples.outputs, [{t.name: t.real() for t in answer} for answer in answers])
    text = json.dumps([[tensor.model_dump(mode="json") for tensor in answer] for answer in answers])
    return Outcome(measured.model_dump(mode="json"), {"answers": job.publish_bytes(text.encode(), "answers.json")})


def _prove(task: Task, job: LocalJob) -> Outcome:
    if "requests" in task.arguments:
        return _prove_each(task, job)
    samples = _samples(task, job)
    index = task.arguments["index"]
    blind = task.arguments.get("blind")
    request = Request(
        {name: array[index] for name, array in samples.inputs.items()},
        bytes.fromhex(task.arguments["context"]),
        bytes.fromhex(blind) if blind else None,
    )
    proof = _backend(task).prove(_circuit(task, job), _opening(task, job), [request], job)
    return Outcome(None, {"proof": job.publish_bytes(proof.data, "proof.bin")})


def _prove_each(task: Task, job: LocalJob) -> Outcome:
    """Prove requests that come with the task, packed and in base64, and tell of each proof as soon as it is there.

    Whoever waits has the proofs that were made even if the process ends early, from progress of the form `PROVEN`.
    """
    backend, circuit, opening = _backend(task), _circuit(task, job), _opening(task, job)
    blobs: dict[str, str] = {}
    wanted = task.arguments["requests"]
    for number, order in enumerate(wanted):
        inputs = arrays.unpack(base64.b64decode(order["inputs"]))
        blind = order.get("blind")
        request = Request(inputs, bytes.fromhex(order["context"]), bytes.fromhex(blind) if blind else None)
        proof = backend.prove(circuit, opening, [request], job)
        blobs[f"proof-{number}"] = job.publish_bytes(proof.data, "proof.bin")
        job.progress(PROVEN.format(number=number, cid=blobs[f"proof-{number}"]), (number + 1) / len(wanted))
    return Outcome(None, blobs)


def _verify_each(task: Task, job: LocalJob) -> Outcome:
    """Check bundles of one backend as `_verify` does, each for itself; an error takes the place of what it says.

    An opening is offered with some of them: where a statement hides its inputs, it must open them.
    """
    said: list[Any] = []
    verifiers: dict[str, Verifier] = {}
    offered = task.arguments.get("openings") or [None] * len(task.arguments["bundles"])
    for number, (path, opening) in enumerate(zip(task.arguments["bundles"], offered, strict=True)):
        one = task.model_copy(
            update={"arguments": {**task.arguments, "bundle": path, "bundles": None, "offered": opening}}
        )
        try:
            said.append({"verified": _verify(one, job, verifiers).value})
        except BalanceError as error:
            said.append({"error": type(error).__name__, "message": error.message})
        job.progress(f"checked {number + 1}", (number + 1) / len(task.arguments["bundles"]))
    return Outcome(said, {})


def _verify(task: Task, job: LocalJob, verifiers: dict[str, Verifier] | None = None) -> Outcome:
    """Check a bundle as a stranger would: from its bytes, with the verifier alone, which is looked up once."""
    if task.arguments.get("bundles"):
        return _verify_each(task, job)
    from balance_core import verification
    from balance_core.bundle import Bundle
    from balance_core.chain import Voucher

    path = task.arguments.get("bundle") or job.path(task.blobs["bundle"])
    bundle = Bundle.read(Path(path))
    verifiers = {} if verifiers is None else verifiers
    backend = bundle.registration.registration.backend
    if backend not in verifiers:
        verifiers[backend] = registry.create("verifiers", backend)
    verifier = verifiers[backend]
    expected = task.arguments.get("registration")
    if isinstance(expected, dict):
        expected = Registration.from_value(expected)
    word = task.arguments.get("voucher")
    voucher = Voucher.from_value(word) if word else None
    shown = task.arguments.get("opening")
    opened = InputOpening.from_value(shown) if shown else None
    verified = verification.verify(bundle, verifier, expected=expected, voucher=voucher, opened=opened)
    offered = task.arguments.get("offered")
    if offered and verified.hides_inputs:
        verified = verification.with_opening(verified, verifier, bundle.key, InputOpening.from_value(offered))
    return Outcome(verified.model_dump(mode="json"), {})


def _judge(task: Task, job: LocalJob) -> Outcome:
    """Check a stranger's bundle against a chain's record of it; what comes back is small, whatever it states."""
    from balance_core import judging
    from balance_core.bundle import MAX_BUNDLE_BYTES
    from balance_core.chain import ProofRecord, Voucher

    del job
    judging.confine()
    given = task.arguments
    data = Path(given["bundle"]).read_bytes()
    bundle = judging.read(data, backend=task.plugin, max_size=given.get("max_size", MAX_BUNDLE_BYTES))
    judgement = judging.judge(
        bundle,
        registry.create("verifiers", bundle.registration.registration.backend),
        record=ProofRecord.from_value(given["record"]) if given.get("record") else None,
        expected=given.get("registration"),
        voucher=Voucher.from_value(given["voucher"]) if given.get("voucher") else None,
        told_bytes=given.get("told_bytes", 0),
    )
    return Outcome(judgement.model_dump(mode="json"), {})


def _onchain(task: Task, job: LocalJob) -> Outcome:
    """Say what having a bundle's proof checked takes on the first chain that can try it."""
    from dataclasses import asdict

    from balance_core.bundle import Bundle
    from balance_core.chain import ProofRecord
    from balance_core.contracts import TriesOnchain
    from balance_core.records import Statement

    job.progress("trying the contracts")
    bundle = Bundle.read(Path(task.arguments["bundle"]))
    statement = Statement.from_value(task.arguments["statement"])
    record = ProofRecord(
        registration_id=bundle.registration_id,
        context=statement.context,
        inputs_digest=statement.inputs_digest,
        statement_digest=statement.digest,
        bundle=bundle.cid,
    )
    for name in registry.names("chains"):
        with contextlib.suppress(PluginError):  # one that is broken is not asked
            chain = registry.load("chains", name)
            if issubclass(chain, TriesOnchain):
                return Outcome(asdict(chain.onchain_cost(record, bundle)), {})
    return Outcome(None, {})


_STAGES: dict[str, Callable[[Task, LocalJob], Outcome]] = {
    "check": _check,
    "commit": _commit,
    "convert": _convert,
    "execute": _execute,
    "judge": _judge,
    "onchain": _onchain,
    "prove": _prove,
    "setup": _setup,
    "verify": _verify,
}
