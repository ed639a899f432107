"""what a node is by its heartbeat on the storage, and how long an isolated one is kept"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
phase = "expand"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("condition", sa.String(255), nullable=False, server_default=sa.text("''")))
    op.add_column("settings", sa.Column("isolated_keep_seconds", sa.Double(), nullable=False, server_default="300"))
    op.add_column(
        "settings", sa.Column("isolated_then", sa.String(255), nullable=False, server_default=sa.text("'fence'"))
    )


def downgrade() -> None:
    op.drop_column("settings", "isolated_then")
    op.drop_column("settings", "isolated_keep_seconds")
    op.drop_column("nodes", "condition")
