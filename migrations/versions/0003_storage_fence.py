"""from which pools a node is cut off"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql")

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
phase = "expand"


def upgrade() -> None:
    """The defaults are for the rows that are there, and for those that a version before this one adds."""
    with op.batch_alter_table("nodes") as nodes:
        nodes.add_column(sa.Column("storage_cut", TEXT, nullable=False, server_default="[]"))
        nodes.add_column(sa.Column("storage_token", sa.BigInteger(), nullable=False, server_default="0"))
        nodes.add_column(sa.Column("cleaned", sa.Boolean(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("nodes") as nodes:
        nodes.drop_column("cleaned")
        nodes.drop_column("storage_token")
        nodes.drop_column("storage_cut")
