"""What the setup commands need of a running node, imported when one of them runs.

`holdfast vm list` must not wait for SQL, libvirt and the HTTP server only because `holdfast cluster` is a command, too.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from app.config import Config
from app.ports.membership import Membership
from app.ports.storage_heartbeat import StorageHeartbeat

if TYPE_CHECKING:
    from app.adapters.db.store import SqlStore


def build_store(config: Config) -> SqlStore:
    """See `app.bootstrap`."""
    from app.bootstrap import state

    _log_to_stderr()
    return state.build_store(config)


def build_membership(config: Config, *, agent: bool) -> Membership:
    """See `app.bootstrap`."""
    from app.bootstrap import cluster

    _log_to_stderr()
    return cluster.build_membership(config, agent=agent)


def build_heartbeat(config: Config) -> StorageHeartbeat | None:
    """See `app.bootstrap`."""
    from app.bootstrap import cluster

    return cluster.build_heartbeat(config)


def upgrade_database(config: Config) -> tuple[str, ...]:
    """See `app.bootstrap`."""
    from app.bootstrap import state

    return state.upgrade_database(config)


def first_tokens(config: Config) -> dict[str, str]:
    """See `app.bootstrap`."""
    from app.bootstrap import state

    return state.first_tokens(config)


def _log_to_stderr() -> None:
    """What a command prints is its answer, for programs, too: what the parts log does not belong into it."""
    import structlog

    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
