"""What is served: the registration as its provider signed it, and what its proofs are checked with."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path
from fastapi.responses import JSONResponse, Response

from balance_core.service.auth import Scope
from balance_core.service.client.parts import Parts
from balance_core.service.gate import requires
from balance_core.service.jobs.material import Materials
from balance_core.service.problems import HttpRefusal

if TYPE_CHECKING:
    from balance_core.service.provider import Provider

RegistrationPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The registration's id.")]
_EXAMPLE = {
    "registrations": [
        {
            "registration_id": "3b" * 32,
            "name": "iris-zkml_halo2",
            "version": 1,
            "backend": "zkml_halo2",
            "provider": "d7" * 32,
            "setup_trust": "transparent",
            "sound": True,
        }
    ]
}


def router(provider: Provider) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(
        prefix="/v1/registrations", tags=["registrations"], dependencies=[Depends(requires(Scope.INFER))]
    )
    kept: list[bytes] = []

    @routes.get(
        "", summary="What is served", responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}}
    )
    async def registrations() -> JSONResponse:
        return JSONResponse({"registrations": [summary()]})

    def known(registration_id: str) -> None:
        if registration_id != provider.registration.registration_id:
            raise HttpRefusal(
                HTTPStatus.NOT_FOUND,
                "this provider does not serve under that registration",
                hint="GET /v1/registrations names the one that it serves under",
            )

    @routes.get("/{registration_id}", summary="A registration with its provider's signature")
    async def registration(registration_id: RegistrationPath) -> Response:
        known(registration_id)
        return Response(provider.register().signed.to_json(), media_type="application/json")

    @routes.get(
        "/{registration_id}/parts",
        summary="The verifying key, and what else proofs under a registration are checked with",
    )
    def parts(registration_id: RegistrationPath) -> Response:
        known(registration_id)
        if not kept:
            material = Materials(provider.workspace).of(registration_id)
            kept.append(Parts(material.registered.signed, material.key, material.commitment).to_bytes())
        return Response(kept[0], media_type="application/zip")

    def summary() -> dict[str, Any]:
        found = provider.registration
        return {
            "registration_id": found.registration_id,
            "name": found.name,
            "version": found.version,
            "backend": found.backend,
            "provider": found.provider,
            "setup_trust": found.setup_trust.trust.value,
            "sound": provider.capabilities.sound,
        }

    return routes
