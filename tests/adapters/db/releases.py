"""Versions of tomorrow: the migrations of the one before, and some more. For tests of a schema that changes."""

import shutil
from pathlib import Path
from textwrap import dedent

from app.adapters.db import schema_floor


def release(before: Path, at: Path, *migrations: tuple[str, str]) -> Path:
    """The migrations of a later version: those of the one before, and these (phase, what is done)."""
    shutil.copytree(before, at, ignore=shutil.ignore_patterns("__pycache__"))
    last = max(schema_floor.revisions(at))
    for phase, up in migrations:
        revision = f"{int(last) + 1:04}"
        (at / "versions" / f"{revision}_of_tomorrow.py").write_text(
            dedent(f'''
                """of tomorrow"""
                import sqlalchemy as sa
                from alembic import op
                revision, down_revision, branch_labels, depends_on = "{revision}", "{last}", None, None
                phase = "{phase}"
                def upgrade():
                    {up}
            ''')
        )
        last = revision
    return at


#: today's last revision, and the two after it
TODAY = max(schema_floor.revisions())
EXPANDED, CONTRACTED = (f"{int(TODAY) + n:04}" for n in (1, 2))
ADD = 'op.add_column("projects", sa.Column("motto", sa.String(255), nullable=False, server_default=""))'
TAKE = 'op.drop_column("images", "os_version")'
ADD_MORE = 'op.add_column("projects", sa.Column("colour", sa.String(255), nullable=False, server_default=""))'
