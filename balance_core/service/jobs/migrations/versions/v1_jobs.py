"""Receipts, jobs, inputs and events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "jobs1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "receipts",
        sa.Column("receipt_id", sa.String(64), primary_key=True),
        sa.Column("signed_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("receipts_by_age", "receipts", ["signed_at"])
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(64), primary_key=True),
        sa.Column("registration_id", sa.String(64), nullable=False),
        sa.Column("receipt_id", sa.String(64), nullable=False),
        sa.Column("context", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("rank", sa.BigInteger),
        sa.Column("ready_at", sa.BigInteger, nullable=False),
        sa.Column("accepted_at", sa.BigInteger, nullable=False),
        sa.Column("deadline_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float),
        sa.Column("attempts", sa.SmallInteger, nullable=False),
        sa.Column("failures", sa.SmallInteger, nullable=False),
        sa.Column("losses", sa.SmallInteger, nullable=False),
        sa.Column("delays", sa.Integer, nullable=False),
        sa.Column("worker", sa.String(128)),
        sa.Column("token", sa.String(32)),
        sa.Column("bundle", sa.String(128)),
        sa.Column("proof", sa.LargeBinary),
        sa.Column("chain_ref", sa.LargeBinary),
        sa.Column("reason", sa.String(500), nullable=False),
    )
    op.create_index("jobs_by_rank", "jobs", ["rank"])
    op.create_index("jobs_by_end", "jobs", ["finished_at"])
    op.create_index("jobs_by_bundle", "jobs", ["bundle"])
    op.create_table(
        "inputs",
        sa.Column("job_id", sa.String(64), primary_key=True),
        sa.Column("kept_at", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("nonce", sa.LargeBinary(12), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("inputs_by_age", "inputs", ["kept_at"])
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "events",
        sa.Column("number", number, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("text", sa.String(500), nullable=False),
        sa.Column("fraction", sa.Float),
    )
    op.create_index("events_by_job", "events", ["job_id", "number"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("events", "inputs", "jobs", "receipts"):
        op.drop_table(table)
