"""The tables. One class per kind of row; `mapping` turns them into the domain's frozen values and back."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.adapters.db.columns import LONG, double, json_column, later_text, number, text_column, time_column

#: Texts compare as in Python, also on MariaDB: case and trailing spaces count. Ids are never given twice.
_OPTIONS = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_nopad_bin", "sqlite_autoincrement": True}


def _table(*constraints: UniqueConstraint | Index) -> Any:
    return (*constraints, _OPTIONS)


class VmRow(SQLModel, table=True):
    __tablename__ = "vms"
    __table_args__ = _table(UniqueConstraint("project_id", "name", name="vms_name"), Index("vms_node", "node"))
    id: int | None = Field(default=None, primary_key=True)
    name: str
    project_id: int
    plan: str
    cores: int
    memory_mib: int
    disk_gib: int
    image: str
    pool: str
    created: datetime = time_column(nullable=False)
    desired: str
    stop_mode: str
    locked: bool
    node: str | None
    generation: int
    priority: int
    resets_wanted: int
    reset_mode: str
    observed_power: str
    observed_generation: int
    observed_node: str
    observed_verified_at: datetime | None = time_column()
    observed_error: str = text_column()
    observed_resets_done: int
    observed_ended: str
    observed_ends: int
    observed_ends_in_a_row: int
    unplaced_reason: str = text_column()
    incident_id: int | None = Field(default=None, index=True)
    failed_nodes: Any = json_column()
    labels: Any = json_column()
    user_data: str = text_column()
    ha: Any = json_column()
    needs: Any = json_column()
    migrating_to: str | None = Field(default=None, index=True)
    migration: Any = json_column()
    local: bool
    home: str
    correlation_id: str = later_text()


class NodeRow(SQLModel, table=True):
    __tablename__ = "nodes"
    __table_args__ = _table(UniqueConstraint("name", name="nodes_name"))
    id: int | None = Field(default=None, primary_key=True)
    name: str
    address: str
    role: str
    state: str
    memory_mib: int
    cores: int
    rack: str
    maintenance: bool
    watchdog_seconds: float | None = double()
    boot_id: str
    health: str = text_column()
    placements: int
    cpu_models: Any = json_column()
    pools: Any = json_column()
    networks: Any = json_column()
    tags: Any = json_column()
    evacuating: bool
    losses: Any = json_column()
    quarantined_until: datetime | None = time_column()
    leaving: str
    frozen_until: datetime | None = time_column()
    reboot_of: str
    # with defaults in the database, for a version before this one adds nodes without them
    storage_cut: str = Field(sa_column=Column(LONG, nullable=False, server_default="[]"))
    storage_token: int = Field(sa_column=Column(BigInteger(), nullable=False, server_default="0"))
    cleaned: bool = Field(sa_column=Column(Boolean(), nullable=False, server_default="0"))
    condition: str = later_text()
    version: str = later_text()
    upgrade_to: str = later_text()
    database: str = later_text()


class IncidentRow(SQLModel, table=True):
    __tablename__ = "incidents"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    node: str = Field(index=True)
    phase: str = Field(index=True)
    opened_at: datetime = time_column(nullable=False)
    closed_at: datetime | None = time_column()
    proof_method: str | None
    proof_saw: str | None = Field(default=None, sa_column=Column(LONG, nullable=True))
    outcome: str = text_column()
    steps: str = text_column()


class ProjectRow(SQLModel, table=True):
    __tablename__ = "projects"
    __table_args__ = _table(UniqueConstraint("name", name="projects_name"))
    id: int | None = Field(default=None, primary_key=True)
    name: str
    vms_max: int


class TokenRow(SQLModel, table=True):
    __tablename__ = "tokens"
    __table_args__ = _table(UniqueConstraint("sha256", name="tokens_sha256"))
    id: int | None = Field(default=None, primary_key=True)
    name: str
    sha256: str
    scope: str
    project_id: int | None
    created: datetime = time_column(nullable=False)
    expires: datetime | None = time_column()


class PlanRow(SQLModel, table=True):
    __tablename__ = "plans"
    __table_args__ = _table(UniqueConstraint("name", name="plans_name"))
    id: int | None = Field(default=None, primary_key=True)
    name: str
    cores: int
    memory_mib: int
    disk_gib: int
    description: str = text_column()


class ImageRow(SQLModel, table=True):
    __tablename__ = "images"
    __table_args__ = _table(UniqueConstraint("name", name="images_name"))
    id: int | None = Field(default=None, primary_key=True)
    name: str
    pool: str
    path: str = text_column()
    disk_gib: int
    created: datetime = time_column(nullable=False)
    kernel: str = text_column()
    initrd: str = text_column()
    cmdline: str = text_column()
    memory_min_mib: int
    os_flavor: str
    os_version: str


class ActionRow(SQLModel, table=True):
    __tablename__ = "actions"
    __table_args__ = _table(Index("actions_vm", "vm_id", "status"), Index("actions_project", "project_id"))
    id: int | None = Field(default=None, primary_key=True)
    project_id: int
    command: str
    vm_id: int
    status: str
    started: datetime = time_column(nullable=False)
    finished: datetime | None = time_column()
    progress: int
    error_code: str
    error_message: str = text_column()
    correlation_id: str = later_text()


class IdempotencyRow(SQLModel, table=True):
    __tablename__ = "idempotency"
    __table_args__ = _table(UniqueConstraint("project_id", "key", name="idempotency_key"))
    id: int | None = Field(default=None, primary_key=True)
    project_id: int
    key: str
    request_sha256: str
    status_code: int
    body: str = text_column()
    created: datetime = time_column(nullable=False)


class EndpointRow(SQLModel, table=True):
    __tablename__ = "endpoints"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    url: str = text_column()
    secret: str
    project_id: int | None
    events: Any = json_column()
    disabled: bool


class OutboxRow(SQLModel, table=True):
    __tablename__ = "outbox"
    __table_args__ = _table(
        UniqueConstraint("endpoint_id", "webhook_id", name="outbox_webhook_id"),
        Index("outbox_due", "delivered_at", "next_try"),
    )
    id: int | None = Field(default=None, primary_key=True)
    endpoint_id: int
    webhook_id: str
    kind: str
    body: str = text_column()
    created: datetime = time_column(nullable=False)
    attempts: int
    next_try: datetime | None = time_column()
    delivered_at: datetime | None = time_column()
    last_error: str = text_column()


class EpochRow(SQLModel, table=True):
    __tablename__ = "epochs"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    epoch: int
    holder: str
    since: datetime | None = time_column()
    writes: int


class EventRow(SQLModel, table=True):
    __tablename__ = "events"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = time_column(nullable=False)
    kind: str = Field(index=True)
    text: str = text_column()
    node: str
    vm_id: int | None
    correlation_id: str = later_text()


class PathRow(SQLModel, table=True):
    __tablename__ = "paths"
    __table_args__ = _table(UniqueConstraint("node", "target", "name", name="paths_name"))
    id: int | None = Field(default=None, primary_key=True)
    node: str
    target: str
    name: str
    up: bool
    active: bool
    changed: datetime = time_column(nullable=False)
    reason: str = text_column()
    latency_ms: float | None = double()


class FenceCheckRow(SQLModel, table=True):
    __tablename__ = "fence_checks"
    __table_args__ = _table(UniqueConstraint("node", "method", "checked_from", name="fence_checks_name"))
    id: int | None = Field(default=None, primary_key=True)
    node: str
    method: str
    checked_from: str
    works: bool
    said: str = text_column()
    checked_at: datetime = time_column(nullable=False)
    since: datetime = time_column(nullable=False)


class AuditRow(SQLModel, table=True):
    __tablename__ = "audit"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = time_column(nullable=False)
    token_id: int | None
    project_id: int | None
    method: str
    path: str = text_column()
    status_code: int
    correlation_id: str = Field(index=True)
    details: Any = json_column()


class GroupRow(SQLModel, table=True):
    __tablename__ = "placement_groups"
    __table_args__ = _table(UniqueConstraint("project_id", "name", name="placement_groups_name"))
    id: int | None = Field(default=None, primary_key=True)
    project_id: int
    name: str
    kind: str
    domain: str
    labels: Any = json_column()
    created: datetime | None = time_column()


class SettingsRow(SQLModel, table=True):
    __tablename__ = "settings"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    armed: bool
    disarmed_by: str
    disarmed_reason: str = text_column()
    disarmed_at: datetime | None = time_column()
    strategy: str
    guarantee: int
    memory_overcommit: float = number()
    cpu_overcommit: float = number()
    storm_share: float = number()
    quarantine_losses: int
    quarantine_window_seconds: float = number()
    quarantine_seconds: float = number()
    migrations_max: int
    migrations_per_node_max: int
    starts_max: int
    rebalance: bool
    storm_lifted_until: datetime | None = time_column()
    isolated_keep_seconds: float = Field(sa_column=Column(Double(), nullable=False, server_default="300"))
    isolated_then: str = later_text("fence")


class LayoutRow(SQLModel, table=True):
    __tablename__ = "layouts"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    version: int
    name: str
    token_milliseconds: int
    members: Any = json_column()
    next_id: int


class RollingRow(SQLModel, table=True):
    __tablename__ = "rollings"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    state: str
    pending: Any = json_column()
    rebooted: Any = json_column()
    node: str
    step: str
    boot_id: str
    started: datetime | None = time_column()
    since: datetime | None = time_column()
    forced: bool
    said: str = text_column()
    turns: int
    version: str = later_text()


class SchemaFloorRow(SQLModel, table=True):
    """No noun of the domain: see `schema_floor`. It has one row at most."""

    __tablename__ = "schema_floor"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    revision: str
    version: str
