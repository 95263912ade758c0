"""The contracts: what a third party implements to bring a format, a proof system, a store or a chain.

A plugin is one class, named by one entry point. It inherits from a contract of this package, says which version of
the contracts it was written for (`api_version = 1`), and, if it has settings, which class describes them. Optional
abilities are small classes of their own (`ImportsSrs`, `ExportsEvmVerifier`), asked for with isinstance. The
conformance kit in `balance_core.testing` tells whether an implementation is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.contracts.chains import (
    ChainAdapter,
    ChecksProofs,
    HasHead,
    OnchainCost,
    Signs,
    SupportsClaims,
    TriesOnchain,
)
from balance_core.contracts.evm import (
    EvmCircuit,
    EvmContract,
    EvmProof,
    EvmTensor,
    ExportsDedicatedEvmVerifier,
    ExportsEvmVerifier,
)
from balance_core.contracts.executor import Executor
from balance_core.contracts.plugin import API_VERSION, Diagnoses, Finding, Plugin
from balance_core.contracts.proving import (
    Converter,
    ImportsSrs,
    Job,
    MakesTestSrs,
    OpensInputs,
    ProofBackend,
    Request,
    Samples,
    StatesInputs,
    Verifier,
)
from balance_core.contracts.storage import ListsContent, Storage

if TYPE_CHECKING:
    from balance_core.contracts.proving import Batch as Batch

__all__ = [
    "API_VERSION",
    "ChainAdapter",
    "ChecksProofs",
    "Converter",
    "Diagnoses",
    "EvmCircuit",
    "EvmContract",
    "EvmProof",
    "EvmTensor",
    "Executor",
    "ExportsDedicatedEvmVerifier",
    "ExportsEvmVerifier",
    "Finding",
    "HasHead",
    "ImportsSrs",
    "Job",
    "ListsContent",
    "MakesTestSrs",
    "OnchainCost",
    "OpensInputs",
    "Plugin",
    "ProofBackend",
    "Request",
    "Samples",
    "Signs",
    "StatesInputs",
    "Storage",
    "SupportsClaims",
    "TriesOnchain",
    "Verifier",
]
