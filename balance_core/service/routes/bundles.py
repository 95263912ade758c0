"""Bundles of proofs that this provider has published; nothing else of its storage."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import Response

from balance_core.bundle import MAX_BUNDLE_BYTES
from balance_core.service.auth import Scope
from balance_core.service.gate import requires
from balance_core.service.problems import HttpRefusal

if TYPE_CHECKING:
    from balance_core.service.provider import Provider

BundlePath = Annotated[str, Path(pattern=r"^b[a-z2-7]{10,120}$", description="The bundle's address, a CIDv1.")]


def router(provider: Provider) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/bundles", tags=["bundles"], dependencies=[Depends(requires(Scope.INFER))])

    @routes.get("/{address}", summary="A proof with everything that checking it offline needs")
    def bundle(address: BundlePath) -> Response:
        if provider.storage is None or not provider.queue.published(address):
            raise HttpRefusal(
                HTTPStatus.NOT_FOUND, "this provider has published no such bundle", hint="its job names the address"
            )
        with provider.storage.open(address, max_size=MAX_BUNDLE_BYTES) as stream:
            return Response(stream.read(), media_type="application/octet-stream")

    return routes
