"""The Open Inference Protocol, version 2: metadata, and answers with receipts."""

from __future__ import annotations

from http import HTTPStatus
from importlib import metadata
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from typing_extensions import override

from balance_core.errors import Busy
from balance_core.service import wire
from balance_core.service.auth import Scope
from balance_core.service.gate import requires
from balance_core.service.problems import HttpRefusal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from balance_core.service.provider import Provider

THREADS = 32
"""Answers under way at a time; more than there are processors, since most of them wait for the disk."""
EXAMPLE = {
    "inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}],
    "parameters": {"balance_proof": "later", "balance_nonce": "9f" * 32},
}
_ANSWERED = {
    "model_name": "iris-zkml_halo2",
    "model_version": "1",
    "parameters": {
        "balance_receipt": '{"receipt":{"context":"...","outputs":[...]},"schema_version":1,"signature":"..."}',
        "balance_registration": "3b" * 32,
        "balance_job": "c4" * 32,
    },
    "outputs": [{"name": "output", "shape": [1, 3], "datatype": "FP32", "data": [2.5, -0.75, -3.0]}],
}


class _Direct(APIRoute):
    """A route whose function gets the request and the path's parts as they are, and checks them itself.

    Every answer comes this way: it saves a tenth of what an answer costs.
    """

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            response: Response = await endpoint(request, **request.path_params)
            return response

        return handle


def router(provider: Provider) -> APIRouter:
    """Return the protocol's routes."""
    routes = APIRouter(prefix="/v2", tags=["inference"], dependencies=[Depends(requires(Scope.INFER))])
    limiter: list[anyio.CapacityLimiter] = []
    may_infer = requires(Scope.INFER)

    def known(name: str, version: str | None = None) -> None:
        registration = provider.registration
        if name != registration.name or version not in {None, str(registration.version)}:
            raise HttpRefusal(
                HTTPStatus.NOT_FOUND,
                "there is no such model or version",
                hint=f"this provider serves {registration.name}, version {registration.version}",
            )

    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        await may_infer(request)
        known(name, version)
        if not limiter:
            limiter.append(anyio.CapacityLimiter(THREADS))
        if limiter[0].statistics().tasks_waiting >= provider.settings.limits.waiting:
            raise Busy("as many requests wait as may")
        header_length = request.headers.get(wire.HEADER_LENGTH)
        may_prove = Scope.PROVE in request.state.caller.scopes
        content = await request.body()
        body = await anyio.to_thread.run_sync(
            lambda: provider.respond(content, header_length, may_prove=may_prove), limiter=limiter[0]
        )
        return Response(body.content, headers=body.headers)

    for path, shown in (("/models/{name}/infer", True), ("/models/{name}/versions/{version}/infer", False)):
        routes.add_api_route(
            path,
            infer,
            methods=["POST"],
            summary="Ask for an answer",
            openapi_extra=_DESCRIPTION,
            include_in_schema=shown,
            route_class_override=_Direct,
        )

    @routes.get("", summary="What this server is")
    async def server() -> wire.ServerMetadata:
        version = metadata.version("balance-core")
        return wire.ServerMetadata(name="balance", version=version, extensions=["binary_tensor_data", "balance"])

    @routes.get("/models/{name}", summary="What a model takes and gives")
    @routes.get("/models/{name}/versions/{version}", include_in_schema=False)
    async def model(name: str, version: str | None = None) -> wire.ModelMetadata:
        known(name, version)
        return described(provider)

    @routes.get("/models/{name}/ready", summary="Can it answer?")
    @routes.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
    async def ready(name: str, version: str | None = None) -> JSONResponse:
        known(name, version)
        return JSONResponse({"name": name, "ready": provider.running}, 200 if provider.running else 503)

    return routes


def described(provider: Provider) -> wire.ModelMetadata:
    """Return a model as the protocol describes it."""
    registration, summary = provider.registration, provider.summary
    return wire.ModelMetadata(
        name=registration.name,
        versions=[str(registration.version)],
        platform=f"balance_{registration.backend}",
        inputs=wire.metadata_of(summary.inputs),
        outputs=wire.metadata_of(summary.outputs),
        parameters={
            "balance_registration": registration.registration_id,
            "balance_provider": registration.provider,
            "balance_sound": provider.capabilities.sound,
            "balance_private_input": provider.capabilities.private_input,
        },
    )


def _content(message: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{message}"}, "example": example}}


_DESCRIPTION = {
    "description": (
        "Tensors stand in the JSON, or behind it: then `Inference-Header-Content-Length` says where the JSON ends. "
        "The answer comes as soon as its receipt is on the disk; a proof that was asked for follows as a job."
    ),
    "requestBody": {"required": True, "content": _content("InferRequest", EXAMPLE)},
    "responses": {"200": {"description": "The answer.", "content": _content("InferResponse", _ANSWERED)}},
}
