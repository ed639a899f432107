"""What an error of the database means for the unit of work: again, elsewhere, or nobody knows.

Codes: MariaDB's "Error Code Reference". Galera reports a failed certification and a brute-force abort as 1213,
which promises that nothing of the transaction was replicated.
"""

import re

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from app.domain.errors import InvalidInput
from app.ports.store import StoreUnavailable

_DEADLOCK = 1213
#: deadlock; lock wait time-out; row changed since it was read; statement interrupted
_CONFLICTS = (_DEADLOCK, 1205, 1020, 1317)
_DUPLICATE = 1062
_NO_SUCH_TABLE = 1146
_NO_SUCH_COLUMN = 1054
#: table, column, key: somebody else made it
_EXISTS = (1050, 1060, 1061)


class Again(Exception):
    """Somebody else changed the same: nothing of this was written."""


class Unreachable(Exception):
    """This database does not answer or is not ready, and nothing was committed in it."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def judge(error: DBAPIError, *, committing: bool) -> Exception:
    """What to raise for that error. `committing`: the transaction wrote, and its COMMIT was sent.

    Anything but a deadlock at that point (a connection lost, 1180 from a member that leaves the cluster, a time-out)
    leaves the outcome unknown, and must not run the work a second time.
    """
    code = _code(error)
    if committing:
        if code == _DEADLOCK or _sqlite_busy(error):
            return Again()
        return StoreUnavailable(f"the database went away during COMMIT, the outcome is unknown: {short(error)}")
    if code in _CONFLICTS or _sqlite_busy(error):
        return Again()
    if isinstance(error, DataError):
        return _does_not_fit(error)
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated or code == _NO_SUCH_TABLE:
        return Unreachable(error)
    return error


def is_duplicate(error: IntegrityError) -> bool:
    """True when a unique key was hit; any other integrity error is a defect of ours."""
    return _code(error) == _DUPLICATE or "UNIQUE constraint failed" in str(error.orig)


def short(error: Exception | None) -> str:
    """The database's own words, one line."""
    cause = getattr(error, "orig", None) or error
    text = str(cause).splitlines()[0][:300] if cause and str(cause) else "unknown"
    return f"{text}: run `holdfast db upgrade`" if isinstance(error, DBAPIError) and _missing(error, text) else text


def exists_already(error: DBAPIError) -> bool:
    """What a statement was to make is there."""
    return _code(error) in _EXISTS or any(w in str(error.orig) for w in ("already exists", "duplicate column name"))


def _missing(error: DBAPIError, text: str) -> bool:
    by_code = _code(error) in (_NO_SUCH_TABLE, _NO_SUCH_COLUMN)
    return by_code or any(words in text for words in ("no such table", "no such column"))


def _code(error: DBAPIError) -> object:
    return error.orig.args[0] if error.orig is not None and error.orig.args else None


def _sqlite_busy(error: DBAPIError) -> bool:
    return isinstance(error, OperationalError) and "database is locked" in str(error.orig)


def _does_not_fit(error: DataError) -> Exception:
    found = re.search(r"column '?([A-Za-z_.`]+)", str(error.orig))
    field = found.group(1).strip("`").rpartition(".")[2] if found else "?"
    return InvalidInput(field, f"{field} is too long or too large to be stored")
