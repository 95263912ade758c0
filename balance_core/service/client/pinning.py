"""Which registration a consumer relies on: what a chain says, under a head that he keeps, and never the provider."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core import registry
from balance_core.builtin.ledger_entry import countersign
from balance_core.contracts import ChainAdapter, HasHead
from balance_core.errors import ConfigError, InvalidProof
from balance_core.files import read_limited
from balance_core.records import Registration
from balance_core.service.client.book import Book, Pin
from balance_core.verification import check_standing, vouch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from balance_core.builtin.ledger_entry import SignedHead
    from balance_core.chain import Voucher
    from balance_core.signing import SigningKey

_MAX_REGISTRATION_BYTES = 2**20


@dataclass(frozen=True)
class Wanted:
    """What the consumer asked for: an id that a chain must vouch for, or a registration that he got elsewhere."""

    registration_id: str | None
    registration: Registration | None = None

    @classmethod
    def of(cls, given: Registration | Path | str | None) -> Wanted:
        """Read a registration, its id, or a file that holds either; None leaves it to the pin, or a first use."""
        if isinstance(given, Registration):
            return cls(given.registration_id, given)
        if given is None:
            return cls(None)
        text = str(given)
        if len(text) == 64 and not set(text) - set("0123456789abcdef"):
            return cls(text)
        content = read_limited(Path(text), max_size=_MAX_REGISTRATION_BYTES, what="registration").strip()
        if len(content) == 64:
            return cls.of(content.decode("ascii", "replace"))
        return cls.of(Registration.from_json(content))


class Pinning:
    """Asks a chain for registrations, keeps what it said under which head, and notices if that was rewritten."""

    def __init__(
        self,
        *,
        chain: str | ChainAdapter | None,
        chain_settings: Mapping[str, Any] | None,
        book: Book,
        key: SigningKey,
    ) -> None:
        self._chain = registry.create("chains", chain, chain_settings) if isinstance(chain, str) else chain
        self._name = chain if isinstance(chain, str) else type(chain).__name__.lower()
        self._book = book
        self._key = key

    def pin(self, address: str, wanted: Wanted, named: str | None) -> Pin:
        """Return what is relied on at an address, and keep it.

        `named` is the id that the provider gives, which counts only where the consumer names none: then it must be on
        the chain, and be the one that was relied on before, or a later version of it by the same provider. Raises
        ConfigError where nothing vouches for it, Rejected and ChainError as the chain does, InvalidProof for another.
        """
        before = self._book.pin(address)
        if before is not None and before.head is not None and isinstance(self._chain, HasHead):
            self._chain.verify(before.head)
        chosen = wanted.registration_id or named
        if chosen is None:
            raise ConfigError(
                "the provider does not say which registration it answers under", hint="give one: --registration ID"
            )
        made = self._made(address, chosen, wanted.registration)
        if wanted.registration_id is None and before is not None:
            self._check_succession(before.registration, made.registration)
        if before is None or before.registration != made.registration or before.head != made.head:
            self._book.keep(made)
        return made

    def _made(self, address: str, registration_id: str, given: Registration | None) -> Pin:
        if self._chain is None:
            if given is None:
                raise ConfigError(
                    "without a chain nothing says what the registration is", hint="give its record, or a chain"
                )
            return Pin(address=address, registration=given)
        registration = self._chain.registration(registration_id)
        if registration.registration_id != registration_id:
            raise InvalidProof(f"the chain answered with the registration {registration.registration_id}")
        voucher = vouch(self._chain, self._name, registration_id)
        check_standing(voucher)
        return Pin(address=address, registration=registration, voucher=voucher, head=self._head(voucher))

    def _head(self, voucher: Voucher) -> SignedHead | None:
        """Countersign the chain's head, which has the registration's entry behind it already."""
        del voucher
        return countersign(self._chain.head(), self._key) if isinstance(self._chain, HasHead) else None

    def _check_succession(self, before: Registration, now: Registration) -> None:
        """Raise InvalidProof unless `now` is what was relied on before, or one of its later versions."""
        step: Registration | None = now
        while step is not None and step.version >= before.version:
            if step == before:
                return
            if step.provider != before.provider or step.name != before.name or step.previous is None:
                break
            step = self._chain.registration(step.previous) if self._chain is not None else None
        raise InvalidProof(
            f"the provider answers under the registration {now.registration_id}, and you relied on "
            f"{before.registration_id}, which it does not follow",
            hint="if you trust the new one, name it: --registration ID",
        )
