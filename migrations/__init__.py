"""The schema's history (Alembic). Run by `holdfast db upgrade`."""
