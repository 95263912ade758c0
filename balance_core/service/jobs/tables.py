"""The tables of the queue; `migrations` makes them, and a test compares the two."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, SmallInteger, String, Table

metadata = MetaData()

HEAD = "jobs2"
"""The newest migration; a database that is there already needs nothing else than this comparison."""

receipts = Table(
    "receipts",
    metadata,
    Column("receipt_id", String(64), primary_key=True),
    Column("signed_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("receipts_by_age", "signed_at"),
)
"""Signed receipts; times here and below are milliseconds since 1970."""

requests = Table(
    "requests",
    metadata,
    Column("context", String(64), primary_key=True),
    Column("proof", String(8), primary_key=True),  # another promise is another receipt of the same request
    Column("input_sha256", String(64), nullable=False),
    Column("receipt_id", String(64), nullable=False),
    sqlite_with_rowid=False,
)
"""The requests that were answered, so that none is answered in two ways while its receipt is kept."""

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("registration_id", String(64), nullable=False),
    Column("receipt_id", String(64), nullable=False),
    Column("context", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("rank", BigInteger),  # the order of service; null once nothing more happens to the job
    Column("ready_at", BigInteger, nullable=False),  # when it may be leased: after a delay, or when its lease ends
    Column("accepted_at", BigInteger, nullable=False),
    Column("deadline_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("seconds", Float),
    Column("attempts", SmallInteger, nullable=False),
    Column("failures", SmallInteger, nullable=False),  # proving failed
    Column("losses", SmallInteger, nullable=False),  # the worker was never heard of again
    Column("delays", Integer, nullable=False),  # a store or a chain did not answer
    Column("worker", String(128)),
    Column("token", String(32)),  # names the lease: whoever lost it changes nothing any more
    Column("bundle", String(128)),
    Column("proof", LargeBinary),
    Column("chain_ref", LargeBinary),
    Column("reason", String(500), nullable=False),
    Index("jobs_by_rank", "rank"),
    Index("jobs_by_end", "finished_at"),
    Index("jobs_by_bundle", "bundle"),
)

inputs = Table(
    "inputs",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("kept_at", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("nonce", LargeBinary(12), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("inputs_by_age", "kept_at"),
)
"""Sealed inputs by the job that proves their answer, or would if somebody asked for it."""

events = Table(
    "events",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("job_id", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("text", String(500), nullable=False),
    Column("fraction", Float),
    Index("events_by_job", "job_id", "number"),
)
