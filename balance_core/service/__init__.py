"""The protocol in service: a provider that answers with receipts and proofs, its clients, audits and validators.

    from balance_core.service import Client, Provider

Names are imported when they are used: the web framework and the database come with the extra `service`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from balance_core.service.provider import Provider
    from balance_core.service.receipts import AnswerReceipt, SignedReceipt

__all__ = [
    "AnswerReceipt",
    "Provider",
    "SignedReceipt",
]

_HOME = {
    "AnswerReceipt": "balance_core.service.receipts",
    "Provider": "balance_core.service.provider",
    "SignedReceipt": "balance_core.service.receipts",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
