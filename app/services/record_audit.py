"""Write down who asked for which write, and what came of it."""

from collections.abc import Mapping
from datetime import datetime

from app.domain.records import AuditEntry, Token
from app.ports.store import Transaction

_PATH_MAX = 1000


def record_audit(
    tx: Transaction,
    token: Token,
    project_id: int | None,
    request: tuple[str, str],
    status_code: int,
    correlation_id: str,
    details: Mapping[str, str],
    now: datetime,
) -> None:
    """One row. `request` is method and path; a long path is cut: what a client sends must not fill the database."""
    method, path = request
    tx.audit.add(
        AuditEntry(0, now, token.id, project_id, method, path[:_PATH_MAX], status_code, correlation_id, dict(details))
    )
