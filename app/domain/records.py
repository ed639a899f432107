"""The other nouns that the state holds: what the API shows, what billing receives, who may ask."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Project:
    """A tenant. Limits are counts; 0 means no limit."""

    id: int
    name: str
    vms_max: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, stored as the SHA-256 of its random text.

    `scope`: `read` or `write` (in its project), `admin`, or `metrics` (/metrics and no more).
    """

    id: int
    name: str
    sha256: str
    scope: str
    project_id: int | None
    created: datetime
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the customer API calls server_type: cores, memory in MiB, disk in GiB."""

    id: int
    name: str
    cores: int
    memory_mib: int
    disk_gib: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """A read-only volume to start VMs from. `path` is what its pool's plugin understands.

    `kernel`, `initrd` and `cmdline` are set for images that are booted directly, without a boot loader.
    """

    id: int
    name: str
    pool: str
    path: str
    disk_gib: int
    created: datetime
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    memory_min_mib: int = 0
    os_flavor: str = "unknown"
    os_version: str = ""


class ActionStatus(StrEnum):
    """The three states of a customer's action."""

    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ApiAction:
    """A piece of work that a customer asked for and can follow. `progress` in percent."""

    id: int
    project_id: int
    command: str
    vm_id: int
    status: ActionStatus
    started: datetime
    finished: datetime | None = None
    progress: int = 0
    error_code: str = ""
    error_message: str = ""
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """The answer that an idempotency key was given, kept so that a repeat has no second effect."""

    id: int
    project_id: int
    key: str
    request_sha256: str
    status_code: int
    body: str
    created: datetime


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where events are delivered. `secret` has the prefix whsec_; `events` empty means all."""

    id: int
    url: str
    secret: str
    project_id: int | None = None
    events: tuple[str, ...] = ()
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One event for one endpoint, written in the transaction of what it tells. `webhook_id` never changes."""

    id: int
    endpoint_id: int
    webhook_id: str
    kind: str
    body: str
    created: datetime
    attempts: int = 0
    next_try: datetime | None = None
    delivered_at: datetime | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Epoch:
    """The one row that makes a coordinator: who, since when. `writes` grows with each of its writes."""

    id: int
    epoch: int
    holder: str
    since: datetime | None = None
    writes: int = 0


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """Something an operator wants to read later: path switched, node unhealthy, a copy destroyed, ..."""

    id: int
    at: datetime
    kind: str
    text: str
    node: str = ""
    vm_id: int | None = None
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class NodePath:
    """A storage path as its node last saw it. `latency_ms` is of the last probe that answered."""

    id: int
    node: str
    target: str
    name: str
    up: bool
    active: bool
    changed: datetime
    reason: str = ""
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class FenceCheck:
    """What `checked_from` read last of the devices of `node` for that method. `since`: it works or fails since."""

    id: int
    node: str
    method: str
    checked_from: str
    works: bool
    said: str
    checked_at: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who asked for which write, and what came of it."""

    id: int
    at: datetime
    token_id: int | None
    project_id: int | None
    method: str
    path: str
    status_code: int
    correlation_id: str
    details: dict[str, str] = field(default_factory=dict)
