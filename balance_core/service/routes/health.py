"""Whether the service lives and is ready, and what Prometheus reads of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from balance_core.service.auth import Scope
from balance_core.service.gate import requires
from balance_core.service.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from balance_core.service.provider import Provider


def router(provider: Provider) -> APIRouter:
    """Return the routes that monitoring asks."""
    routes = APIRouter(tags=["health"])

    @routes.get("/v2/health/live", summary="Is the process alive?")
    async def live() -> JSONResponse:
        return JSONResponse({"live": True})

    @routes.get("/v2/health/ready", summary="Can it answer?")
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": provider.running}, 200 if provider.running else 503)

    @routes.get("/metrics", summary="Counts for Prometheus", dependencies=[Depends(requires(Scope.OPERATE))])
    def metrics(request: Request) -> Response:
        return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE)

    return routes
