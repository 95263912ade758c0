"""A validator over HTTP: whether it is ready, how it stands, its metrics, and verification for others."""

from __future__ import annotations

from http import HTTPStatus
from importlib import metadata
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, FastAPI, Path
from fastapi.responses import JSONResponse, Response

from balance_core.service.app import guard
from balance_core.service.auth import Scope
from balance_core.service.gate import requires
from balance_core.service.metrics import CONTENT_TYPE, Metrics
from balance_core.service.problems import HttpRefusal
from balance_core.service.routes import verify
from balance_core.service.settings import ServiceLimits
from balance_core.service.validator.desk import Desk, DeskSettings
from balance_core.service.validator.metrics import ValidatorCounts
from balance_core.service.validator.status import ProofReport, ValidatorStatus, read_proof

if TYPE_CHECKING:
    from collections.abc import Iterable

    from balance_core.service.auth import KeyRing
    from balance_core.service.validator.validator import Validator

MAX_CONNECTIONS = 64
ProofPath = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="The proof's id on the chain.")]


class ValidatorService:
    """A validator with a desk where it verifies for others, under the validator's own limits."""

    def __init__(self, validator: Validator) -> None:
        self.validator = validator
        settings = validator.settings
        self.limits = ServiceLimits(
            bundle_bytes=settings.max_bundle_bytes,
            body_bytes=4096,
            bodies_bytes=4 * settings.max_bundle_bytes,
            connections=MAX_CONNECTIONS,
            requests_per_second=50,
            burst=100,
        )
        self.desk = Desk(
            storage=validator.storage,
            chain=validator.chain,
            chain_name=validator.chain_name,
            settings=DeskSettings(
                at_once=settings.workers,
                max_bundle_bytes=settings.max_bundle_bytes,
                verify_seconds=settings.verify_seconds,
                verify_memory=settings.verify_memory,
            ),
        )

    def app(self, keys: KeyRing | None = None, *, hosts: Iterable[str] = ()) -> FastAPI:
        """Return the service; without `keys` everybody may ask. `hosts` are the names it answers to, or any."""
        metrics = Metrics(collector=ValidatorCounts(self.validator))
        app = FastAPI(
            title="Balance validator",
            version=metadata.version("balance-core"),
            summary="What a validator found, and verification for others.",
            docs_url=None,  # its page loads scripts from elsewhere
            redoc_url=None,
            redirect_slashes=False,
        )
        app.include_router(self._routes(metrics))
        app.include_router(verify.router(self))
        guard(app, self.limits, keys, metrics, hosts=hosts)
        return app

    def _routes(self, metrics: Metrics) -> APIRouter:
        routes, validator = APIRouter(tags=["validator"]), self.validator

        @routes.get("/v2/health/live", summary="Is the process alive?")
        async def live() -> JSONResponse:
            return JSONResponse({"live": True})

        @routes.get("/v2/health/ready", summary="Does it follow the chain?")
        async def ready() -> JSONResponse:
            return JSONResponse({"ready": validator.is_ready}, 200 if validator.is_ready else 503)

        @routes.get("/metrics", summary="Counts for Prometheus", dependencies=[Depends(requires(Scope.OPERATE))])
        def read_metrics() -> Response:
            return Response(metrics.text(), media_type=CONTENT_TYPE)

        @routes.get("/v1/validator", summary="How it stands", dependencies=[Depends(requires(Scope.VERIFY))])
        def status() -> ValidatorStatus:
            return validator.status()

        @routes.get(
            "/v1/validator/proofs/{proof_id}",
            summary="What became of a proof",
            dependencies=[Depends(requires(Scope.VERIFY))],
        )
        def proof(proof_id: ProofPath) -> ProofReport:
            found = read_proof(validator.store, proof_id)
            if found is None:
                raise HttpRefusal(
                    HTTPStatus.NOT_FOUND, "this validator has not seen the proof", hint="is it on the same chain?"
                )
            return found

        return routes
