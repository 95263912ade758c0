"""The provider's HTTP service: the Open Inference Protocol under /v2, and what it lacks under /v1."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from typing_extensions import override

from balance_core.errors import BalanceError, ConfigError
from balance_core.service import wire
from balance_core.service.gate import Gate
from balance_core.service.metrics import Metrics
from balance_core.service.problems import HttpRefusal, described

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from fastapi import APIRouter, Request

    from balance_core.service.auth import KeyRing
    from balance_core.service.provider import Provider
    from balance_core.service.settings import ServiceLimits

ROUTES = ("inference", "health", "registrations", "receipts", "bundles", "jobs", "audits", "verify")
"""The modules of `balance_core.service.routes`, each with `router(provider)`; what is asked most is first."""
DESCRIPTION = """\
Answers of a registered model, each with a signed receipt and, where asked, a proof.

`/v2` is the Open Inference Protocol: existing clients work unchanged. What Balance adds stands in `parameters`:
`balance_proof` (`none`, `later` or `now`), `balance_nonce` (32 fresh random bytes as hex), `balance_registration`
(the registration relied on) in a request, `balance_receipt` and `balance_job` in the answer.

Every refusal is one JSON object with `error`, `hint` and `type`.
"""


def application(provider: Provider, keys: KeyRing | None, *, hosts: Iterable[str] = ()) -> FastAPI:
    """Return the service; it starts the provider with itself, and closes it if it started it.

    Without `keys` everybody may ask for everything. `hosts` are the names that it answers to, by default any.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        started = not provider.running
        await anyio.to_thread.run_sync(provider.start)
        try:
            yield
        finally:
            if started:
                await anyio.to_thread.run_sync(provider.close)

    def counts() -> dict[str, int]:
        return provider.queue.counts()  # the queue is there once the provider is started

    metrics = Metrics(counts)
    app = _Described(
        title="Balance",
        version=metadata.version("balance-core"),
        summary="Answers that their provider can be held to.",
        description=DESCRIPTION,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        responses={"4XX": {"model": wire.Problem, "description": "HttpRefusal: why, and what would mend it."}},
    )
    app.state.metrics = metrics
    for router in _routers(provider):
        app.include_router(router)
    guard(app, provider.settings.limits, keys, metrics, hosts=hosts)
    return app


def guard(
    app: FastAPI, limits: ServiceLimits, keys: KeyRing | None, metrics: Metrics, *, hosts: Iterable[str] = ()
) -> None:
    """Put keys and limits in front of a service, and give its refusals their one form."""
    app.add_exception_handler(BalanceError, _explain)
    app.add_exception_handler(HTTPException, _explain_http)
    app.add_exception_handler(RequestValidationError, _explain_validation)
    app.add_exception_handler(Exception, _explain)
    app.add_middleware(
        Gate, limits=limits, keys=keys, metrics=metrics, hosts=tuple(hosts)
    )  # outermost but for Starlette's own, which turns a crash into a 500


def _routers(provider: Provider) -> list[APIRouter]:
    names = (f"balance_core.service.routes.{name}" for name in ROUTES)
    return [import_module(name).router(provider) for name in names if find_spec(name)]


async def _explain(request: Request, error: Exception) -> Response:
    """Answer with a problem, and leave the error to the log."""
    request.state.failure = error
    status, problem, headers = described(error)
    return Response(problem.model_dump_json(), int(status), headers, media_type="application/json")


async def _explain_http(request: Request, error: Exception) -> Response:
    """Say what HTTP says in the form of all refusals."""
    if not isinstance(error, HTTPException):
        raise error
    from http import HTTPStatus

    status = HTTPStatus(error.status_code)
    return await _explain(request, HttpRefusal(status, str(error.detail).lower(), headers=error.headers))


async def _explain_validation(request: Request, error: Exception) -> Response:
    """Name the first wrong field, and nothing of its content."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    hint = "the provider's /openapi.json has examples"
    return await _explain(request, ConfigError(f"{where}: {first['msg']}", hint=hint))


class _Described(FastAPI):
    @override
    def openapi(self) -> dict[str, Any]:
        """Return the description, with the messages that are read by hand."""
        if self.openapi_schema is None:
            found = super().openapi()
            _, messages = models_json_schema(
                [(wire.InferRequest, "validation"), (wire.InferResponse, "validation")],
                ref_template="#/components/schemas/{model}",
            )
            found.setdefault("components", {}).setdefault("schemas", {}).update(messages["$defs"])
            self.openapi_schema = found
        return self.openapi_schema
