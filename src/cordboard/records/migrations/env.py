"""Alembic runs this: migrations on the connection that Records hands over."""

from __future__ import annotations

from alembic import context

from cordboard.records.tables import KEPT, METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=[METADATA, KEPT])
with context.begin_transaction():
    context.run_migrations()
