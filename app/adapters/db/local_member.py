"""How this node's own member of the database is, for `Node.database`: whether another node's may be taken away."""

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.adapters.db.engines import open_engine
from app.adapters.db.faults import short
from app.domain.node import DATABASE_SYNCED

ANSWER_SECONDS = 2
#: Galera's "Galera Status Variables": wsrep_local_state_comment
_STATE = "SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'"


class LocalMember:
    """`url` that of a member on this node, None where there is none."""

    def __init__(self, url: str | None) -> None:
        self._engine = open_engine(url, answer_seconds=ANSWER_SECONDS, pooled=False) if url else None

    def __call__(self) -> str:
        """`synced`; empty where there is no member of Galera here; else how far it is, in Galera's words."""
        if self._engine is None:
            return ""
        try:
            with self._engine.connect() as connection:
                row = connection.execute(text(_STATE)).first()
        except SQLAlchemyError as error:
            return f"not answering ({short(error)[:120]})"
        state = str(row[1]) if row is not None else ""
        return DATABASE_SYNCED if state == "Synced" else state.lower()
