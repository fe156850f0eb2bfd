"""Alembic revisions; see the folder above for how they are named."""
