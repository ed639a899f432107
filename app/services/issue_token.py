"""Make a token. Its text is in the answer and nowhere else."""

import secrets
from datetime import datetime

from app.domain.errors import InvalidInput
from app.domain.records import Token
from app.ports.store import Transaction
from app.services.authenticate import ADMIN, METRICS, SCOPES, sha256_of
from app.services.bootstrap_cloud import TOKEN_PREFIX


def issue_token(
    tx: Transaction, name: str, scope: str, project_id: int | None, expires: datetime | None, now: datetime
) -> tuple[Token, str]:
    """The stored token and its text. InvalidInput for a scope, a project or an expiry that cannot be."""
    if scope not in SCOPES:
        raise InvalidInput("scope", f"must be one of {', '.join(SCOPES)}")
    if scope in (ADMIN, METRICS) and project_id is not None:
        raise InvalidInput("project", f"a token with the scope {scope} belongs to no project: leave it out")
    if scope not in (ADMIN, METRICS) and (project_id is None or tx.projects.get(project_id) is None):
        raise InvalidInput("project", "name the project that this token works in; GET /admin/v1/projects lists them")
    if expires is not None and expires <= now:
        raise InvalidInput("expires", "is in the past")
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return tx.tokens.add(Token(0, name, sha256_of(text), scope, project_id, now, expires)), text
