"""A mock whose proofs a contract checks, on a mock chain that says what that takes."""

from __future__ import annotations

from compare_mock import MockBackend

from balance_core.builtin.ledger import Ledger
from balance_core.contracts import ExportsEvmVerifier, OnchainCost, TriesOnchain
from balance_core.errors import UnsupportedModel


class Exporting(MockBackend, ExportsEvmVerifier):
    name = "exporting"

    def evm_contract(self, key):
        raise NotImplementedError

    def evm_circuit(self, key):
        raise NotImplementedError

    def evm_proof(self, key, proof):
        raise NotImplementedError


class TooLarge(Exporting):
    name = "toolarge"


class PricedLedger(Ledger, TriesOnchain):
    api_version = 1

    @classmethod
    def onchain_cost(cls, record, bundle):
        assert record.registration_id == bundle.registration_id
        if bundle.proof.backend == "toolarge":
            raise UnsupportedModel("its verifier does not fit a contract")
        return OnchainCost(deploy=3, circuit=2, verify=1, calldata=len(bundle.proof.data))
