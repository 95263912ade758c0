"""Formats and proof systems: how a model comes in, and how its answers are proven and verified."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from balance_core.contracts.plugin import Plugin
from balance_core.records import Commitment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from onnx import ModelProto

    from balance_core.integer.model import IntegerModel
    from balance_core.model import Model
    from balance_core.records import (
        Circuit,
        HiddenTensor,
        ModelCommitment,
        Opening,
        Proof,
        SetupTrust,
        Statement,
        Tensor,
        VerifyingKey,
    )
    from balance_core.stages import Capabilities, Support

    Batch = Mapping[str, np.ndarray]
    """Named arrays. Axis 0 numbers the samples, the other axes are the model's own shape for that tensor."""


class Converter(Plugin):
    """Turns a file of another format into a model (entry points: balance.converters)."""

    suffixes: ClassVar[frozenset[str]]
    """File endings that it takes, with the dot, in lower case."""

    @abstractmethod
    def convert(self, source: Path) -> ModelProto | IntegerModel:
        """Read the file, as an integer model where the format already is integers.

        Raises ConfigError for a file not of this format, UnsupportedModel for what the converter cannot take.
        """


@dataclass(frozen=True)
class Samples:
    """Inputs that show how a model is used, with the float model's own answers."""

    inputs: Batch
    outputs: Batch


@dataclass(frozen=True)
class Request:
    """One question: named arrays of exactly the model's input shapes, and the 32 bytes that name the request."""

    inputs: Mapping[str, np.ndarray]
    context: bytes
    blind: bytes | None = None
    """32 secret random bytes, of this request alone, that hide private inputs; None: nobody need ever open them."""


class Job(ABC):
    """What a stage is given to work with. It writes to its scratch folder and nowhere else."""

    scratch: Path
    """An empty folder of its own, removed afterwards."""
    threads: int
    memory_bytes: int | None
    """The limit at which it would be stopped."""

    @abstractmethod
    def path(self, cid: str) -> Path:
        """Return a local file with this content, to be read only; raises BlobNotFound."""

    @abstractmethod
    def publish(self, source: Path) -> str:
        """Hand a file of the scratch folder over to later stages and return its CID; the file is gone from there."""

    @abstractmethod
    def srs(self, curve: str, k: int, make: Callable[[Path], None], *, parameters: str | None = None) -> Path:
        """Return a structured reference string of 2^k powers: the most trusted one in the store.

        With `parameters` it is the one with that digest, or BlobNotFound. Otherwise, where the store has none, `make`
        writes one to the path it is given, which is kept as insecure-test.
        """

    @abstractmethod
    def progress(self, message: str, fraction: float | None = None) -> None:
        """Say what is being done and how much of it (0 to 1) is done; raises StageError once cancelled."""


class Verifier(Plugin):
    """Checks proofs from bytes alone, in any process, without the prover (entry points: balance.verifiers)."""

    sound: ClassVar[bool] = False
    """Whether what it accepts is proven, as its backend's `sound` says; it is shown with every verification."""

    @abstractmethod
    def verify(self, key: VerifyingKey, commitment: ModelCommitment | None, proof: Proof) -> tuple[Statement, ...]:
        """Return what the proof says, decoded from what it authenticates; raises InvalidProof with the reason.

        A proof has one encoding: further bytes, before or behind, are refused. So are a commitment where the key
        binds the weights, its absence where the commitment does, and one that does not show that it was made for the
        provider whom it names: the core compares that provider with the registration's. A backend that does not bind
        the context states 32 zero bytes.
        """

    @abstractmethod
    def setup_trust(self, key: VerifyingKey) -> SetupTrust:
        """Say where the key's parameters come from, judged by the key alone; raises InvalidProof for a broken key."""


class OpensInputs(ABC):
    """A verifier whose statements can hide inputs: whoever knows them can show that a statement is of these."""

    @abstractmethod
    def stated(self, key: VerifyingKey, inputs: Mapping[str, np.ndarray]) -> tuple[Tensor, ...]:
        """Return inputs of the model's shapes as a statement holds public ones; raises ConfigError for others."""

    @abstractmethod
    def hidden(
        self, key: VerifyingKey, context: bytes, inputs: Sequence[Tensor], blind: bytes
    ) -> tuple[HiddenTensor, ...]:
        """Return what a statement under this key and context holds in place of these inputs, in their order.

        Raises InvalidProof for a key whose inputs are public, and for inputs that are not of its form.
        """


class ProofBackend(Plugin):
    """A proof system's proving side (entry points: balance.backends); its verifier has the same name."""

    capabilities: ClassVar[Capabilities]
    """What it can promise, under settings that suit."""
    version: ClassVar[str]
    """The version of plugin and proof system together; another one makes other circuits."""
    answers_in_process: ClassVar[bool] = False
    """Whether `execute` runs no native code that may crash, print or hold the interpreter: a service may call it in
    its own process."""

    @property
    def promises(self) -> Capabilities:
        """What it promises under its own settings; by default all that it can."""
        return self.capabilities

    @abstractmethod
    def check(self, model: Model) -> Support:
        """Say, cheaply and without side effects, which nodes cannot be proven and what the rest costs."""

    @abstractmethod
    def setup(self, model: Model, samples: Samples | None, job: Job) -> Circuit:
        """Make the circuit and its keys; raises UnsupportedModel exactly where `check` names problems.

        `Circuit.settings` make the same circuit again by themselves: when a registration is reproduced there are no
        samples, and the settings are those of its circuit. Raises ConfigError where samples are needed and missing.
        """

    def commit(self, circuit: Circuit, model: Model, provider: str, job: Job) -> Commitment:
        """Commit to the weights; by default the verifying key binds them and there is nothing to commit to.

        The commitment is to show that it was made for this provider (an Ed25519 public key, as hex), and for this
        circuit, so that nobody else can register a copy of it.
        """
        del circuit, model, provider, job
        return Commitment()

    @abstractmethod
    def execute(self, circuit: Circuit, opening: Opening, inputs: Batch, job: Job) -> Sequence[tuple[Tensor, ...]]:
        """Answer each sample with the outputs that a proof would state, bit for bit."""

    @abstractmethod
    def prove(self, circuit: Circuit, opening: Opening, requests: Sequence[Request], job: Job) -> Proof:
        """Prove the answers to the requests (to exactly one, unless the `batch` capability says otherwise)."""


class StatesInputs(ABC):
    """A backend whose statements hold inputs that follow from the request alone: they are known before the proof."""

    @abstractmethod
    def stated(self, circuit: Circuit, opening: Opening, inputs: Batch, job: Job) -> Sequence[tuple[Tensor, ...]]:
        """Return each sample's inputs as a proof would state them, bit for bit."""


class MakesTestSrs(ABC):
    """A backend that can make structured reference strings for tests, whose secret nobody promises to have erased."""

    @abstractmethod
    def make_test_srs(self, curve: str, k: int, target: Path) -> None:
        """Write one of 2^k powers, in the raw format that docs/srs.md describes."""


class ImportsSrs(ABC):
    """A backend that reads a ceremony's reference strings, and checks that all points of a string belong together."""

    @abstractmethod
    def import_srs(self, source: Path, target: Path, k: int | None = None) -> str | None:
        """Write a string in the raw format that docs/srs.md describes, and return the name that it was published by.

        `source` is a powers-of-tau file (`.ptau`) or has the raw format. Of its powers the first 2^k are taken, all
        by default. Raises ConfigError unless every point is one of the curve, and all are consecutive powers with
        their own Lagrange basis. The name is None unless the source's digest is one that its publisher gives.
        """
