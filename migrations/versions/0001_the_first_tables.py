"""the first tables"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql")
#: Texts compare as in Python; ids are never given twice.
TABLE: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_nopad_bin", "sqlite_autoincrement": True}

revision = "0001"
down_revision = None
branch_labels = depends_on = None
phase = "expand"


def upgrade() -> None:
    _what_was_asked_and_done()
    _deliveries()
    _coordination()
    _servers()
    _offers_and_owners()
    _machines()
    _settings()


def _what_was_asked_and_done() -> None:
    op.create_table(
        "actions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("command", sa.String(255), nullable=False),
        sa.Column("vm_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(255), nullable=False),
        sa.Column("started", TIME, nullable=False),
        sa.Column("finished", TIME, nullable=True),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.String(255), nullable=False),
        sa.Column("error_message", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **TABLE,
    )
    with op.batch_alter_table("actions", schema=None) as batch_op:
        batch_op.create_index("actions_project", ["project_id"], unique=False)
        batch_op.create_index("actions_vm", ["vm_id", "status"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=True),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("method", sa.String(255), nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=False),
        sa.Column("correlation_id", sa.String(255), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **TABLE,
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("kind", sa.String(255), nullable=False),
        sa.Column("text", TEXT, nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("vm_id", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        **TABLE,
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_kind"), ["kind"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("request_sha256", sa.String(255), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "key", name="idempotency_key"),
        **TABLE,
    )


def _deliveries() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("url", TEXT, nullable=False),
        sa.Column("secret", sa.String(255), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **TABLE,
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.Column("webhook_id", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(255), nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", TIME, nullable=True),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("last_error", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("endpoint_id", "webhook_id", name="outbox_webhook_id"),
        **TABLE,
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index("outbox_due", ["delivered_at", "next_try"], unique=False)


def _coordination() -> None:
    op.create_table(
        "epochs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("since", TIME, nullable=True),
        sa.Column("writes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **TABLE,
    )
    # The row that makes a coordinator: there from the start, so that two first campaigns collide on it.
    op.execute("INSERT INTO epochs (id, epoch, holder, writes) VALUES (1, 0, '', 0)")
    op.create_table(
        "incidents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("phase", sa.String(255), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("proof_method", sa.String(255), nullable=True),
        sa.Column("proof_saw", TEXT, nullable=True),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("steps", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **TABLE,
    )
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_incidents_node"), ["node"], unique=False)
        batch_op.create_index(batch_op.f("ix_incidents_phase"), ["phase"], unique=False)
    op.create_table(
        "layouts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("token_milliseconds", sa.Integer(), nullable=False),
        sa.Column("members", sa.JSON(), nullable=False),
        sa.Column("next_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **TABLE,
    )
    op.create_table(
        "rollings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(255), nullable=False),
        sa.Column("pending", sa.JSON(), nullable=False),
        sa.Column("rebooted", sa.JSON(), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("step", sa.String(255), nullable=False),
        sa.Column("boot_id", sa.String(255), nullable=False),
        sa.Column("started", TIME, nullable=True),
        sa.Column("since", TIME, nullable=True),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("said", TEXT, nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **TABLE,
    )
    # One row as well: two that begin a rolling reboot at the same time collide on it.
    first_run = "'none', '[]', '[]', '', 'draining', '', 0, '', 0"
    columns = "id, state, pending, rebooted, node, step, boot_id, forced, said, turns"
    op.execute(f"INSERT INTO rollings ({columns}) VALUES (1, {first_run})")  # noqa: S608  constants


def _servers() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("address", sa.String(255), nullable=False),
        sa.Column("role", sa.String(255), nullable=False),
        sa.Column("state", sa.String(255), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("cores", sa.Integer(), nullable=False),
        sa.Column("rack", sa.String(255), nullable=False),
        sa.Column("maintenance", sa.Boolean(), nullable=False),
        sa.Column("watchdog_seconds", sa.Double(), nullable=True),
        sa.Column("boot_id", sa.String(255), nullable=False),
        sa.Column("health", TEXT, nullable=False),
        sa.Column("placements", sa.Integer(), nullable=False),
        sa.Column("cpu_models", sa.JSON(), nullable=False),
        sa.Column("pools", sa.JSON(), nullable=False),
        sa.Column("networks", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("evacuating", sa.Boolean(), nullable=False),
        sa.Column("losses", sa.JSON(), nullable=False),
        sa.Column("quarantined_until", TIME, nullable=True),
        sa.Column("leaving", sa.String(255), nullable=False),
        sa.Column("frozen_until", TIME, nullable=True),
        sa.Column("reboot_of", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", name="nodes_name"),
        **TABLE,
    )
    op.create_table(
        "paths",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("up", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("changed", TIME, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("node", "target", "name", name="paths_name"),
        **TABLE,
    )


def _offers_and_owners() -> None:
    op.create_table(
        "images",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("pool", sa.String(255), nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("kernel", TEXT, nullable=False),
        sa.Column("initrd", TEXT, nullable=False),
        sa.Column("cmdline", TEXT, nullable=False),
        sa.Column("memory_min_mib", sa.Integer(), nullable=False),
        sa.Column("os_flavor", sa.String(255), nullable=False),
        sa.Column("os_version", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", name="images_name"),
        **TABLE,
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("cores", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", name="plans_name"),
        **TABLE,
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("vms_max", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", name="projects_name"),
        **TABLE,
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(255), nullable=False),
        sa.Column("scope", sa.String(255), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("created", TIME, nullable=False),
        sa.Column("expires", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256", name="tokens_sha256"),
        **TABLE,
    )


def _machines() -> None:
    op.create_table(
        "vms",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("plan", sa.String(255), nullable=False),
        sa.Column("cores", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("image", sa.String(255), nullable=False),
        sa.Column("pool", sa.String(255), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("desired", sa.String(255), nullable=False),
        sa.Column("stop_mode", sa.String(255), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("node", sa.String(255), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("resets_wanted", sa.Integer(), nullable=False),
        sa.Column("reset_mode", sa.String(255), nullable=False),
        sa.Column("observed_power", sa.String(255), nullable=False),
        sa.Column("observed_generation", sa.Integer(), nullable=False),
        sa.Column("observed_node", sa.String(255), nullable=False),
        sa.Column("observed_verified_at", TIME, nullable=True),
        sa.Column("observed_error", TEXT, nullable=False),
        sa.Column("observed_resets_done", sa.Integer(), nullable=False),
        sa.Column("observed_ended", sa.String(255), nullable=False),
        sa.Column("observed_ends", sa.Integer(), nullable=False),
        sa.Column("observed_ends_in_a_row", sa.Integer(), nullable=False),
        sa.Column("unplaced_reason", TEXT, nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=True),
        sa.Column("failed_nodes", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("user_data", TEXT, nullable=False),
        sa.Column("ha", sa.JSON(), nullable=False),
        sa.Column("needs", sa.JSON(), nullable=False),
        sa.Column("migrating_to", sa.String(255), nullable=True),
        sa.Column("migration", sa.JSON(), nullable=False),
        sa.Column("local", sa.Boolean(), nullable=False),
        sa.Column("home", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "name", name="vms_name"),
        **TABLE,
    )
    with op.batch_alter_table("vms", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_vms_incident_id"), ["incident_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_vms_migrating_to"), ["migrating_to"], unique=False)
        batch_op.create_index("vms_node", ["node"], unique=False)
    op.create_table(
        "placement_groups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(255), nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("created", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "name", name="placement_groups_name"),
        **TABLE,
    )


def _settings() -> None:
    settings = op.create_table(
        "settings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("armed", sa.Boolean(), nullable=False),
        sa.Column("disarmed_by", sa.String(255), nullable=False),
        sa.Column("disarmed_reason", TEXT, nullable=False),
        sa.Column("disarmed_at", TIME, nullable=True),
        sa.Column("strategy", sa.String(255), nullable=False),
        sa.Column("guarantee", sa.Integer(), nullable=False),
        sa.Column("memory_overcommit", sa.Double(), nullable=False),
        sa.Column("cpu_overcommit", sa.Double(), nullable=False),
        sa.Column("storm_share", sa.Double(), nullable=False),
        sa.Column("quarantine_losses", sa.Integer(), nullable=False),
        sa.Column("quarantine_window_seconds", sa.Double(), nullable=False),
        sa.Column("quarantine_seconds", sa.Double(), nullable=False),
        sa.Column("migrations_max", sa.Integer(), nullable=False),
        sa.Column("migrations_per_node_max", sa.Integer(), nullable=False),
        sa.Column("starts_max", sa.Integer(), nullable=False),
        sa.Column("rebalance", sa.Boolean(), nullable=False),
        sa.Column("storm_lifted_until", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        **TABLE,
    )
    # One row, there from the start: what operators change they change in it.
    first = {
        "id": 1, "armed": True, "disarmed_by": "", "disarmed_reason": "", "strategy": "fewest-vms", "guarantee": 0,
        "memory_overcommit": 1.0, "cpu_overcommit": 4.0, "storm_share": 0.5, "quarantine_losses": 3,
        "quarantine_window_seconds": 3600.0, "quarantine_seconds": 7200.0, "migrations_max": 2,
        "migrations_per_node_max": 1, "starts_max": 0, "rebalance": False,
    }  # fmt: skip
    op.bulk_insert(settings, [first])


def downgrade() -> None:
    for table in (
        "rollings", "layouts", "settings", "placement_groups", "vms", "tokens", "projects", "plans", "paths",
        "outbox", "nodes", "incidents", "images", "idempotency", "events", "epochs", "endpoints", "audit",
        "actions",
    ):  # fmt: skip
        op.drop_table(table)  # and its indexes
