"""What a provider can choose about its service."""

from __future__ import annotations

from pydantic import Field

from balance_core.service.receipts import ProofMode
from balance_core.settings import Settings


class ServiceLimits(Settings):
    """What one client may take up; whatever is beyond is refused before it costs anything."""

    body_bytes: int = Field(16 * 2**20, ge=1024, description="Largest body of a request.")
    bundle_bytes: int = Field(256 * 2**20, ge=1024, description="Largest body of a request that holds a bundle.")
    bodies_bytes: int = Field(2**30, ge=1024, description="Bytes of bodies held at a time, of all requests together.")
    head_seconds: float = Field(10.0, gt=0, description="Time for a request's line and headers.")
    body_seconds: float = Field(20.0, gt=0, description="Time for a request's body.")
    answer_seconds: float = Field(30.0, gt=0, description="Time for an answer, waiting included.")
    idle_seconds: int = Field(30, ge=1, description="How long a connection is kept that asks nothing.")
    requests_per_second: float = Field(
        200.0, gt=0, description="Requests of one key, or of one address without keys."
    )
    burst: int = Field(400, ge=1, description="Requests that may come at once before that rate counts.")
    waiting: int = Field(128, ge=1, description="Requests that may wait for an answer at a time.")
    connections: int = Field(1024, ge=1, description="Open connections.")


class ServiceSettings(Settings):
    """How a provider answers and proves; every field has a default."""

    database: str | None = Field(None, description="URL of the database of jobs and receipts; None: a SQLite file.")
    proof: ProofMode = Field("none", description="Whether answers are proven whose client does not say.")
    keep_inputs: bool = Field(
        default=True, description="Keep inputs, encrypted, so that any answer can be proven when asked."
    )
    answerers: int | None = Field(
        None, ge=1, le=64, description="Processes that answer; None: the service's own where that is safe and quick."
    )
    provers: int = Field(1, ge=0, le=64, description="Proofs made at a time; 0 leaves proving to other machines.")
    threads: int = Field(1, ge=1, description="Threads of each answering process.")
    limits: ServiceLimits = ServiceLimits()
