"""Which chain and registry, who signs, and how much a transaction may cost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from balance_core.keys import DEFAULT_KEY
from balance_core.settings import Settings

DEV_CHAIN_IDS = frozenset({1337, 31337})
"""Chains of development nodes: one block settles, and test setups harm nobody."""
KEY_VARIABLE = "BALANCE_EVM_KEY"
PASSWORD_VARIABLE = "BALANCE_EVM_PASSWORD"  # noqa: S105 - the name of a variable
_DEV_CONFIRMATIONS, _CONFIRMATIONS = 1, 12


def _address(text: str) -> str:
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise ValueError("an address is 0x and 40 hex digits")
    return text.lower()


Address = Annotated[str, AfterValidator(_address)]


class EvmSettings(Settings):
    """Where the registry is and who writes to it. No setting holds a secret: they name where it is kept."""

    rpc_url: str = Field("http://127.0.0.1:8545", description="the node's JSON-RPC address")
    registry: Address | None = Field(
        None, description="the registry's address; by default the one that was deployed from this data folder"
    )
    chain_id: int | None = Field(
        None,
        ge=1,
        description="the chain's number, refused if the node has another; pinned at the first use otherwise",
    )
    from_block: int | None = Field(
        None, ge=0, description="the block that the registry was deployed in, to read from; found out otherwise"
    )
    key_variable: str = Field(
        KEY_VARIABLE, description="the environment variable with the account's private key, as hex"
    )
    keystore: Path | None = Field(
        None, description="a keystore file (version 3) instead; its password is in a variable"
    )
    password_variable: str = Field(
        PASSWORD_VARIABLE, description="the environment variable with the keystore's password"
    )
    signer_url: str | None = Field(
        None, description="a signer's JSON-RPC address (eth_signTransaction) instead; it keeps the key"
    )
    account: Address | None = Field(None, description="which of the signer's accounts")
    key: str = Field(
        DEFAULT_KEY, description="the name of the signing key that registrations name; the account is bound to it"
    )
    confirmations: int | None = Field(
        None, ge=1, le=10_000, description="blocks after which an entry is final; 12, or 1 on a development chain"
    )
    wait_seconds: float = Field(180.0, gt=0, description="how long to wait until a transaction is mined")
    patience_seconds: float = Field(60.0, ge=0, description="how long to wait for a node that does not answer")
    timeout_seconds: float = Field(20.0, gt=0, description="how long one call may take")
    bump_seconds: float = Field(45.0, gt=0, description="after how long a transaction is sent again for a higher fee")
    max_gas: int = Field(
        16_777_216, ge=21_000, description="most gas of one transaction; main networks allow no more (EIP-7825)"
    )
    max_fee_gwei: float = Field(200.0, gt=0, description="most that is paid for a unit of gas")
    max_cost_ether: float = Field(0.5, gt=0, description="most that one transaction may cost")
    priority_fee_gwei: float | None = Field(
        None, ge=0, description="what the block's maker is paid for a unit of gas; the node's suggestion otherwise"
    )
    validators: tuple[Address, ...] = Field(
        (), description="accounts whose attestations count for models registered from here"
    )
    quorum: int = Field(0, ge=0, description="how many of them must call a proof valid; 0 where there are none")
    verify: bool = Field(True, description="have the contract check proofs of backends that bring a verifier")
    verifier: Literal["shared", "dedicated"] = Field(
        "shared",
        description="which contract checks a model's proofs: one for all circuits of a proof system, or one for this "
        "circuit alone, which is dearer to deploy and cheaper to call",
    )
    dry_run: bool = Field(
        False, description="send nothing: run every call on an in-process EVM and say what it would cost"
    )

    def confirmations_on(self, chain_id: int) -> int:
        """Return after how many blocks an entry is final."""
        if self.confirmations is not None:
            return self.confirmations
        return _DEV_CONFIRMATIONS if chain_id in DEV_CHAIN_IDS else _CONFIRMATIONS
