"""Putting a registry on a chain, and remembering where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.errors import ChainError
from balance_evm import verifiers
from balance_evm.rpc import quantity

if TYPE_CHECKING:
    from balance_evm.chain import EvmChain


def deploy_registry(chain: EvmChain, *, anew: bool = False) -> str:
    """Return the address of the registry that this data folder has on the chain; it is deployed if there is none."""
    from balance_evm.artifacts import artifact

    place = chain.network.deployments
    with place.deploying():
        known = place.read()
        if known.registry is not None and not anew and chain.network.code(known.registry):
            return known.registry
        before = quantity(chain.network.rpc.call("eth_blockNumber"))
        compiled = artifact("BalanceRegistry")
        address = verifiers.create(chain, "the registry", compiled.bytecode)
        if not compiled.matches(chain.network.code(address)):
            raise ChainError(f"the contract at {address} is not the registry that was deployed")
        place.write(known.model_copy(update={"registry": address, "from_block": before}))
        return address
