"""What a fresh cloud needs before anybody can ask it for anything."""

import hashlib
import secrets
from datetime import datetime

from app.domain.errors import Conflict
from app.domain.records import Project, Token
from app.ports.store import Transaction

TOKEN_PREFIX = "hf_"  # noqa: S105  a prefix by which leaked tokens can be found, not a secret


def new_token(tx: Transaction, name: str, scope: str, project_id: int | None, now: datetime) -> str:
    """Make a token and return its text, which is nowhere else: only its hash is stored."""
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    tx.tokens.add(Token(0, name, hashlib.sha256(text.encode()).hexdigest(), scope, project_id, now))
    return text


def bootstrap_cloud(tx: Transaction, now: datetime) -> dict[str, str]:
    """The first project with a token, and an operator's token. Conflict when there is a project already."""
    if tx.projects.where():
        raise Conflict("this cloud has projects already; make tokens with `holdfast token create`")
    project = tx.projects.add(Project(0, "default"))
    return {
        "admin_token": new_token(tx, "first operator", "admin", None, now),
        "project_token": new_token(tx, "first customer", "write", project.id, now),
    }
