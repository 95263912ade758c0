"""Receipts that were given, and proofs of answers that were given without one."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import Response

from balance_core.service.auth import Scope
from balance_core.service.gate import requires
from balance_core.service.problems import HttpRefusal

if TYPE_CHECKING:
    from balance_core.service.provider import Provider

ReceiptPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The receipt's id, its digest.")]


def router(provider: Provider) -> APIRouter:
    """Return the routes; whoever knows a receipt's id may read it, since only its client and the provider do."""
    routes = APIRouter(prefix="/v1/receipts", tags=["receipts"])

    @routes.get("/{receipt_id}", summary="A receipt", dependencies=[Depends(requires(Scope.INFER))])
    def receipt(receipt_id: ReceiptPath) -> Response:
        found = provider.queue.receipt(receipt_id)
        if found is None:
            raise HttpRefusal(
                HTTPStatus.NOT_FOUND, "there is no such receipt", hint="receipts are kept for a limited time"
            )
        return Response(found.to_json(), media_type="application/json")

    @routes.post(
        "/{receipt_id}/proof",
        status_code=HTTPStatus.ACCEPTED,
        summary="Have this answer proven now",
        dependencies=[Depends(requires(Scope.PROVE))],
    )
    def prove(receipt_id: ReceiptPath) -> Response:
        job = provider.prove(receipt_id)
        return Response(job.to_json(), HTTPStatus.ACCEPTED, media_type="application/json")

    return routes
