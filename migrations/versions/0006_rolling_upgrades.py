"""what nodes run, what they are upgraded to, and which software a contracted schema still fits"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
phase = "expand"

ADDED = (("nodes", "version"), ("nodes", "upgrade_to"), ("nodes", "database"), ("rollings", "version"))


def upgrade() -> None:
    for table, column in ADDED:
        op.add_column(table, sa.Column(column, sa.String(255), nullable=False, server_default=sa.text("''")))
    op.create_table(
        "schema_floor",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.String(255), nullable=False),
        sa.Column("version", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("schema_floor")
    for table, column in reversed(ADDED):
        op.drop_column(table, column)
