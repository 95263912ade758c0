"""Verification for others: a node's off-chain worker asks here what a bundle proves."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request

from balance_core.service.auth import Scope
from balance_core.service.gate import requires
from balance_core.service.problems import HttpRefusal
from balance_core.service.validator.desk import BundleAddress, Desk, Verdict

if TYPE_CHECKING:
    from balance_core.contracts import ChainAdapter, Storage
    from balance_core.service.provider import Provider

JSON = "application/json"
BINARY = ("application/octet-stream", "application/zip")
_MAX_QUESTION_BYTES = 4096


class HasDesk(Protocol):
    """A service that verifies for others in its own way."""

    @property
    def desk(self) -> Desk:
        """Where it does."""


_EXAMPLES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            BINARY[0]: {"schema": {"type": "string", "format": "binary"}},
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["cid"],
                    "properties": {"cid": {"type": "string"}, "registration": {"type": "string"}},
                },
                "example": {"cid": "bafkreiesit3uncczvjqpqxa647ncxepnhdmfxfb55o37el474qsaxcu7re"},
            },
        },
    }
}


def router(service: Provider | HasDesk) -> APIRouter:
    """Return the route; a provider verifies with its own storage and chain."""
    routes = APIRouter(prefix="/v1/verify", tags=["verification"], dependencies=[Depends(requires(Scope.VERIFY))])
    desks: list[Desk] = []

    def desk() -> Desk:
        if not desks:
            desks.append(_desk_of(service))
        return desks[0]

    @routes.post("", summary="What a bundle proves, or why it proves nothing", openapi_extra=_EXAMPLES)
    async def verify(
        request: Request,
        registration: Annotated[
            str | None,
            Query(pattern="^[0-9a-f]{64}$", description="The registration that the caller relies on."),
        ] = None,
    ) -> Verdict:
        """Send the bundle's bytes, or as JSON the `cid` by which this service's storage has it.

        A verdict is 200 whether or not the proof is valid; without a verdict it is a refusal. Read `warnings` and
        `vouched_by` before relying on a valid one: a proof is only worth what its registration is.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await request.body()
        if kind == JSON:
            if len(body) > _MAX_QUESTION_BYTES:
                raise HttpRefusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "an address is shorter than that")
            where = _read(body, registration)
            return await anyio.to_thread.run_sync(lambda: desk().check_address(where))
        if kind not in BINARY:
            raise HttpRefusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "a bundle is sent as application/octet-stream, its address as application/json",
            )
        return await anyio.to_thread.run_sync(lambda: desk().check(body, registration=registration))

    return routes


def _read(body: bytes, registration: str | None) -> BundleAddress:
    from balance_core import canonical

    asked = BundleAddress.from_value(canonical.decode(body, max_size=_MAX_QUESTION_BYTES, what="request"))
    if registration is not None and asked.registration not in {None, registration}:
        raise HttpRefusal(HTTPStatus.BAD_REQUEST, "the request names two registrations")
    return asked.model_copy(update={"registration": registration or asked.registration})


def _desk_of(service: Provider | HasDesk) -> Desk:
    found = getattr(service, "desk", None)
    if isinstance(found, Desk):
        return found
    storage: Storage | None = getattr(service, "storage", None)
    chain: ChainAdapter | None = getattr(service, "chain", None)
    options = getattr(service, "options", {})
    return Desk(storage=storage, chain=chain, chain_name=str(options.get("chain", "ledger")))
