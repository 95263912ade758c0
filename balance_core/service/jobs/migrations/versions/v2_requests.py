"""Requests, with those that receipts are kept of."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "jobs2"
down_revision = "jobs1"
branch_labels = None
depends_on = None

_PIECE = 1000


def upgrade() -> None:
    """Make the table, and fill it; of two receipts of one request the first counts."""
    made = op.create_table(
        "requests",
        sa.Column("context", sa.String(64), primary_key=True),
        sa.Column("proof", sa.String(8), primary_key=True),
        sa.Column("input_sha256", sa.String(64), nullable=False),
        sa.Column("receipt_id", sa.String(64), nullable=False),
        sqlite_with_rowid=False,
    )
    kept = sa.table("receipts", sa.column("receipt_id"), sa.column("signed_at"), sa.column("body"))
    order = sa.select(kept.c.receipt_id, kept.c.body).order_by(kept.c.signed_at, kept.c.receipt_id)
    connection, start = op.get_bind(), 0
    known: set[tuple[str, str]] = set()
    while rows := connection.execute(order.offset(start).limit(_PIECE)).all():
        start += len(rows)
        for name, body in rows:
            receipt = json.loads(body)["receipt"]
            place = (receipt["context"], receipt["proof"])
            if place not in known:
                known.add(place)
                row = {"context": place[0], "proof": place[1], "input_sha256": receipt["input_sha256"]}
                connection.execute(sa.insert(made), {**row, "receipt_id": name})


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("requests")
