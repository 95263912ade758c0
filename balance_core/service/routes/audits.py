"""Audits: a test set, answered and proven, under a seed that neither side chose."""

from __future__ import annotations

from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from balance_core.service.audit.hosting import AuditHost
from balance_core.service.audit.messages import AskedReveal
from balance_core.service.audit.records import SignedPlan
from balance_core.service.auth import Scope
from balance_core.service.gate import requires
from balance_core.service.jobs import Terms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from balance_core.records import Record
    from balance_core.service.jobs import Job
    from balance_core.service.provider import Provider
    from balance_core.service.receipts import SignedReceipt

AuditPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The audit's id.")]
MAX_MESSAGE_BYTES = 2**24
"""Largest message of an audit that is read; a reveal names every receipt."""


class _Hosted:
    """A provider as its audits see it: nothing is asked of it before it runs."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    @cached_property
    def audits(self) -> AuditHost:
        provider = self._provider
        folder = provider.workspace.root / "service" / "audits"
        return AuditHost(folder, provider.key, [provider.registration.registration_id], self)

    def receipt(self, receipt_id: str) -> SignedReceipt | None:
        return self._provider.queue.receipt(receipt_id)

    def order(self, receipt_id: str) -> Job:
        """An audit's proofs wait behind those that somebody wants at once."""
        estimate = self._provider.register().preparation.estimate
        return self._provider.queue.order(receipt_id, Terms(memory_bytes=estimate.memory_bytes))

    def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        return self._provider.queue.jobs(job_ids)

    def proven_and_ended(self, job_ids: Sequence[str]) -> tuple[int, int]:
        return self._provider.queue.proven_and_ended(job_ids)


def router(provider: Provider) -> APIRouter:
    """Return the routes."""
    hosted = _Hosted(provider)
    routes = APIRouter(prefix="/v1", tags=["audits"])
    may_audit = [Depends(requires(Scope.AUDIT))]

    @routes.post("/audits", summary="Open an audit with a signed plan", status_code=201, dependencies=may_audit)
    async def opened(request: Request) -> Response:
        plan = SignedPlan.from_json(await request.body(), max_size=MAX_MESSAGE_BYTES)
        return _told(await run_in_threadpool(hosted.audits.open, plan), HTTPStatus.CREATED)

    @routes.post(
        "/audits/{audit_id}/reveal", summary="Open both shares of the seed, after all answers", dependencies=may_audit
    )
    async def revealed(request: Request, audit_id: AuditPath) -> Response:
        asked = AskedReveal.from_json(await request.body(), max_size=MAX_MESSAGE_BYTES)
        return _told(await run_in_threadpool(hosted.audits.reveal, audit_id, asked))

    @routes.get(
        "/audits/{audit_id}",
        summary="How an audit stands",
        dependencies=may_audit,
        responses={304: {"description": "As many proofs as when it had the entity tag in If-None-Match."}},
    )
    def state(request: Request, audit_id: AuditPath) -> Response:
        tag = f'W/"{hosted.audits.version(audit_id)}"'
        headers = {"ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return _told(hosted.audits.state(audit_id), headers=headers)

    return routes


def _told(
    record: Record, status: HTTPStatus = HTTPStatus.OK, *, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(record.to_json(), status, headers, media_type="application/json")
