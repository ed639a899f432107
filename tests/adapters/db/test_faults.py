"""What an error means before and during COMMIT; the real errors are in tests/ports/test_store_galera.py."""

import sqlite3

import pymysql
import pytest
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError

from app.adapters.db.faults import Again, Unreachable, is_duplicate, judge
from app.domain.errors import InvalidInput
from app.ports.store import StoreUnavailable


def maria(code: int, text: str = "text", kind: type[DBAPIError] = OperationalError) -> DBAPIError:
    return kind("SQL", {}, pymysql.MySQLError(code, text))


def lite(text: str) -> DBAPIError:
    return OperationalError("SQL", {}, sqlite3.OperationalError(text))


@pytest.mark.parametrize("error", [maria(1213), lite("database is locked")])
def test_nothing_was_written_before_or_during_commit(error: DBAPIError) -> None:
    assert isinstance(judge(error, committing=False), Again)
    assert isinstance(judge(error, committing=True), Again)


@pytest.mark.parametrize("code", [1205, 1020, 1317])
def test_a_conflict_while_working(code: int) -> None:
    assert isinstance(judge(maria(code), committing=False), Again)


@pytest.mark.parametrize(
    "error",
    [maria(2013), maria(2006), maria(1180), maria(1047), maria(1205), maria(1317), maria(0, "", InterfaceError)],
)
def test_anything_else_during_commit_leaves_the_outcome_open(error: DBAPIError) -> None:
    judged = judge(error, committing=True)
    assert isinstance(judged, StoreUnavailable)
    assert "outcome is unknown" in str(judged)


@pytest.mark.parametrize(
    "error",
    [
        maria(2013), maria(2006), maria(2003), maria(1047), maria(1290), maria(1040), maria(0, "", InterfaceError),
        lite("unable to open database file"), lite("disk I/O error"), lite("database or disk is full"),
        maria(1146, "no table", ProgrammingError),
    ],
)  # fmt: skip
def test_a_database_that_is_no_use_now(error: DBAPIError) -> None:
    assert isinstance(judge(error, committing=False), Unreachable)


def test_a_value_that_does_not_fit() -> None:
    judged = judge(maria(1406, "Data too long for column 'os_flavor' at row 1", DataError), committing=False)
    assert isinstance(judged, InvalidInput)
    assert judged.field == "os_flavor"


def test_a_defect_of_ours_is_not_hidden() -> None:
    wrong_sql = maria(1064, "syntax", ProgrammingError)
    assert judge(wrong_sql, committing=False) is wrong_sql
    assert not is_duplicate(IntegrityError("SQL", {}, pymysql.MySQLError(1048, "cannot be null")))
    assert is_duplicate(IntegrityError("SQL", {}, pymysql.MySQLError(1062, "Duplicate entry")))
