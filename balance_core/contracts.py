"""The contracts: what a third party implements to bring a format, a proof system, a store or a chain.

A plugin is one class, named by one entry point. It inherits from a contract below, says which version of the
contracts it was written for (`api_version = 1`), and, if it has settings, which class describes them. Optional
abilities are small classes of their own (`ImportsSrs`, `ExportsEvmVerifier`), asked for with isinstance. The
conformance kit in `balance_core.testing` tells whether an implementation is right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from balance_core.records import Commitment
from balance_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    import numpy as np
    from onnx import ModelProto

    from balance_core.builtin.ledger_entry import LedgerHead, LedgerReport, SignedHead
    from balance_core.bundle import Bundle
    from balance_core.chain import (
        Answer,
        Attestation,
        ChainEvent,
        ChainRef,
        Challenge,
        Claim,
        Finality,
        ProofRecord,
        Revocation,
        Settlement,
        Withdrawal,
    )
    from balance_core.claim_state import ClaimState
    from balance_core.integer.model import IntegerModel
    from balance_core.model import Model
    from balance_core.records import (
        Circuit,
        HiddenTensor,
        ModelCommitment,
        Opening,
        Proof,
        Registration,
        SetupTrust,
        Statement,
        Tensor,
        VerifyingKey,
    )
    from balance_core.stages import Capabilities, Progress, Support, Task, TaskResult

    Batch = Mapping[str, np.ndarray]
    """Named arrays. Axis 0 numbers the samples, the other axes are the model's own shape for that tensor."""

API_VERSION = 1
"""The version of the contracts on this page. It changes when an implementation would have to."""


class Plugin(ABC):
    """What all plugins share; an instance is made with its validated settings and holds no other state."""

    api_version: ClassVar[int]
    """The version of the contracts that the plugin was written for; every plugin writes the number down itself."""
    settings_class: ClassVar[type[Settings]] = Settings
    needs_network: ClassVar[bool] = False
    """Whether its methods talk to anything outside this machine's files."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings if settings is not None else self.settings_class()

    @classmethod
    def warm_up(cls, stage: str) -> None:
        """Import what a stage will need, in a worker that still waits for its task; by default nothing."""
        del stage


@dataclass(frozen=True)
class Finding:
    """One thing that a plugin found out about what it depends on; a hint says that it is wrong, and what mends it."""

    subject: str
    found: str
    hint: str | None = None


class Diagnoses(ABC):
    """A plugin that can try what it depends on: a server, a program, a device."""

    @abstractmethod
    def diagnose(self) -> Iterable[Finding]:
        """Try everything, change nothing, and report failures as findings; raises nothing for them."""


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


@dataclass(frozen=True)
class EvmContract:
    """A verifying contract as its Solidity source, the same for every circuit of one version of a proof system."""

    name: str
    """The contract's name in the source."""
    interface: str
    """How it is called, by the name of the chain's contract that does: `ezkl-reusable` is one that chain_evm has."""
    version: str
    """Which proof system, and which version of it, the contract checks proofs of."""
    source: str
    """One file that imports nothing; whoever deploys it compiles it, so that deployed code can be traced to text."""


@dataclass(frozen=True)
class EvmTensor:
    """How a tensor of the statement is read from public values, one for each element, in order."""

    form: Tensor
    """Name, shape and scale as the statement has them; the integers stand for nothing."""
    low: int
    """The smallest and the largest integer that a statement may hold; a negative one stands as its residue."""
    high: int


@dataclass(frozen=True)
class EvmCircuit:
    """What the contract has to be told of one circuit; all of it follows from the verifying key alone.

    The public values are the context as 16 limbs of 16 bits, the first two bytes first, then the inputs, then the
    outputs. What the circuit does not check of them, the chain has to: else a proof on the chain would say less than
    the same proof checked by the backend's `Verifier`.
    """

    words: bytes
    """The circuit's verifying key as the contract reads it, in words of 32 bytes; keccak-256 over them names it."""
    proof_bytes: int
    """The exact length of every proof: a contract that leaves this open takes the same proof in many encodings."""
    inputs: tuple[EvmTensor, ...]
    outputs: tuple[EvmTensor, ...]
    modulus: int
    """The field's order; a public value is below it."""


@dataclass(frozen=True)
class EvmProof:
    """A proof as the contract takes it, decoded; the caller encodes it, so that there is one encoding."""

    proof: bytes
    public_values: tuple[int, ...]


class ExportsEvmVerifier(ABC):
    """A backend whose proofs a contract can check; no chain adapter needs to know which backend it is.

    It exports parts, and neither bytecode for each circuit nor ready calldata. One contract serves all circuits of a
    version, since a circuit is data to it: it is deployed once for each chain, and a circuit costs one registration.
    Such a contract lets anybody register any circuit, so what a registry keeps is the digest of `EvmCircuit.words`,
    and it compares that with what the contract says it checked. Calldata is encoded by the chain's own contract:
    generated verifiers read at fixed places, and what lies elsewhere in a crafted encoding is not checked.
    """

    @abstractmethod
    def evm_contract(self, key: VerifyingKey) -> EvmContract:
        """Return the contract that checks proofs of this backend's version; any key of it will do."""

    @abstractmethod
    def evm_circuit(self, key: VerifyingKey) -> EvmCircuit:
        """Return what the contract is told of a circuit; raises UnsupportedModel where it does not fit a contract."""

    @abstractmethod
    def evm_proof(self, key: VerifyingKey, proof: Proof) -> EvmProof:
        """Return a proof's parts, without verifying it; raises InvalidProof for what is no proof of this circuit."""


class ExportsDedicatedEvmVerifier(ExportsEvmVerifier):
    """One that can also generate a contract for a single circuit: dearer to deploy, cheaper to call."""

    @abstractmethod
    def evm_dedicated(self, key: VerifyingKey) -> EvmContract:
        """Return the contract that checks proofs of this circuit, and is told nothing of it."""


class Storage(Plugin):
    """Keeps blobs by content address (entry points: balance.storage); CIDs are those of `balance_core.cid`."""

    @abstractmethod
    def put(self, source: BinaryIO) -> str:
        """Store and pin a stream's content and return its CID; a blob is there whole or not at all."""

    @abstractmethod
    def open(self, cid: str, *, max_size: int) -> BinaryIO:
        """Return the content as a stream that never yields a byte that was not checked against the CID.

        Raises BlobNotFound, ContentMismatch, or ContentTooLarge for content of more than `max_size` bytes, at once or
        while reading.
        """

    @abstractmethod
    def has(self, cid: str) -> bool:
        """Say whether the store holds the content."""

    @abstractmethod
    def pin(self, cid: str) -> None:
        """Keep the content until it is unpinned; raises BlobNotFound."""

    @abstractmethod
    def unpin(self, cid: str) -> None:
        """Allow the store to forget the content; raises BlobNotFound."""


class ListsContent(ABC):
    """A store that can say what it keeps."""

    @abstractmethod
    def pinned(self) -> Iterable[str]:
        """Return the addresses of all pinned content, once each."""


class ChainAdapter(Plugin):
    """Orders registrations, proofs and verdicts (entry points: balance.chains) as `balance_core.chain` specifies.

    Writing calls take an idempotency key: a second call with the same key and record gives the first one's reference;
    with another record it is Rejected.
    """

    local: ClassVar[bool] = False
    """Whether only this machine's user relies on it, so that a test setup may be registered without being asked."""

    @abstractmethod
    def register(self, registration: Registration, *, key: str) -> ChainRef:
        """Publish a registration, or the next version of one."""

    @abstractmethod
    def registration(self, registration_id: str) -> Registration:
        """Return a registration in force, or superseded; raises Rejected for any other, saying how it stands."""

    @abstractmethod
    def revoke(self, revocation: Revocation, *, key: str) -> ChainRef:
        """Withdraw a registration; only its provider can."""

    @abstractmethod
    def submit(self, record: ProofRecord, *, key: str, inline: bytes | None = None) -> ChainRef:
        """Publish a proof of an active registration, with its bytes inline where asked and the chain can."""

    @abstractmethod
    def attest(self, attestation: Attestation, *, key: str) -> ChainRef:
        """Publish a validator's word on a submitted proof, once for each validator."""

    @abstractmethod
    def status(self, ref: ChainRef) -> Finality:
        """Say how settled an entry is."""

    @abstractmethod
    def events(self, since: str | None = None) -> Iterator[ChainEvent]:
        """Yield all entries behind a cursor (None: from the first), in order, and end at the newest."""


class Signs(ABC):
    """A chain that says whose records it writes."""

    @abstractmethod
    def signer(self) -> str:
        """Return the public key by which records name whoever this instance signs as; raises ConfigError for none."""


class HasHead(ABC):
    """A chain that its owner alone holds and could rewrite: whoever relies on it keeps its head, and finds that."""

    @abstractmethod
    def head(self) -> LedgerHead:
        """Return the head to keep, and to countersign."""

    @abstractmethod
    def verify(self, head: LedgerHead | SignedHead | None = None) -> LedgerReport:
        """Check every entry, and that what was kept still stands; raises ChainError that names what is wrong."""


class ChecksProofs(ABC):
    """A chain whose contracts check proofs themselves; it is handed the whole bundle, not only the record of it."""

    @abstractmethod
    def submit_checked(self, record: ProofRecord, bundle: Bundle, *, key: str) -> ChainRef:
        """Publish a proof and have it checked; raises InvalidProof where the contract refuses it.

        Where no contract knows the bundle's proof system it is published as `submit` does, and stays `submitted`.
        """

    @abstractmethod
    def examine(self, record: ProofRecord, bundle: Bundle) -> bool:
        """Say whether what checked this proof is known here: a contract for the bundle's proof system, with its key.

        Raises InvalidProof where it is another one. False where nothing here exports contracts to compare with.
        Whoever registers a model on a chain names the contract that checks its proofs, and could name one that always
        says yes.
        """


@dataclass(frozen=True)
class OnchainCost:
    """What having a contract check a proof takes, in gas; `calldata` in bytes."""

    deploy: int
    """The contracts that verify, once for each chain."""
    circuit: int
    """Telling them of a circuit, once for each registration."""
    verify: int
    """One proof."""
    calldata: int


class TriesOnchain(ABC):
    """A chain that can try what publishing would cost, on a chain of its own in this process."""

    @classmethod
    @abstractmethod
    def onchain_cost(cls, record: ProofRecord, bundle: Bundle) -> OnchainCost:
        """Return what having this proof checked takes; nothing is sent anywhere.

        Raises UnsupportedModel where no contract of this chain checks such proofs, InvalidProof where it says no.
        """


class SupportsClaims(ABC):
    """A chain that holds claims: answers with a bond and no proof, until somebody demands it.

    docs/chain-states.md has the rules. Writing calls take an idempotency key as a chain's others do. On a chain with
    money, `claim` and `challenge` pay the bonds that the claim names.
    """

    @abstractmethod
    def claim(self, claim: Claim, *, key: str) -> ChainRef:
        """Open a claim on an answer under an active registration; only its provider can."""

    @abstractmethod
    def challenge(self, challenge: Challenge, *, key: str) -> ChainRef:
        """Demand the proof of a claim; raises Rejected when the time for it has passed."""

    @abstractmethod
    def answer(self, answer: Answer, *, key: str) -> ChainRef:
        """Close a challenged claim whose statement has been proven on this chain, in time.

        A chain that checks proofs closes the claim with the proof; it gives the reference of that entry then.
        """

    @abstractmethod
    def settle(self, settlement: Settlement, *, key: str) -> ChainRef:
        """Close a claim whose deadline has passed: final, or lost to its challenger; raises Rejected before that."""

    @abstractmethod
    def withdraw(self, withdrawal: Withdrawal, *, key: str) -> ChainRef:
        """Take what the account is owed; raises Rejected for more than that."""

    @abstractmethod
    def claimed(self, proof_id: str) -> ClaimState:
        """Return a claim and how it stands; raises Rejected for an unknown one."""

    @abstractmethod
    def owed(self, account: str) -> int:
        """Return what an account can withdraw, in the chain's smallest unit."""

    @abstractmethod
    def withdrawals(self, account: str) -> int:
        """Return how many times an account has withdrawn; the next withdrawal has the number that follows."""


class Executor(Plugin):
    """Runs stages (entry points: balance.executors); `local` runs them on this machine."""

    def prepare(self, stage: str, plugin: str | None) -> None:
        """Take a hint that this stage comes soon; an executor may make a process ready for it."""
        del stage, plugin

    @abstractmethod
    def submit(self, task: Task, *, watch: Callable[[Progress], None] | None = None) -> Future[TaskResult]:
        """Start a stage; the future raises the stage's own typed error, and `cancel` stops its process tree."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything that still runs and wait until it has ended."""
