"""The records of a run's stages: what a backend can do, what it expects to need, and what was measured."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from balance_core.records import Cid, Digest, Label, Name, Record

NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]

BESIDE = 10
"""The niceness of stages that fill the gaps that other work leaves, as checking does beside proving."""


class Capabilities(Record):
    """What a backend promises, as data; everything defaults to no, and the conformance kit tries each yes."""

    kind: ClassVar[str] = "capabilities"
    sound: bool = False
    """A proof of something false is infeasible. Backends without it are never ranked or badged as provers."""
    zero_knowledge: bool = False
    """A proof tells nothing beyond its statement."""
    private_input: bool = False
    """A statement can hold a hiding commitment to the input in place of its values."""
    private_weights: bool = False
    """Neither key, commitment nor any number of proofs tell the weights."""
    transparent_setup: bool = False
    """The setup holds no secret that would let its maker forge."""
    post_quantum: bool = False
    """Soundness does not rest on discrete logarithms or pairings."""
    binds_context: bool = False
    """The proof binds the 32 bytes that name the request."""
    batch: bool = False
    """One proof can answer several requests."""
    deterministic: bool = False
    """Two setups of the same model, settings and parameters give the same circuit_id."""
    security_bits: Count = 0
    """Bits of security of the weakest part, under the assumption usually made for it."""
    security_note: str = ""
    """The assumption, and the figure under a more careful one where they differ."""
    proof_system: str = ""
    """In the field's words: `Halo2 (Plonkish, KZG)`, `circle STARK (FRI)` ..."""
    field: str = ""
    """The field, and the curve where there is one, that proofs are computed over."""
    security: dict[str, Count] = {}
    """Bits of soundness under each assumption that somebody might make, by the assumption's words."""
    tool_licence: str = ""
    """The licence of the proof system that a plugin drives, where it is not the plugin's own."""


class NodeProblem(Record):
    """One node that a backend cannot prove: which, why, and what would mend it."""

    kind: ClassVar[str] = "node-problem"
    node: str
    operator: str
    reason: str
    mend: str | None = None


class Estimate(Record):
    """What a backend expects a model to need on this machine; None where it cannot tell."""

    kind: ClassVar[str] = "estimate"
    rows: Count | None = None
    log_rows: Count | None = None
    setup_seconds: NonNegative | None = None
    prove_seconds: NonNegative | None = None
    memory_bytes: Count | None = None
    """Peak of the hungriest stage."""


class Support(Record):
    """A backend's answer to "can you prove this model?"."""

    kind: ClassVar[str] = "support"
    problems: tuple[NodeProblem, ...] = ()
    estimate: Estimate = Estimate()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether `setup` would take the model."""
        return not self.problems


class Progress(Record):
    """How a running stage stands."""

    kind: ClassVar[str] = "progress"
    stage: Name
    elapsed_seconds: NonNegative
    memory_bytes: Count
    message: str = ""
    fraction: Annotated[float, Field(ge=0, le=1)] | None = None


class Measurement(Record):
    """What one stage cost, over its whole process tree."""

    kind: ClassVar[str] = "measurement"
    wall_seconds: NonNegative
    cpu_seconds: NonNegative
    """User and system time of the worker and of all children it waited for."""
    peak_memory_bytes: Count
    """Largest sum, over the polls, of the live processes' resident high-water marks (VmHWM)."""


class Limits(Record):
    """What a stage may use; None leaves it to the machine."""

    kind: ClassVar[str] = "limits"
    seconds: Annotated[float, Field(gt=0)] | None = None
    memory_bytes: Annotated[int, Field(gt=0)] | None = None
    threads: Annotated[int, Field(ge=1)] | None = None


class Task(Record):
    """One stage to run: for which plugin, with which settings, on which content."""

    kind: ClassVar[str] = "task"
    stage: Name
    plugin: Name | None = None
    """The backend or verifier that does the work; None for the core's own stages."""
    settings: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    blobs: dict[Name, Cid] = {}
    limits: Limits = Limits()


class SrsUse(Record):
    """A structured reference string that a stage took from the store."""

    kind: ClassVar[str] = "srs-use"
    curve: Name
    k: Count
    parameters: Digest


class TaskResult(Record):
    """What a stage gave: its value, the content it made, what it cost, and where its log is."""

    kind: ClassVar[str] = "task-result"
    value: Any = None
    blobs: dict[Name, Cid] = {}
    srs: tuple[SrsUse, ...] = ()
    measurement: Measurement
    log: Label | None = None
