"""Copying content from one store to another; interrupted at any moment, it is simply done again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from balance_core import cid as cids
from balance_core.errors import BalanceError, ConfigError, StorageUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from balance_core.contracts import Storage


class Outcome(StrEnum):
    """What became of one piece of content."""

    COPIED = "copied"
    PRESENT = "present"
    FAILED = "failed"


@dataclass(frozen=True)
class Step:
    """One piece of content, and what became of it."""

    address: str
    outcome: Outcome
    why: str = ""


def mirror(source: Storage, target: Storage, addresses: Iterable[str], *, max_size: int) -> Iterator[Step]:
    """Put into the target what it does not hold yet, one after the other; a failure does not stop the others.

    Raises StorageUnreachable when a store no longer answers at all. `put` is whole or nothing, and the target itself
    says what it holds, so there is no state to keep between two runs.
    """
    for address in addresses:
        try:
            outcome = _copy(source, target, address, max_size=max_size)
        except StorageUnreachable:
            raise
        except BalanceError as error:
            yield Step(address, Outcome.FAILED, error.message)
        else:
            yield Step(address, outcome)


def _copy(source: Storage, target: Storage, address: str, *, max_size: int) -> Outcome:
    cids.check(address)  # content of another layout would get another address in the target
    if target.has(address):
        return Outcome.PRESENT
    with source.open(address, max_size=max_size) as stream:
        stored = target.put(stream)
    if stored != address:
        target.unpin(stored)
        raise ConfigError(
            f"the target would keep it as {stored}: it was cut into other blocks",
            hint="`balance storage get` and `put` it under its new address, or move it as an archive",
        )
    return Outcome.COPIED
