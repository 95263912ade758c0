"""Bundles of proofs that this provider has published; nothing else of its storage."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import StreamingResponse

from balance_core.bundle import MAX_BUNDLE_BYTES
from balance_core.service.auth import Scope
from balance_core.service.gate import requires
from balance_core.service.problems import HttpRefusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from balance_core.service.provider import Provider

BundlePath = Annotated[str, Path(pattern=r"^b[a-z2-7]{10,120}$", description="The bundle's address, a CIDv1.")]

_PIECE_BYTES = 2**18


def router(provider: Provider) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/bundles", tags=["bundles"], dependencies=[Depends(requires(Scope.INFER))])

    @routes.get("/{address}", summary="A proof with everything that checking it offline needs")
    def bundle(address: BundlePath) -> StreamingResponse:
        if provider.storage is None or not provider.queue.published(address):
            raise HttpRefusal(
                HTTPStatus.NOT_FOUND, "this provider has published no such bundle", hint="its job names the address"
            )
        stream = provider.storage.open(address, max_size=MAX_BUNDLE_BYTES)
        first = stream.read(_PIECE_BYTES)  # what is wrong with the content shows before the answer begins
        return StreamingResponse(_pieces(first, stream), media_type="application/octet-stream")

    return routes


def _pieces(first: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """Yield a stream's content; however many clients fetch, and however slowly, none of it is held twice."""
    with stream:
        piece = first
        while piece:
            yield piece
            piece = stream.read(_PIECE_BYTES)
