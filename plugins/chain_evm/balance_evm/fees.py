"""What a transaction may use and cost: estimated, held against the user's ceilings, and told before it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core.errors import ChainError
from balance_evm.rpc import RpcRefused, quantity

if TYPE_CHECKING:
    from balance_evm.rpc import Rpc
    from balance_evm.settings import EvmSettings

GWEI, ETHER = 10**9, 10**18
MAX_CODE_BYTES = 24_576
"""Largest contract that main networks keep (EIP-170)."""
MAX_CREATION_BYTES = 49_152
"""Largest creation code that they take (EIP-3860)."""
_SPARE_GAS = 10_000
_LEAST_BUMP = 1125
"""In thousandths: nodes take a replacement only for an eighth more, or a tenth."""


@dataclass(frozen=True)
class Fees:
    """What is offered for a unit of gas, in wei (EIP-1559)."""

    max_fee: int
    priority_fee: int

    def bumped(self, current: Fees) -> Fees:
        """Return what replaces a transaction of these fees: enough more for a node to take it."""
        return Fees(
            max(self.max_fee * _LEAST_BUMP // 1000 + 1, current.max_fee),
            max(self.priority_fee * _LEAST_BUMP // 1000 + 1, current.priority_fee),
        )


@dataclass(frozen=True)
class Quote:
    """A transaction's price before it is sent."""

    what: str
    gas: int
    fees: Fees

    @property
    def most(self) -> int:
        """The most that it can cost, in wei."""
        return self.gas * self.fees.max_fee

    def __str__(self) -> str:
        fee = f"{self.fees.max_fee / GWEI:.3g} gwei"
        return f"{self.what}: up to {self.gas:,} gas at {fee}, {self.most / ETHER:.6f} ether"


def current(rpc: Rpc, settings: EvmSettings) -> Fees:
    """Return what gets a transaction into the next blocks; raises ChainError where the ceiling does not allow it."""
    block = rpc.call("eth_getBlockByNumber", "latest", False)
    base = quantity(block.get("baseFeePerGas") or 0) if isinstance(block, dict) else 0
    if settings.priority_fee_gwei is not None:
        priority = int(settings.priority_fee_gwei * GWEI)
    else:
        try:
            priority = quantity(rpc.call("eth_maxPriorityFeePerGas"))
        except RpcRefused:
            priority = GWEI
    ceiling = int(settings.max_fee_gwei * GWEI)
    if base + priority > ceiling:
        raise ChainError(
            f"gas costs {(base + priority) / GWEI:.3g} gwei now, and the ceiling is {settings.max_fee_gwei:g}",
            hint="wait until it is cheaper, or allow more: -o chain.max_fee_gwei=N",
        )
    # Twice the base fee lasts for about six full blocks.
    return Fees(min(2 * base + priority, ceiling), priority)


def with_margin(estimate: int, settings: EvmSettings, what: str) -> int:
    """Return the gas to allow for an estimate; raises ChainError where that is more than a transaction may use."""
    if estimate > settings.max_gas:
        raise ChainError(
            f"{what} takes {estimate:,} gas, and one transaction may use {settings.max_gas:,}",
            hint="main networks allow no more; a circuit with fewer columns and public values takes less",
        )
    return min(estimate + estimate // 8 + _SPARE_GAS, settings.max_gas)


def check_cost(quote: Quote, settings: EvmSettings, *, balance: int, value: int, address: str) -> None:
    """Raise ChainError where a transaction costs more than the ceiling or than the account has."""
    if quote.most > settings.max_cost_ether * ETHER:
        raise ChainError(
            f"{quote}, and the ceiling is {settings.max_cost_ether:g} ether",
            hint="allow more: -o chain.max_cost_ether=N",
        )
    missing = quote.most + value - balance
    if missing > 0:
        raise out_of_funds(address, missing, quote.what)


def out_of_funds(address: str, missing: int, what: str) -> ChainError:
    """Return the error of an account that cannot pay."""
    amount = f"{missing / ETHER:.6f} ether" if missing else "ether"
    return ChainError(
        f"the account {address} is out of funds: {what} needs {amount} more",
        hint=f"send {amount} to {address} and run it again",
    )


def check_code(creation: bytes, runtime: bytes | None, what: str) -> None:
    """Raise ChainError for a contract that main networks do not take, before anything is paid for it."""
    for size, limit, kind in (
        (len(creation), MAX_CREATION_BYTES, "creation code"),
        (len(runtime or b""), MAX_CODE_BYTES, "code"),
    ):
        if size > limit:
            raise ChainError(
                f"the contract {what} has {size:,} bytes of {kind}, and a chain takes {limit:,}",
                hint="its circuit must have fewer columns, or be checked by a contract that circuits share",
            )
