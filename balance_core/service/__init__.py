"""The protocol in service: a provider that answers with receipts and proofs, its clients, audits and validators.

    from balance_core.service import Client, Provider

Names are imported when they are used: the web framework and the database come with the extra `service`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from balance_core.errors import ToolNotFound

if TYPE_CHECKING:
    from balance_core.service.audit.conduct import AuditTerms
    from balance_core.service.audit.file import AuditFile
    from balance_core.service.client.clients import AsyncClient, Client
    from balance_core.service.provider import Provider
    from balance_core.service.receipts import AnswerReceipt, SignedReceipt
    from balance_core.service.serving import listening
    from balance_core.service.settings import ServiceLimits, ServiceSettings
    from balance_core.service.validator import Validator

__all__ = [
    "AnswerReceipt",
    "AsyncClient",
    "AuditFile",
    "AuditTerms",
    "Client",
    "Provider",
    "ServiceLimits",
    "ServiceSettings",
    "SignedReceipt",
    "Validator",
    "listening",
]

_HOMES = {
    "balance_core.service.audit.conduct": ("AuditTerms",),
    "balance_core.service.audit.file": ("AuditFile",),
    "balance_core.service.client.clients": ("AsyncClient", "Client"),
    "balance_core.service.provider": ("Provider",),
    "balance_core.service.receipts": ("AnswerReceipt", "SignedReceipt"),
    "balance_core.service.serving": ("listening",),
    "balance_core.service.settings": ("ServiceLimits", "ServiceSettings"),
    "balance_core.service.validator": ("Validator",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_OF_THE_EXTRA = {
    "alembic",
    "anyio",
    "fastapi",
    "h11",
    "httpx",
    "prometheus_client",
    "sqlalchemy",
    "starlette",
    "uvicorn",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _OF_THE_EXTRA:
            raise
        raise ToolNotFound(
            f"{missing} is not installed, which serving needs", hint="pip install 'balance-core[service]'"
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
