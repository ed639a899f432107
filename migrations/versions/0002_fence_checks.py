"""what each node read of the others' fence devices"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql")
TABLE: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_nopad_bin", "sqlite_autoincrement": True}

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
phase = "expand"


def upgrade() -> None:
    op.create_table(
        "fence_checks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("method", sa.String(255), nullable=False),
        sa.Column("checked_from", sa.String(255), nullable=False),
        sa.Column("works", sa.Boolean(), nullable=False),
        sa.Column("said", TEXT, nullable=False),
        sa.Column("checked_at", TIME, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("node", "method", "checked_from", name="fence_checks_name"),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("fence_checks")
