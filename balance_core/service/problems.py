"""How a refusal looks over HTTP: one form for all, a status for each error, and nothing of the provider's inside."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from balance_core import errors
from balance_core.errors import BalanceError
from balance_core.service.wire import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS: tuple[tuple[type[BalanceError], HTTPStatus], ...] = (
    (errors.Busy, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.ConfigError, HTTPStatus.BAD_REQUEST),
    (errors.InvalidProof, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.UnsupportedModel, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.Rejected, HTTPStatus.CONFLICT),
    (errors.BlobNotFound, HTTPStatus.NOT_FOUND),
    (errors.StorageUnreachable, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.ChainUnreachable, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.StageTimeout, HTTPStatus.GATEWAY_TIMEOUT),
    (errors.StageOutOfMemory, HTTPStatus.INSUFFICIENT_STORAGE),
    (errors.ProviderUnreachable, HTTPStatus.BAD_GATEWAY),
    (errors.Refused, HTTPStatus.BAD_GATEWAY),
    (errors.BalanceError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
"""The first that fits counts."""


class HttpRefusal(BalanceError):
    """A request that HTTP has a status of its own for."""

    usual_hint = "the provider's /openapi.json says what it takes"

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.headers = dict(headers or {})


def described(error: Exception) -> tuple[HTTPStatus, Problem, dict[str, str]]:
    """Return status, body and headers that tell a client of an error.

    Of an error on the provider's side nothing is told but its kind: its words may hold paths and addresses.
    """
    if isinstance(error, HttpRefusal):
        kind = error.status.phrase.replace(" ", "")
        return error.status, Problem(error=error.message, hint=error.hint, type=kind), error.headers
    status = next((status for kind, status in STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    name = type(error).__name__ if isinstance(error, BalanceError) else "InternalError"
    headers = {}
    if isinstance(error, errors.Busy):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or not isinstance(error, BalanceError):
        hint = "ask again; if it stays, tell the provider the request's id"
        return status, Problem(error=_OWN.get(status, "the provider failed"), hint=hint, type=name), headers
    mend = None if error.hint == type(error).usual_hint else error.hint
    return status, Problem(error=error.message, hint=mend, type=name), headers


_OWN = {
    HTTPStatus.GATEWAY_TIMEOUT: "the answer took too long",
    HTTPStatus.BAD_GATEWAY: "another provider, which this one asks, does not do its part",
    HTTPStatus.INSUFFICIENT_STORAGE: "the provider has not the memory that this takes",
    HTTPStatus.SERVICE_UNAVAILABLE: "something that the provider relies on does not answer",
}
