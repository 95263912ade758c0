"""The path from a model to a verified proof, stage by stage, each in a process of its own."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from balance_core import canonical, measure, registry
from balance_core.errors import BlobNotFound, ConfigError, NodeIssue, StageOutOfMemory, UnsupportedModel
from balance_core.files import locked, write_whole
from balance_core.observing import Observers
from balance_core.records import Circuit, Fidelity, ModelCommitment, Proof, Registration, VerifyingKey
from balance_core.runs import ModelSummary, Preparation, StageReport, StageStart
from balance_core.stages import Limits, Measurement, Support, Task, TaskResult
from balance_core.verification import Verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from balance_core.contracts import Executor, ProofBackend
    from balance_core.stages import Capabilities, Estimate, Progress
    from balance_core.workspace import Workspace

_CACHE_VERSION = 2
"""Changes when a cached preparation of an older core must not be used."""


@dataclass(frozen=True)
class Converted:
    """A model in normal form with its inputs, as content of the workspace."""

    summary: ModelSummary
    samples: str
    """CID of the calibration samples."""
    inputs: str | None
    """CID of the requests."""
    requests: int
    """How many requests there are."""


@dataclass
class Pipeline:
    """Runs stages for one backend; use it as a context manager, so that nothing outlives it.

    `watch` is called with the progress of the running stage, from another thread.
    """

    workspace: Workspace
    backend: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    force: bool = False
    """Go on where the estimate says that memory will not do."""
    run_id: str = "adhoc"
    logs: Path | None = None
    executor_name: str = "local"
    observers: Iterable[object] = ()
    watch: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        self.plugin = registry.load("backends", self.backend)
        parsed = self.plugin.settings_class.parse(self.settings, owner=self.backend)
        self.settings = parsed.model_dump(mode="json", exclude_unset=True)
        self.stages: list[StageReport] = []
        self.tell = Observers(self.observers).tell
        self._executor: Executor = registry.create(
            "executors", self.executor_name, {"folder": self.workspace.root, "logs": self.logs}
        )
        self._executor.prepare("convert", None)  # it imports while this process still does

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.close()

    @property
    def plugin_class(self) -> type[ProofBackend]:
        """The backend's class."""
        found: type[ProofBackend] = self.plugin
        return found

    @property
    def promises(self) -> Capabilities:
        """What the backend promises under the settings of this run."""
        backend: ProofBackend = registry.create("backends", self.backend, self.settings)
        return backend.promises

    def convert(
        self,
        source: Path,
        *,
        inputs: Path | None = None,
        samples: Path | None = None,
        dimensions: Mapping[str, int] | None = None,
        converter_settings: Mapping[str, Any] | None = None,
        packed: ModelSummary | None = None,
    ) -> Converted:
        """Read and normalise the model, read the inputs, and ask the float model for its answers.

        With `packed` the model is one that was converted before, and `source` is not looked at.
        """
        arguments = {
            "source": str(source.absolute()),
            "inputs": str(inputs.absolute()) if inputs else None,
            "samples": str(samples.absolute()) if samples else None,
            "dimensions": dict(dimensions or {}),
            "converter": dict(converter_settings or {}),
        }
        blobs = {"model": packed.model} if packed else {}
        result = self._stage("convert", arguments=arguments, blobs=blobs, plugin=None, soon=("check", "setup"))
        summary = packed or ModelSummary.from_value(result.value["model"])
        return Converted(summary, result.blobs["samples"], result.blobs.get("inputs"), result.value["requests"])

    def check(self, converted: Converted) -> Support:
        """Ask the backend whether it can prove the model, and at what cost."""
        result = self._stage("check", blobs={"model": converted.summary.model}, soon=("setup",))
        return Support.from_value(result.value)

    def prepare(self, converted: Converted, provider: str) -> Preparation:
        """Check, set up and commit for a provider, or take all three from the cache.

        Other processes wait for the same work.
        """
        key = self._cache_key(converted, provider)
        entry = self.workspace.cache / f"{key}.json"
        with locked(entry.with_suffix(".lock")):
            cached = self._cached(entry)
            if cached is not None:
                self._refuse_excess(cached.estimate)
                for stage, measurement in cached.measurements.items():
                    self._record(stage, measurement, cached=True)
                return cached
            support = self.check(converted)
            if not support.ok:
                raise UnsupportedModel(
                    f"{self.backend} cannot prove {converted.summary.name}",
                    issues=[NodeIssue(p.node, p.operator, p.reason, p.mend) for p in support.problems],
                    hint="another backend may: `balance plugins list`",
                )
            self._refuse_excess(support.estimate)
            made = self._set_up(converted, support.estimate, provider)
            write_whole(entry, made.to_json())
            return made

    def _set_up(self, converted: Converted, estimate: Estimate, provider: str) -> Preparation:
        model = converted.summary.model
        soon = ("execute", "prove")  # while there are processors to spare, which answering many samples leaves none
        setup = self._stage("setup", blobs={"model": model, "samples": converted.samples}, soon=soon)
        circuit = setup.blobs["circuit"]
        blobs: Mapping[str, str] = {}
        if _commits(self.plugin_class):
            given = {"model": model, "circuit": circuit}
            blobs = self._stage("commit", blobs=given, arguments={"provider": provider}, soon=("execute",)).blobs
        return Preparation(
            model=converted.summary,
            backend=self.backend,
            settings=dict(self.settings),
            estimate=estimate,
            circuit=circuit,
            opening=blobs.get("opening"),
            commitment=blobs.get("commitment"),
            srs=setup.srs,
            measurements={
                report.stage: report.measurement
                for report in self.stages
                if report.stage in ("check", "setup", "commit")
            },
        )

    def derive(self, converted: Converted, *, parameters: str | None) -> Circuit:
        """Set the model up again by settings alone, with one given reference string, and return the circuit."""
        result = self._stage("setup", blobs={"model": converted.summary.model}, arguments={"parameters": parameters})
        return Circuit.from_json(self.workspace.blob(result.blobs["circuit"]).read_bytes())

    def execute(self, preparation: Preparation, inputs: str) -> tuple[Fidelity, str]:
        """Answer all inputs as proofs would; return how well that fits the float model, and the answers' CID."""
        result = self._stage("execute", blobs={**_proving_blobs(preparation), "samples": inputs}, soon=("prove",))
        return Fidelity.from_value(result.value), result.blobs["answers"]

    def prove(
        self, preparation: Preparation, inputs: str, *, index: int, context: bytes, blind: bytes | None = None
    ) -> Proof:
        """Prove the answer to one of the inputs under a context of 32 bytes; `blind` hides it, if it is private."""
        if len(context) != 32:
            raise ConfigError(f"a context has 32 bytes, not {len(context)}", hint="give 64 hex digits")
        result = self._stage(
            "prove",
            blobs={**_proving_blobs(preparation), "samples": inputs},
            arguments={"index": index, "context": context.hex(), "blind": blind.hex() if blind else None},
            soon=("verify",),
        )
        return Proof(self.backend, self.workspace.blob(result.blobs["proof"]).read_bytes())

    def verify(self, bundle: str, expected: Registration | str | None) -> Verified:
        """Check a bundle of the workspace in a fresh process that sees nothing but its bytes."""
        registration = expected.model_dump(mode="json") if isinstance(expected, Registration) else expected
        result = self._stage("verify", blobs={"bundle": bundle}, arguments={"registration": registration})
        return Verified.from_value(result.value)

    def circuit(self, preparation: Preparation) -> Circuit:
        """Return the circuit's record."""
        return Circuit.from_json(self.workspace.blob(preparation.circuit).read_bytes())

    def verifying_key(self, preparation: Preparation) -> VerifyingKey:
        """Return the bytes that a verifier relies on."""
        parts = self.circuit(preparation).key
        return VerifyingKey(
            self.backend, {name: self.workspace.blob(cid).read_bytes() for name, cid in parts.items()}
        )

    def commitment(self, preparation: Preparation) -> ModelCommitment | None:
        """Return the public commitment to the weights, if the key does not bind them."""
        if preparation.commitment is None:
            return None
        return ModelCommitment.from_json(self.workspace.blob(preparation.commitment).read_bytes())

    def _stage(
        self,
        stage: str,
        *,
        blobs: Mapping[str, str] | None = None,
        arguments: Mapping[str, Any] | None = None,
        plugin: str | None = "",
        soon: tuple[str, ...] = (),
    ) -> TaskResult:
        """Run one stage, tell the observers, and have a worker made ready for the one that comes `soon`."""
        task = Task(
            stage=stage,
            plugin=self.backend if plugin == "" else plugin,
            settings=dict(self.settings),
            arguments=dict(arguments or {}),
            blobs=dict(blobs or {}),
            limits=self._limits(),
        )
        self.tell("stage_started", StageStart(run_id=self.run_id, stage=stage))
        future = self._executor.submit(task, watch=self.watch)
        for stage_to_come in soon:
            self._executor.prepare(stage_to_come, self.backend)
        result = future.result()
        self._record(stage, result.measurement, cached=False)
        return result

    def _record(self, stage: str, measurement: Measurement, *, cached: bool) -> None:
        report = StageReport(run_id=self.run_id, stage=stage, cached=cached, measurement=measurement)
        self.stages.append(report)
        self.tell("stage_finished", report)

    def _limits(self) -> Limits:
        """Return the user's limits; without one of memory, what the machine has, so that it is never exhausted."""
        if self.limits.memory_bytes is not None or self.force:
            return self.limits
        return self.limits.model_copy(update={"memory_bytes": max(measure.available_memory(), 1)})

    def _refuse_excess(self, estimate: Estimate) -> None:
        """Refuse before anything is spent on a model that will not fit."""
        allowed = self._limits().memory_bytes
        needed = estimate.memory_bytes
        if needed is not None and allowed is not None and needed > allowed and not self.force:
            raise StageOutOfMemory(
                f"{self.backend} is expected to need {needed / 2**30:.1f} GiB for this model, "
                f"and {allowed / 2**30:.1f} GiB may be used",
                hint="--force goes on all the same; --memory sets another limit",
            )

    def _cache_key(self, converted: Converted, provider: str) -> str:
        return canonical.digest(
            f"setup-cache/{_CACHE_VERSION}",
            canonical.encode(
                {
                    "model": converted.summary.model,
                    "samples": converted.samples,
                    "backend": self.backend,
                    "version": self.plugin_class.version,
                    "settings": dict(self.settings),
                    "provider": provider if _commits(self.plugin_class) else None,
                }
            ),
        )

    def _cached(self, entry: Path) -> Preparation | None:
        """Return a cached preparation if all its content is there and the store would choose the same SRS again."""
        from balance_core.srs import SrsStore

        with contextlib.suppress(FileNotFoundError, ConfigError, BlobNotFound):
            found = Preparation.from_json(entry.read_bytes())
            circuit = Circuit.from_json(self.workspace.blob(found.circuit).read_bytes())
            for address in (*circuit.key.values(), *circuit.proving.values(), found.opening, found.commitment):
                if address is not None:
                    self.workspace.blob(address)
            store = SrsStore(self.workspace.srs)
            for use in found.srs:
                best = store.find(use.curve, use.k)
                if best is None or best.parameters != use.parameters:
                    return None
            return found
        return None


def _commits(plugin: type[ProofBackend]) -> bool:
    """Whether a backend commits to weights itself, rather than leaving that to its verifying key."""
    from balance_core.contracts import ProofBackend as Contract

    return plugin.commit is not Contract.commit


def _proving_blobs(preparation: Preparation) -> dict[str, str]:
    blobs = {"circuit": preparation.circuit}
    if preparation.opening is not None:
        blobs["opening"] = preparation.opening
    return blobs
