"""What having a proof checked by a contract takes: tried on an EVM in this process, and sent nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from balance_core.contracts import OnchainCost
from balance_core.errors import UnsupportedModel
from balance_evm import verifiers
from balance_evm.accounts import read_transaction

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
    sent = _noting(chain)
    chain.submit_checked(record, bundle, key=f"submit/{record.proof_id}/{record.bundle}")

    def gas(steps: tuple[str, ...]) -> int:
        return sum(gas for what, gas in chain.writer.spent if what.startswith(steps))

    return OnchainCost(deploy=gas(_DEPLOYING), circuit=gas(_TELLING), verify=gas(_VERIFYING), calldata=sent[-1])


def _noting(chain: EvmChain) -> list[int]:
    """Have the sizes of the calldata of all transactions that follow noted in a list."""
    rpc, sizes = chain.network.rpc, list[int]()
    call = rpc.call

    def noted(method: str, *params: Any, **options: Any) -> Any:
        if method == "eth_sendRawTransaction":
            found, _ = read_transaction(bytes.fromhex(str(params[0]).removeprefix("0x")))
            sizes.append(len(found["data"].removeprefix("0x")) // 2)
        return call(method, *params, **options)

    rpc.call = noted  # type: ignore[method-assign]  # of this one object, which nobody else has
    return sizes
