"""The records of a comparison: one cell a file, one folder a machine. docs/results-format.md has them key by key.

Only what was measured or declared is kept; whatever follows from it is derived when it is reported. A number that is
not known is null, never 0.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from balance_core import canonical
from balance_core.records import Digest, Fidelity, Label, Name, Record, SetupTrust, TensorSpec
from balance_core.stages import Capabilities, Count, Estimate, NodeProblem, SrsUse

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(max_length=4000)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
"""UTC, as 2026-01-31T12:00:00Z."""
Sha256 = Digest

STAGES = ("check", "setup", "commit", "execute", "prove", "verify", "onchain")
"""The stages that a cell can hold samples of, in the order in which they run."""


class Status(StrEnum):
    """How a cell, or one stage of it, ended."""

    OK = "ok"
    UNSUPPORTED = "unsupported"
    """The backend cannot prove this model; nothing was timed."""
    FAILED = "failed"
    """A stage ended with an error, or without an answer."""
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    """A stage reached its memory limit, or was not started because it would."""
    REFUSED = "refused"
    """It ran, and what it says is not to be believed; its figures are not comparable with anybody's."""


class Sample(Record):
    """One measured run of one stage, over its whole process tree."""

    kind: ClassVar[str] = "sample"
    repeat: Count
    """Which round it belongs to, from 0; a round goes through all backends before the next begins."""
    started: Time
    """When the stage began."""
    load_average: Seconds
    """The machine's load average over one minute, when the stage began."""
    wall_seconds: Seconds
    """Elapsed time, from the task's arrival in the worker to its answer; importing is not part of it."""
    cpu_seconds: Seconds
    """User and system time of the worker and of all processes it waited for."""
    peak_memory_bytes: Count
    """By the method that machine.json names."""


class StageRecord(Record):
    """All samples of one stage, and how it ended."""

    kind: ClassVar[str] = "stage-record"
    status: Status = Status.OK
    """How its last run ended."""
    reason: Text = ""
    """Why it is not ok; else empty."""
    samples: tuple[Sample, ...] = ()
    """Samples of before a failure are kept."""
    failed_after_seconds: Seconds | None = None
    """How long the run took that did not end well."""


class ModelRecord(Record):
    """The model, the same bytes for every backend."""

    kind: ClassVar[str] = "compared-model"
    name: Name
    """The model's name, safe in a path."""
    model_id: Digest
    """Digest of structure and weights, whatever the names in the file."""
    sha256: Sha256
    """Of the file that was given."""
    file_bytes: Count
    """Its size."""
    parameters: Count
    """Elements of all constant tensors of floats."""
    macs: Count | None = None
    """Multiply-adds of one answer, over convolutions, matrix products and recurrent layers; null if not countable."""
    operators: tuple[str, ...]
    """Distinct operators of the normal form."""
    inputs: tuple[TensorSpec, ...]
    """Name, element type and shape of each input."""
    outputs: tuple[TensorSpec, ...]
    """Name, element type and shape of each output."""
    suite: Name | None = None
    """The suite that it came from."""
    family: Name | None = None
    """What it is a size of, where several sizes were run."""

    @property
    def folder(self) -> str:
        """The name of the model's folder."""
        return f"{self.name}-{self.model_id[:8]}"


class BackendRecord(Record):
    """The proof system as it declares itself, and as it is installed."""

    kind: ClassVar[str] = "compared-backend"
    name: Name
    """The plugin's name."""
    version: Label
    """Of plugin and proof system together."""
    distribution: Label
    """The distribution that brings the plugin."""
    distribution_version: Label
    """Its version."""
    licence: str = ""
    """Of the plugin's distribution. What it drives may have another: `capabilities.tool_licence`."""
    capabilities: Capabilities
    """Proof system, field, security under each assumption, zero-knowledge ... as it promises under these settings."""


class Conditions(Record):
    """What was the same for all backends of a comparison."""

    kind: ClassVar[str] = "conditions"
    threads: Annotated[int, Field(ge=1)]
    """Threads of each stage."""
    visibility: dict[str, str]
    """public or private, for `inputs`, `weights` and `outputs`: what was asked for; `hidden` says what came of it."""
    inputs: Sha256
    """Digest of the inputs, as arrays of the model's shapes."""
    input_count: Count
    """How many inputs each backend answered."""
    samples: Sha256
    """Digest of the samples by which settings were chosen; equal to `inputs` where these were the inputs."""
    sample_count: Count
    """How many samples these were."""
    timeout_seconds: Seconds | None = None
    """Of each stage."""
    memory_bytes: Count | None = None
    """The limit of each stage's process tree; null: what the machine had free."""
    repeats: Annotated[int, Field(ge=1)]
    """How many rounds were asked for."""
    repeat_below_seconds: Seconds | None = None
    """A stage that took longer was not repeated."""
    quick: bool = False
    """Whether it was a first look: one round, fewer inputs, fewer alterations."""


class CircuitRecord(Record):
    """What setup made."""

    kind: ClassVar[str] = "compared-circuit"
    circuit_id: Digest
    """Digest of everything that the verifier relies on."""
    setup_trust: SetupTrust
    """Where the parameters come from, judged by the key alone."""
    srs: tuple[SrsUse, ...] = ()
    """The reference strings that setup took from the store."""
    settings: dict[str, Any]
    """Settings that make the same circuit again."""
    facts: dict[str, int | float | str | bool] = {}
    """What the backend tells: `rows`, `k`, `constraints`, `steps` ... where it does."""
    reproducible: bool | None = None
    """Whether all setups of this cell gave one circuit_id; null where there was one setup."""


class Sizes(Record):
    """Bytes of what is kept and of what travels."""

    kind: ClassVar[str] = "sizes"
    proving_key: Count | None = None
    """All that only the prover needs, reference strings excepted."""
    verifying_key: Count | None = None
    """All that the verifier is handed beside the proof."""
    commitment: Count | None = None
    """The public commitment to weights that the key does not bind."""
    proof: Count | None = None
    """The largest of the proven samples."""
    bundle: Count | None = None
    """One file with all that a stranger needs to check the proof."""
    calldata: Count | None = None
    """Of the transaction that has a contract check the proof."""


class Gas(Record):
    """Gas on a chain of Ethereum's kind, by execution on a local one."""

    kind: ClassVar[str] = "gas"
    deploy: Count | None = None
    """Of the verifying contract; once for each chain."""
    circuit: Count | None = None
    """Of making the circuit known to it; once for each circuit."""
    verify: Count | None = None
    """Of checking one proof, its calldata and the transaction included."""


class Faithfulness(Record):
    """How far what is proven is from the float model, computed by the core for every backend alike."""

    kind: ClassVar[str] = "faithfulness"
    fidelity: Fidelity
    """Over all inputs, by the backend's own `execute`."""
    float_range: Number
    """Largest minus smallest output of the float model over the inputs: what errors are to be seen against."""
    distinct_answers: Annotated[int, Field(ge=1)]
    """How many different answers `execute` gave."""
    proven: tuple[Count, ...] = ()
    """Which inputs were proven, by number; each proof stated exactly what `execute` had answered."""
    proven_fraction: Share | None = None
    """Share of the statement's numbers (inputs and outputs of the model) that proofs cover."""


class Tampering(Record):
    """One attempt on the cell's own proof, and what the verifier made of it."""

    kind: ClassVar[str] = "tampering"
    target: Name
    """`proof`, `statement`, `context`, `registration` ..."""
    attempt: Label
    """What was altered."""
    rejected: bool
    """Whether the verifier refused it, in the way that it should."""
    verdict: Text
    """The verifier's words."""


class Environment(Record):
    """The software around a cell, and what the machine was doing."""

    kind: ClassVar[str] = "environment"
    versions: dict[str, str]
    """Installed distributions that the backend depends on, the core's among them."""
    variables: dict[str, str] = {}
    """Environment variables that numerical libraries heed, where they were set."""
    load_average: Seconds
    """Over one minute, before the cell's first stage."""
    free_memory_bytes: Count
    """What a new process could use then."""
    shared: bool = False
    """Whether another harness was at work on this machine, by the user's wish."""


class Cell(Record):
    """One model on one backend with one choice of settings, on one machine: one file, whatever happened."""

    kind: ClassVar[str] = "cell"
    machine: Name
    """The folder's name."""
    status: Status
    """How the cell ended."""
    reason: Text = ""
    """Why it is not ok, in one line; else empty."""
    stopped_at: Name | None = None
    """The stage that it did not get past."""
    started: Time
    """When it was begun; in a comparison, all cells are begun together."""
    ended: Time
    """When its file was written."""
    model: ModelRecord
    """What was proven."""
    backend: BackendRecord
    """What proved it."""
    settings: dict[str, Any] = {}
    """The backend's settings as the user gave them; `circuit.settings` are what came of them."""
    conditions: Conditions
    """What was the same for all backends."""
    seed: Count
    """Shuffles the order of the cells, and chooses what is proven and what is tampered with."""
    problems: tuple[NodeProblem, ...] = ()
    """Operators that are not covered, by node."""
    estimate: Estimate | None = None
    """What `check` expected, before anything was timed."""
    support_notes: tuple[Text, ...] = ()
    """What `check` said besides."""
    stages: dict[Name, StageRecord] = {}
    """By name: check, setup, commit, execute, prove, verify, onchain; those that were begun."""
    circuit: CircuitRecord | None = None
    """The circuit; null where no setup ended well."""
    sizes: Sizes = Sizes()
    """Bytes."""
    gas: Gas = Gas()
    """Gas, where the backend exports a contract that verifies and a chain's plugin can try it."""
    faithfulness: Faithfulness | None = None
    """How far what is proven is from the float model; null where nothing was executed."""
    hidden: tuple[Name, ...] = ()
    """What the proofs do not tell: `inputs`, `weights`. Empty where all is public."""
    tamperings: tuple[Tampering, ...] = ()
    """Attempts on its own proof."""
    environment: Environment
    """The software around it."""
    notes: tuple[Text, ...] = ()
    """What a reader must know, one line each."""

    @property
    def ranked(self) -> bool:
        """Whether it may stand in a ranking: it ended well, and its backend is sound."""
        return self.status is Status.OK and self.backend.capabilities.sound

    @property
    def file_name(self) -> str:
        """The name of the cell's file within the model's folder."""
        return f"{self.backend.name}-{self.settings_id}.json"

    @property
    def path(self) -> str:
        """The cell's place below the folder of results; the path is the key."""
        return f"{self.machine}/{self.model.folder}/{self.file_name}"

    @property
    def settings_id(self) -> str:
        """Eight hex digits over all that was chosen: settings, conditions and the backend's version."""
        return settings_id(self.backend, self.settings, self.conditions)

    def samples(self, stage: str) -> tuple[Sample, ...]:
        """Return what was measured of a stage; nothing where it never ran."""
        found = self.stages.get(stage)
        return found.samples if found else ()

    @model_validator(mode="after")
    def _stages_are_known(self) -> Self:
        unknown = sorted(set(self.stages) - set(STAGES))
        if unknown:
            raise ValueError(f"no stage is called {unknown[0]!r}")
        return self


def settings_id(backend: BackendRecord, settings: dict[str, Any], conditions: Conditions) -> str:
    """Return the eight hex digits that tell one choice from another for the same model and backend.

    Limits are not part of it: a cell that ran out of time is tried again with more of it under the same name.
    """
    chosen = {
        "backend": backend.name,
        "version": backend.version,
        "settings": settings,
        "threads": conditions.threads,
        "visibility": conditions.visibility,
        "inputs": conditions.inputs,
        "samples": conditions.samples,
        "quick": conditions.quick,
    }
    return canonical.digest("compare-settings/1", canonical.encode(chosen))[:8]


class Machine(Record):
    """The machine that cells were measured on: the content of machine.json."""

    kind: ClassVar[str] = "machine"
    name: Name
    """The folder's name: made of the facts below, or chosen by the user. It holds no host name."""
    processor: str
    """As it names itself."""
    architecture: str
    """As x86_64 or aarch64."""
    processors: Annotated[int, Field(ge=1)]
    """How many this process may use."""
    physical_cores: Count | None = None
    """Cores of the machine, where it tells."""
    processor_features: tuple[str, ...] = ()
    """Instruction sets that provers make use of: avx2, avx512f, adx ..."""
    memory_bytes: Count
    """What the machine has, or its control group may use where that is less."""
    operating_system: str
    """Its name and version."""
    kernel: str
    """The kernel's release."""
    libc: str = ""
    """The C library's version."""
    python: str
    """Implementation and version."""
    balance_core: str
    """The version of balance-core that measured last."""
    memory_method: str
    """How peak memory was read."""
    cpu_method: str
    """How processor time was read."""
