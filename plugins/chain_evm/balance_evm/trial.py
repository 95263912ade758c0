"""What having a proof checked by a contract takes: tried on an EVM in this process, and sent nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.contracts import OnchainCost
from balance_core.errors import UnsupportedModel
from balance_evm import verifiers

if TYPE_CHECKING:
    from balance_core.bundle import Bundle
    from balance_core.chain import ProofRecord
    from balance_evm.chain import EvmChain

_DEPLOYING = ("deploying the verifier", "deploying the adapter")
_TELLING = ("telling the verifier", "binding the model")
_VERIFYING = ("verifying",)


def cost(chain: EvmChain, record: ProofRecord, bundle: Bundle) -> OnchainCost:
    """Publish a bundle on a chain of a dry run, and return the gas of each step; raises as publishing does."""
    if verifiers.exporter(bundle.proof.backend) is None:
        raise UnsupportedModel(f"no contract checks proofs of {bundle.proof.backend}")
    registration = bundle.registration.registration
    chain.register(registration, key=f"register/{registration.registration_id}")
    chain.submit_checked(record, bundle, key=f"submit/{record.proof_id}/{record.bundle}")
    spent = chain.writer.spent

    def gas(steps: tuple[str, ...]) -> int:
        return sum(one.gas for one in spent if one.what.startswith(steps))

    return OnchainCost(
        deploy=gas(_DEPLOYING), circuit=gas(_TELLING), verify=gas(_VERIFYING), calldata=spent[-1].calldata
    )
