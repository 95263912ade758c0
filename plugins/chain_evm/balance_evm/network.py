"""One chain as it was found at the node: its number, its beginning, and the registry on it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balance_core.errors import ChainError, ConfigError
from balance_core.files import read_limited, write_whole
from balance_core.workspace import Workspace
from balance_evm.deployments import DeploymentFile
from balance_evm.mirror import Mirror
from balance_evm.rpc import Rpc, RpcRefused, quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_evm.abi import Interface
    from balance_evm.settings import EvmSettings

_INSTANCE_DIGITS = 16
_MAX_PIN_BYTES = 32
_SCANNED = 100_000
"""A chain of so few blocks is read from its first one; otherwise the registry's first block is looked for."""


class Network:
    """Where the settings lead. The first call asks the node; another chain than the pinned one is refused."""

    def __init__(self, settings: EvmSettings) -> None:
        self.settings = settings
        self.deploy: Callable[[], str] | None = None
        """What puts a registry on a chain that begins without one, as that of a dry run does."""

    @cached_property
    def rpc(self) -> Rpc:
        """The node, or a chain in this process."""
        if self.settings.dry_run:
            from balance_evm.dryrun import DryRun

            return DryRun()
        settings = self.settings
        return Rpc(settings.rpc_url, timeout=settings.timeout_seconds, patience=settings.patience_seconds)

    @cached_property
    def folder(self) -> Path:
        """Where journals, copies of logs and deployments are kept: in the data folder, or for a dry run nowhere."""
        if self.settings.dry_run:
            folder = Path(tempfile.mkdtemp(prefix="balance-evm-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            return folder
        return Workspace.default().root / "evm"

    @cached_property
    def chain_id(self) -> int:
        """The chain's number; raises ConfigError for another than was asked for."""
        found = quantity(self.rpc.call("eth_chainId"))
        if self.settings.dry_run:
            return found
        pin = self.folder / "nodes" / f"{hashlib.sha256(self.settings.rpc_url.encode()).hexdigest()[:32]}.chain"
        wanted = self.settings.chain_id
        if wanted is None and pin.exists():
            wanted = int(read_limited(pin, max_size=_MAX_PIN_BYTES, what="pinned chain"))
        if wanted is None:
            write_whole(pin, str(found).encode())
        elif found != wanted:
            raise ConfigError(
                f"the node {self.rpc.name} is on chain {found}, and not on {wanted}",
                hint=f"give a node of chain {wanted}: -o chain.rpc_url=URL; or -o chain.chain_id={found}",
            )
        return found

    @cached_property
    def instance(self) -> str:
        """The chain's number with the beginning of its first block's hash: two trial chains may share a number."""
        first = self.rpc.call("eth_getBlockByNumber", "0x0", False)
        if not isinstance(first, dict):
            raise ChainError("the node does not have the chain's first block")
        return f"{self.chain_id}-{str(first['hash']).removeprefix('0x')[:_INSTANCE_DIGITS]}"

    @cached_property
    def deployments(self) -> DeploymentFile:
        """What was deployed on this chain from this data folder."""
        return DeploymentFile(self.folder, self.instance)

    @cached_property
    def registry(self) -> str:
        """The registry's address; raises ConfigError where there is none, or no contract stands there."""
        if self.settings.dry_run and self.deploy is not None:
            return self.deploy()
        found = self.settings.registry or self.deployments.read().registry
        if found is None:
            raise ConfigError(
                f"no registry is known on chain {self.chain_id}",
                hint="deploy one with `balance evm deploy`, or name it: -o chain.registry=0x...",
            )
        if not self.code(found):
            raise ConfigError(
                f"there is no contract at {found} on chain {self.chain_id}",
                hint="check the address and the node: -o chain.registry=0x... -o chain.rpc_url=URL",
            )
        return found

    @cached_property
    def from_block(self) -> int:
        """The first block that may hold an event of the registry."""
        if self.settings.from_block is not None:
            return self.settings.from_block
        known = self.deployments.read()
        if known.registry == self.registry:
            return known.from_block
        newest = quantity(self.rpc.call("eth_blockNumber"))
        return 0 if newest < _SCANNED else self._first_block(newest)

    def _first_block(self, newest: int) -> int:
        """Find the block that the registry was made in, by halving."""
        low, high = 0, newest
        try:
            while low < high:
                middle = (low + high) // 2
                if self.code(self.registry, hex(middle)):
                    high = middle
                else:
                    low = middle + 1
        except RpcRefused as error:
            raise ConfigError(
                "the node does not know since when the registry is there: it keeps no old states",
                hint="say which block it was deployed in: -o chain.from_block=N",
            ) from error
        return low

    def code(self, address: str, block: str = "latest") -> bytes:
        """Return a contract's code."""
        return _hex(self.rpc.call("eth_getCode", address, block))

    def view(
        self,
        address: str,
        interface: Interface,
        name: str,
        *values: Any,
        gas: int | None = None,
        block: str | None = None,
    ) -> Any:
        """Return what a contract answers, now or as of a block's hash; raises RpcRefused with the revert's data."""
        call = {"to": address, "data": "0x" + interface.call(name, *values).hex()}
        if gas is not None:
            call["gas"] = hex(gas)
        at = "latest" if block is None else {"blockHash": block}  # EIP-1898
        return interface.result(name, _hex(self.rpc.call("eth_call", call, at)))

    def mirror(self) -> Mirror:
        """Return the copy of the registry's log."""
        path = self.folder / f"{self.instance}-{self.registry}.log.db"
        return Mirror(self.rpc, path, self.registry, self.from_block)

    def journal_path(self, address: str) -> Path:
        """Return where an account's transactions are kept."""
        return self.folder / f"{self.instance}-{address}.journal.db"


def _hex(value: Any) -> bytes:
    try:
        return bytes.fromhex(str(value).removeprefix("0x"))
    except ValueError:
        raise ChainError("the node answered with something that is no hex") from None
