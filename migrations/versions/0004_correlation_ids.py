"""which request or incident made an action, an event, and what is wanted of a VM"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
phase = "expand"

TABLES = ("vms", "actions", "events")


def upgrade() -> None:
    # With a default in the database: nodes of the version before go on inserting rows without it.
    for table in TABLES:
        op.add_column(table, sa.Column("correlation_id", sa.String(255), nullable=False, server_default=sa.text("''")))
    op.create_index("ix_audit_correlation_id", "audit", ["correlation_id"])


def downgrade() -> None:
    op.drop_index("ix_audit_correlation_id", "audit")
    for table in TABLES:
        op.drop_column(table, "correlation_id")
