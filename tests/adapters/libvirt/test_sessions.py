"""Sessions that are used again, on libvirt's own mock."""

import pytest

from app.adapters.libvirt.session import Patience, Session, Sessions
from app.ports.hypervisor import HypervisorError, HypervisorUnavailable


def _sessions(spare_max: int = 4) -> tuple[Sessions, list[Session]]:
    made: list[Session] = []

    def make() -> Session:
        made.append(Session("test:///default", Patience(), keepalive=False))
        return made[-1]

    return Sessions(make, spare_max), made


def test_one_that_came_back_is_used_again() -> None:
    sessions, made = _sessions()
    for _ in range(3):
        with sessions.own() as session, session.calling("look") as connection:
            assert connection.getURI() == "test:///default"
    assert len(made) == 1
    sessions.close()


def test_two_users_at_once_have_one_each_and_only_so_many_are_kept() -> None:
    sessions, made = _sessions(spare_max=1)
    with sessions.own() as first, sessions.own() as second:
        assert first is not second
        second.connection()
    with sessions.own() as again:
        assert again is second, "the one that came back first is kept"
    with pytest.raises(HypervisorUnavailable):
        first.connection()
    assert len(made) == 2
    sessions.close()


def test_one_that_saw_an_error_is_not_used_again() -> None:
    sessions, made = _sessions()
    with pytest.raises(HypervisorError, match="fail"), sessions.own() as session, session.calling("fail") as connection:
        connection.lookupByName("nobody")
    with sessions.own() as other:
        assert other is not made[0]
    with pytest.raises(HypervisorUnavailable):
        made[0].connection()
    sessions.close()


def test_after_the_close_none_is_kept() -> None:
    sessions, made = _sessions()
    with sessions.own() as session:
        session.connection()
        sessions.close()
    with pytest.raises(HypervisorUnavailable):
        made[0].connection()
