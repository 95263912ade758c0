"""Runs the steps on the connection that `database.open_tables` hands over."""

from __future__ import annotations

from alembic import context

from balance_core.service.jobs.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True
)
context.run_migrations()
