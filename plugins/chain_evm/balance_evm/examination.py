"""Whether node, chain, registry and account are ready: each tried, nothing changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.contracts import Finding
from balance_core.errors import BalanceError, ChainError
from balance_evm import fees
from balance_evm.rpc import quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from balance_evm.chain import EvmChain

_PATIENCE_SECONDS = 2.0


def findings(chain: EvmChain) -> Iterator[Finding]:
    """Yield what was found out, in the order in which one thing needs the other; the first failure ends it."""
    rpc = chain.network.rpc
    rpc.patience = min(rpc.patience, _PATIENCE_SECONDS)
    for subject, look in _LOOKS.items():
        try:
            yield Finding(subject, look(chain))
        except BalanceError as error:
            yield Finding(subject, error.message, error.hint or "see the message")
            return


def _node(chain: EvmChain) -> str:
    rpc = chain.network.rpc
    return f"{rpc.name}, block {quantity(rpc.call('eth_blockNumber'))}"


def _chain(chain: EvmChain) -> str:
    return f"number {chain.network.chain_id}, begun as {chain.network.instance.partition('-')[2]}"


def _registry(chain: EvmChain) -> str:
    from balance_evm.artifacts import artifact

    network = chain.network
    if not artifact("BalanceRegistry").matches(network.code(network.registry)):
        raise ChainError(
            f"the contract at {network.registry} is not the registry of this version",
            hint="name another, or deploy one: balance evm deploy --anew",
        )
    return network.registry


def _log(chain: EvmChain) -> str:
    return f"{chain.chronicle().replay.state.length} entries"


def _fees(chain: EvmChain) -> str:
    return f"up to {fees.current(chain.network.rpc, chain.settings).max_fee / fees.GWEI:.3g} gwei for a unit of gas"


def _account(chain: EvmChain) -> str:
    address = chain.writer.account.address
    balance = quantity(chain.network.rpc.call("eth_getBalance", address, "latest"))
    if not balance:
        raise fees.out_of_funds(address, 0, "any transaction")
    return f"{address} has {balance / fees.ETHER:.6f} ether and writes as {chain.chronicle().identity(address)}"


_LOOKS: dict[str, Callable[[EvmChain], str]] = {
    "node": _node,
    "chain": _chain,
    "registry": _registry,
    "log": _log,
    "fees": _fees,
    "account": _account,
}
