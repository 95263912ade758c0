"""Runs a backend's stages as a worker would, each in a scratch folder of its own, and notes what it does outside."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from typing_extensions import override

from balance_core.contracts import Request
from balance_core.errors import StageError
from balance_core.records import Circuit, ModelCommitment, Opening, Proof, VerifyingKey
from balance_core.testing import confine
from balance_core.testing.models import samples
from balance_core.work import LocalJob
from balance_core.workspace import HOME_VARIABLE, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from balance_core.contracts import ProofBackend, Samples
    from balance_core.model import Model
    from balance_core.records import Tensor


PROVIDER = hashlib.sha256(b"conformance kit, provider").hexdigest()
"""Who registers the kit's models; nothing is signed, so there need not be such a key."""


def context(number: int) -> bytes:
    """Return 32 bytes that name a request of the kit."""
    return hashlib.sha256(b"conformance kit, request %d" % number).digest()


@dataclass(frozen=True)
class Registered:
    """A model after setup and commitment."""

    model: Model
    samples: Samples
    circuit: Circuit
    key: VerifyingKey
    commitment: ModelCommitment | None
    opening: Opening

    def request(self, sample: int, context: bytes) -> Request:
        """Return the request that one of the samples makes."""
        return Request({name: array[sample] for name, array in self.samples.inputs.items()}, context)


@dataclass(frozen=True)
class Proven:
    """A proof with all that a stranger needs to check it, and what it should say."""

    key: VerifyingKey
    commitment: ModelCommitment | None
    proof: Proof
    requests: tuple[Request, ...]
    outputs: tuple[tuple[Tensor, ...], ...]
    """What `execute` answers to the requests."""


class _KitJob(LocalJob):
    """A job whose own work on the workspace is not held against the plugin."""

    def __init__(
        self, workspace: Workspace, scratch: Path, watch: confine.Watch, *, cancelled: bool, parameters: str | None
    ) -> None:
        def report(message: str, fraction: float | None) -> None:
            del message, fraction
            if cancelled:
                raise StageError("the stage was cancelled")

        super().__init__(workspace, scratch, threads=2, memory_bytes=None, report=report, parameters=parameters)
        self._watch = watch

    @override
    def publish(self, source: Path) -> str:
        with self._watch.pause():
            return super().publish(source)

    @override
    def srs(self, curve: str, k: int, make: Callable[[Path], None], *, parameters: str | None = None) -> Path:
        with self._watch.pause():
            return super().srs(curve, k, make, parameters=parameters)


@dataclass
class Workbench:
    """A data folder, a home, a working folder and a model's folder, all watched, in which stages run."""

    folder: Path
    make: Callable[[], ProofBackend]
    network: bool = False
    writes: list[str] = field(default_factory=list)
    """What was written outside the scratch folders, with the stage that did it."""
    calls: list[str] = field(default_factory=list)
    """What was called in the network, with the stage that did it."""

    def __post_init__(self) -> None:
        self._registered: dict[Model, Registered] = {}
        self.workspace = Workspace(self.folder / "data")
        for path in (self.workspace.root, self.home, self.cwd, self.models):
            path.mkdir(parents=True)

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.folder / "home"

    @property
    def cwd(self) -> Path:
        """The folder that the command was started in."""
        return self.folder / "cwd"

    @property
    def models(self) -> Path:
        """The folder that holds the model's file."""
        return self.folder / "models"

    @contextlib.contextmanager
    def stage(self, name: str, *, cancelled: bool = False, parameters: str | None = None) -> Iterator[LocalJob]:
        """Lend a job for one stage, and note what happens outside its scratch folder.

        `cancelled` stops the stage when it tells of its progress; `parameters` is the digest of the only reference
        string that it may use.
        """
        around = (self.home, self.cwd, self.models)
        before = confine.snapshot(*around)
        with (
            self.workspace.scratch() as scratch,
            self.inside(scratch),
            confine.watched((scratch,), network=self.network) as watch,
        ):
            try:
                yield _KitJob(self.workspace, scratch, watch, cancelled=cancelled, parameters=parameters)
            finally:
                with watch.pause():
                    after = confine.snapshot(*around)
                    changed = [path for path in before | after if before.get(path) != after.get(path)]
                    self.writes += [f"{name}: {path}" for path in dict.fromkeys([*watch.writes, *changed])]
                    self.calls += [f"{name}: {call}" for call in watch.calls]

    @contextlib.contextmanager
    def inside(self, temporary: Path) -> Iterator[None]:
        """Move the process to this workbench, with this folder for temporary files."""
        variables: Mapping[str, str | None] = {
            "HOME": str(self.home),
            HOME_VARIABLE: str(self.workspace.root),
            "XDG_CACHE_HOME": None,
            "XDG_CONFIG_HOME": None,
            "XDG_DATA_HOME": None,
        }
        with confine.surroundings(self.cwd, temporary, variables):
            yield

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the whole bench out of reach."""
        hidden = self.folder.rename(self.folder.with_name(f"hidden-{self.folder.name}"))
        try:
            yield
        finally:
            hidden.rename(self.folder)

    def registered(self, model: Model) -> Registered:
        """Return a model's circuit and commitment, made once."""
        if model not in self._registered:
            self._registered[model] = self.register(model)
        return self._registered[model]

    def register(self, model: Model) -> Registered:
        """Set a model up and commit to its weights; records take the way that they take between machines."""
        (self.models / f"{model.name}.onnx").write_bytes(model.onnx)
        shown = samples(model)
        with self.stage("setup") as job:
            circuit = Circuit.from_json(self.make().setup(model, shown, job).to_json())
        with self.stage("commit") as job:
            commitment = self.make().commit(circuit, model, PROVIDER, job)
        public = commitment.public and ModelCommitment.from_json(commitment.public.to_json())
        opening = Opening.from_json(commitment.opening.to_json())
        key = VerifyingKey(
            circuit.backend, {name: self.workspace.blob(cid).read_bytes() for name, cid in circuit.key.items()}
        )
        return Registered(model, shown, circuit, key, public, opening)

    def execute(self, registered: Registered, batch: Mapping[str, np.ndarray]) -> Sequence[tuple[Tensor, ...]]:
        """Answer a batch as proofs would."""
        with self.stage("execute") as job:
            return self.make().execute(registered.circuit, registered.opening, batch, job)

    def prove(self, registered: Registered, *requests: Request) -> Proof:
        """Prove the answers to requests."""
        with self.stage("prove") as job:
            return self.make().prove(registered.circuit, registered.opening, requests, job)

    def proven(self, model: Model, *requests: Request) -> Proven:
        """Prove the answers to requests, and keep what else is needed to check the proof."""
        import numpy as np

        registered = self.registered(model)
        batch = {name: np.stack([request.inputs[name] for request in requests]) for name in requests[0].inputs}
        answers = tuple(tuple(answer) for answer in self.execute(registered, batch))
        proof = self.prove(registered, *requests)
        return Proven(registered.key, registered.commitment, proof, requests, answers)
