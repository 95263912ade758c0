"""Proofs to come: how a job stands, its events as they happen, and its end on demand."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.responses import Response, StreamingResponse

from balance_core.errors import Busy
from balance_core.service.auth import Scope
from balance_core.service.gate import requires
from balance_core.service.jobs.orders import Event, Job
from balance_core.service.problems import HttpRefusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from balance_core.service.jobs import JobQueue
    from balance_core.service.provider import Provider

JobPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The job's id, as the receipt names it.")]
LastEvent = Annotated[str | None, Header(alias="last-event-id", pattern=r"^\d{1,18}$")]
After = Annotated[int, Query(ge=0, lt=2**63, description="Only events behind this number.")]

STREAMS = 256
"""How many clients may follow jobs at a time."""
STREAM_SECONDS = 900.0
"""How long one may; its client then asks again, with the last event's number."""
_POLL_SECONDS = 0.3
_ALIVE_SECONDS = 15.0


def router(provider: Provider) -> APIRouter:
    """Return the routes; whoever knows a job's id may follow and cancel it: its client and the provider."""
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(requires(Scope.PROVE))])
    streams: set[object] = set()

    @routes.get("/{job_id}", summary="How a proof to come stands", responses={200: {"model": Job}})
    def job(job_id: JobPath) -> Response:
        return _answer(provider.queue.job(job_id))

    @routes.delete("/{job_id}", summary="Cancel a proof that is not there yet", responses={200: {"model": Job}})
    def cancel(job_id: JobPath) -> Response:
        return _answer(provider.queue.cancel(job_id))

    @routes.get(
        "/{job_id}/events",
        summary="What happens to a job, as server-sent events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"example": _EXAMPLE}}}},
    )
    async def events(job_id: JobPath, after: After = 0, last_event_id: LastEvent = None) -> StreamingResponse:
        _answer(await anyio.to_thread.run_sync(provider.queue.job, job_id))
        if len(streams) >= STREAMS:
            raise Busy("as many clients as may follow jobs", retry_after=5.0, hint="ask for the job itself instead")
        start = max(after, int(last_event_id or 0))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        lines = _stream(provider.queue, job_id, start, streams)
        return StreamingResponse(lines, headers=headers, media_type="text/event-stream")

    return routes


_EXAMPLE = 'id: 7\nevent: proving\ndata: {"number":7,"state":"proving","text":"commitments", ...}\n\n'


def _answer(job: Job | None) -> Response:
    if job is None:
        raise HttpRefusal(
            HTTPStatus.NOT_FOUND, "there is no such job", hint="finished jobs are kept for a while only"
        )
    told = job.model_copy(update={"reason": _told(job.reason)})
    return Response(told.to_json(), media_type="application/json")


def _told(text: str) -> str:
    """Leave out what stands behind the kind of an error: it may hold the provider's paths and addresses."""
    return text.partition(":")[0]


async def _stream(queue: JobQueue, job_id: str, after: int, streams: set[object]) -> AsyncIterator[str]:
    """Yield events until the job has ended, its client has gone, or the time is over."""
    mine = object()
    streams.add(mine)
    try:
        ends = time.monotonic() + STREAM_SECONDS
        heard = time.monotonic()
        while time.monotonic() < ends:
            job = await anyio.to_thread.run_sync(
                queue.job, job_id
            )  # before its events, so that the last is among them
            for event in await anyio.to_thread.run_sync(queue.events, job_id, after):
                after, heard = event.number, time.monotonic()
                yield _lines(event)
            if job is None or job.state.final:
                return
            if time.monotonic() - heard > _ALIVE_SECONDS:
                heard = time.monotonic()
                yield ": still here\n\n"
            await anyio.sleep(_POLL_SECONDS)
    finally:
        streams.discard(mine)


def _lines(event: Event) -> str:
    told = event.model_copy(update={"text": _told(event.text)})
    return f"id: {event.number}\nevent: {event.state}\ndata: {told.to_json().decode()}\n\n"
