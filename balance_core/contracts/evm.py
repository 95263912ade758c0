"""How a proof system has its proofs checked by a contract on an EVM chain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from balance_core.records import Proof, Tensor, VerifyingKey


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
