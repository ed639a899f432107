"""The tables. One class per kind of row; `mapping` turns them into the domain's frozen values and back."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT
from sqlmodel import Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC with microseconds. MariaDB's plain DATETIME would cut them off."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """DATETIME(6) on MariaDB."""
        return dialect.type_descriptor(DATETIME(fsp=6) if dialect.name == "mysql" else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Naive times are refused: nobody knows what they mean."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Aware again."""
        return None if value is None else value.replace(tzinfo=UTC)


_LONG = Text().with_variant(LONGTEXT(), "mysql")


def _time(*, nullable: bool = True) -> Any:
    return Field(default=None, sa_column=Column(UtcDateTime(), nullable=nullable))


def _later_text() -> Any:
    """A name that came with a later version: rows of the version before get the default."""
    return Field(default="", sa_column_kwargs={"server_default": text("''")})


def _json() -> Any:
    return Field(default=None, sa_column=Column(JSON(), nullable=False))


def _text() -> Any:
    return Field(default="", sa_column=Column(_LONG, nullable=False))


def _double() -> Any:
    """MariaDB's FLOAT has 24 bits."""
    return Field(default=None, sa_column=Column(Double(), nullable=True))


def _number() -> Any:
    return Field(sa_column=Column(Double(), nullable=False))


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
    created: datetime = _time(nullable=False)
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
    observed_verified_at: datetime | None = _time()
    observed_error: str = _text()
    observed_resets_done: int
    observed_ended: str
    observed_ends: int
    observed_ends_in_a_row: int
    unplaced_reason: str = _text()
    incident_id: int | None = Field(default=None, index=True)
    failed_nodes: Any = _json()
    labels: Any = _json()
    user_data: str = _text()
    ha: Any = _json()
    needs: Any = _json()
    migrating_to: str | None = Field(default=None, index=True)
    migration: Any = _json()
    local: bool
    home: str
    correlation_id: str = _later_text()


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
    watchdog_seconds: float | None = _double()
    boot_id: str
    health: str = _text()
    placements: int
    cpu_models: Any = _json()
    pools: Any = _json()
    networks: Any = _json()
    tags: Any = _json()
    evacuating: bool
    losses: Any = _json()
    quarantined_until: datetime | None = _time()
    leaving: str
    frozen_until: datetime | None = _time()
    reboot_of: str
    # with defaults in the database, for a version before this one adds nodes without them
    storage_cut: str = Field(sa_column=Column(_LONG, nullable=False, server_default="[]"))
    storage_token: int = Field(sa_column=Column(Integer(), nullable=False, server_default="0"))
    cleaned: bool = Field(sa_column=Column(Boolean(), nullable=False, server_default="0"))


class IncidentRow(SQLModel, table=True):
    __tablename__ = "incidents"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    node: str = Field(index=True)
    phase: str = Field(index=True)
    opened_at: datetime = _time(nullable=False)
    closed_at: datetime | None = _time()
    proof_method: str | None
    proof_saw: str | None = Field(default=None, sa_column=Column(_LONG, nullable=True))
    outcome: str = _text()
    steps: str = _text()


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
    created: datetime = _time(nullable=False)
    expires: datetime | None = _time()


class PlanRow(SQLModel, table=True):
    __tablename__ = "plans"
    __table_args__ = _table(UniqueConstraint("name", name="plans_name"))
    id: int | None = Field(default=None, primary_key=True)
    name: str
    cores: int
    memory_mib: int
    disk_gib: int
    description: str = _text()


class ImageRow(SQLModel, table=True):
    __tablename__ = "images"
    __table_args__ = _table(UniqueConstraint("name", name="images_name"))
    id: int | None = Field(default=None, primary_key=True)
    name: str
    pool: str
    path: str = _text()
    disk_gib: int
    created: datetime = _time(nullable=False)
    kernel: str = _text()
    initrd: str = _text()
    cmdline: str = _text()
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
    started: datetime = _time(nullable=False)
    finished: datetime | None = _time()
    progress: int
    error_code: str
    error_message: str = _text()
    correlation_id: str = _later_text()


class IdempotencyRow(SQLModel, table=True):
    __tablename__ = "idempotency"
    __table_args__ = _table(UniqueConstraint("project_id", "key", name="idempotency_key"))
    id: int | None = Field(default=None, primary_key=True)
    project_id: int
    key: str
    request_sha256: str
    status_code: int
    body: str = _text()
    created: datetime = _time(nullable=False)


class EndpointRow(SQLModel, table=True):
    __tablename__ = "endpoints"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    url: str = _text()
    secret: str
    project_id: int | None
    events: Any = _json()
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
    body: str = _text()
    created: datetime = _time(nullable=False)
    attempts: int
    next_try: datetime | None = _time()
    delivered_at: datetime | None = _time()
    last_error: str = _text()


class EpochRow(SQLModel, table=True):
    __tablename__ = "epochs"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    epoch: int
    holder: str
    since: datetime | None = _time()
    writes: int


class EventRow(SQLModel, table=True):
    __tablename__ = "events"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = _time(nullable=False)
    kind: str = Field(index=True)
    text: str = _text()
    node: str
    vm_id: int | None
    correlation_id: str = _later_text()


class PathRow(SQLModel, table=True):
    __tablename__ = "paths"
    __table_args__ = _table(UniqueConstraint("node", "target", "name", name="paths_name"))
    id: int | None = Field(default=None, primary_key=True)
    node: str
    target: str
    name: str
    up: bool
    active: bool
    changed: datetime = _time(nullable=False)
    reason: str = _text()
    latency_ms: float | None = _double()


class FenceCheckRow(SQLModel, table=True):
    __tablename__ = "fence_checks"
    __table_args__ = _table(UniqueConstraint("node", "method", "checked_from", name="fence_checks_name"))
    id: int | None = Field(default=None, primary_key=True)
    node: str
    method: str
    checked_from: str
    works: bool
    said: str = _text()
    checked_at: datetime = _time(nullable=False)
    since: datetime = _time(nullable=False)


class AuditRow(SQLModel, table=True):
    __tablename__ = "audit"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = _time(nullable=False)
    token_id: int | None
    project_id: int | None
    method: str
    path: str = _text()
    status_code: int
    correlation_id: str = Field(index=True)
    details: Any = _json()


class GroupRow(SQLModel, table=True):
    __tablename__ = "placement_groups"
    __table_args__ = _table(UniqueConstraint("project_id", "name", name="placement_groups_name"))
    id: int | None = Field(default=None, primary_key=True)
    project_id: int
    name: str
    kind: str
    domain: str
    labels: Any = _json()
    created: datetime | None = _time()


class SettingsRow(SQLModel, table=True):
    __tablename__ = "settings"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    armed: bool
    disarmed_by: str
    disarmed_reason: str = _text()
    disarmed_at: datetime | None = _time()
    strategy: str
    guarantee: int
    memory_overcommit: float = _number()
    cpu_overcommit: float = _number()
    storm_share: float = _number()
    quarantine_losses: int
    quarantine_window_seconds: float = _number()
    quarantine_seconds: float = _number()
    migrations_max: int
    migrations_per_node_max: int
    starts_max: int
    rebalance: bool
    storm_lifted_until: datetime | None = _time()


class LayoutRow(SQLModel, table=True):
    __tablename__ = "layouts"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    version: int
    name: str
    token_milliseconds: int
    members: Any = _json()
    next_id: int


class RollingRow(SQLModel, table=True):
    __tablename__ = "rollings"
    __table_args__ = _table()
    id: int | None = Field(default=None, primary_key=True)
    state: str
    pending: Any = _json()
    rebooted: Any = _json()
    node: str
    step: str
    boot_id: str
    started: datetime | None = _time()
    since: datetime | None = _time()
    forced: bool
    said: str = _text()
    turns: int
