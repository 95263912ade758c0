"""Who signs transactions: a key from the environment or a keystore file, or a signer that keeps it to itself."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn

from balance_core.errors import ChainError, ConfigError
from balance_core.files import read_limited
from balance_evm.rpc import Rpc

if TYPE_CHECKING:
    from pathlib import Path

    from eth_account.signers.local import LocalAccount

    from balance_evm.settings import EvmSettings

_MAX_KEYSTORE_BYTES = 64 * 1024
_FIELDS = ("chainId", "nonce", "to", "value", "data", "gas", "maxFeePerGas", "maxPriorityFeePerGas")


class Account(ABC):
    """An account that signs; nothing that it shows or raises holds a secret."""

    address: str
    """20 bytes as 0x and lower-case hex."""

    @abstractmethod
    def sign(self, transaction: dict[str, Any]) -> bytes:
        """Return the signed transaction (type 2, EIP-1559) as it is sent."""

    @abstractmethod
    def sign_typed(self, message: dict[str, Any]) -> bytes:
        """Return the 65 bytes of a signature over EIP-712 typed data."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an account is not pickled: open it where it is needed")


class KeyAccount(Account):
    """An account whose key is in this process."""

    def __init__(self, account: LocalAccount) -> None:
        self._account = account
        self.address = account.address.lower()

    def sign(self, transaction: dict[str, Any]) -> bytes:
        """Sign with the key."""
        # As bytes: the library takes an address in text only with the capitals of its checksum.
        to = {"to": bytes.fromhex(transaction["to"][2:])} if "to" in transaction else {}
        return bytes(self._account.sign_transaction({**transaction, **to, "type": 2}).raw_transaction)

    def sign_typed(self, message: dict[str, Any]) -> bytes:
        """Sign with the key."""
        return bytes(self._account.sign_typed_data(full_message=message).signature)


class RemoteAccount(Account):
    """An account whose key a signer keeps (Clef, Web3Signer and others that speak JSON-RPC)."""

    def __init__(self, signer: Rpc, address: str) -> None:
        self._signer = signer
        self.address = address

    def sign(self, transaction: dict[str, Any]) -> bytes:
        """Ask the signer; raises ChainError unless it signed exactly what it was asked to, with this account."""
        asked = {name: value if isinstance(value, str) else hex(value) for name, value in transaction.items()}
        answer = self._signer.call("eth_signTransaction", {**asked, "type": "0x2", "from": self.address})
        raw = answer.get("raw") if isinstance(answer, dict) else answer
        try:
            data = bytes.fromhex(str(raw).removeprefix("0x"))
            signed, sender = read_transaction(data)
        except Exception as error:
            raise ChainError("the signer answered with something that is no signed transaction") from error
        wanted = {name: transaction.get(name) for name in _FIELDS}
        if sender != self.address or signed != wanted:
            raise ChainError("the signer signed another transaction than it was asked to", hint="do not use it")
        return data

    def sign_typed(self, message: dict[str, Any]) -> bytes:
        """Ask the signer; the caller checks whom the signature is by."""
        answer = self._signer.call("eth_signTypedData_v4", self.address, message)
        try:
            return bytes.fromhex(str(answer).removeprefix("0x"))
        except ValueError:
            raise ChainError("the signer answered with something that is no signature") from None


def read_transaction(data: bytes) -> tuple[dict[str, Any], str]:
    """Return what a signed transaction of type 2 says, and who signed it."""
    from eth_account import Account as Library
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from hexbytes import HexBytes

    found = TypedTransaction.from_bytes(HexBytes(data)).as_dict()
    sender = Library.recover_transaction(data)
    to = found["to"]
    signed = {name: found[name] for name in _FIELDS}
    signed["to"] = "0x" + bytes(to).hex() if to else None
    signed["data"] = "0x" + bytes(found["data"]).hex()
    return signed, str(sender).lower()


def open_account(settings: EvmSettings) -> Account:
    """Return the account that the settings name; raises ConfigError that says what to set, and nothing of a key."""
    if settings.signer_url is not None:
        return _remote(settings)
    if settings.keystore is not None:
        return _stored(settings.keystore, settings.password_variable)
    return _from_environment(settings.key_variable)


def throwaway() -> Account:
    """Return an account that nobody has used, for a chain that ends with this process."""
    from eth_account import Account as Library

    return KeyAccount(Library.create())


def _remote(settings: EvmSettings) -> Account:
    signer = Rpc(str(settings.signer_url), timeout=settings.timeout_seconds, patience=0)
    if settings.account is not None:
        return RemoteAccount(signer, settings.account)
    known = signer.call("eth_accounts")
    if not isinstance(known, list) or len(known) != 1:
        count = len(known) if isinstance(known, list) else 0
        raise ConfigError(f"the signer has {count} accounts", hint="name one: -o chain.account=0x...")
    return RemoteAccount(signer, str(known[0]).lower())


def _from_environment(variable: str) -> Account:
    text = os.environ.get(variable, "").strip()
    if not text:
        raise ConfigError(
            f"there is no key to sign with: the variable {variable} is not set",
            hint=f"export {variable}=0x..., or give a keystore: -o chain.keystore=FILE",
        )
    return KeyAccount(_local(text, f"the variable {variable} holds no private key of 64 hex digits"))


def _stored(path: Path, variable: str) -> Account:
    import json

    from eth_account import Account as Library

    try:
        stored = json.loads(read_limited(path, max_size=_MAX_KEYSTORE_BYTES, what="keystore"))
    except ValueError:
        raise ConfigError(f"{str(path)!r} is not a keystore file") from None
    password = os.environ.get(variable)
    if password is None:
        raise ConfigError(f"the keystore's password is missing: the variable {variable} is not set")
    try:
        secret = Library.decrypt(stored, password)
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes the library raise
        reason = "the password is wrong" if "MAC mismatch" in str(error) else "it is not of version 3"
        raise ConfigError(f"the keystore {str(path)!r} cannot be opened: {reason}") from None
    return KeyAccount(_local(bytes(secret).hex(), "the keystore holds no private key"))


def _local(text: str, otherwise: str) -> LocalAccount:
    from eth_account import Account as Library

    digits = text.removeprefix("0x")
    refusal = ConfigError(otherwise)
    if len(digits) != 64:
        raise refusal
    try:
        account: LocalAccount = Library.from_key(bytes.fromhex(digits))
    except Exception:  # noqa: BLE001 - and its text may repeat the key
        raise refusal from None
    return account
