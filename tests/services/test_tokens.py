"""Who may come in."""

from datetime import datetime, timedelta

import pytest

from app.adapters.sim.store import MemoryStore
from app.domain.errors import Conflict, InvalidInput, NotFound
from app.domain.records import Project
from app.services.authenticate import authenticate, project_of, require_operator
from app.services.bootstrap_cloud import bootstrap_cloud
from app.services.issue_token import issue_token
from app.services.refusals import Forbidden, TokenReadonly, Unauthorized
from app.services.revoke_token import revoke_token
from tests.domain.make import WHEN

SOON = WHEN + timedelta(minutes=5)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.run(lambda tx: [tx.projects.add(Project(0, name)) for name in ("shop", "other")])
    return made


def _issue(store: MemoryStore, scope: str, project_id: int | None, expires: datetime | None = None) -> str:
    return store.run(lambda tx: issue_token(tx, scope, scope, project_id, expires, WHEN))[1]


def test_a_token_is_let_in_by_its_text_and_stored_by_its_hash(store: MemoryStore) -> None:
    text = _issue(store, "write", 1)
    token = store.run(lambda tx: authenticate(tx, text, WHEN, writes=True))
    assert (token.scope, token.project_id) == ("write", 1)
    assert text.startswith("hf_")
    assert text not in str(store.run(lambda tx: tx.tokens.where()))


@pytest.mark.parametrize("text", ["", "hf_", "hf_nonsense", "' or 1=1 --", "ü" * 40])
def test_others_are_not(store: MemoryStore, text: str) -> None:
    _issue(store, "write", 1)
    with pytest.raises(Unauthorized):
        store.run(lambda tx: authenticate(tx, text, WHEN, writes=False))


def test_a_token_ends_at_its_time(store: MemoryStore) -> None:
    text = _issue(store, "write", 1, SOON)
    store.run(lambda tx: authenticate(tx, text, SOON - timedelta(microseconds=1), writes=True))
    with pytest.raises(Unauthorized):
        store.run(lambda tx: authenticate(tx, text, SOON, writes=True))


def test_a_token_that_reads_does_not_write(store: MemoryStore) -> None:
    text = _issue(store, "read", 1)
    store.run(lambda tx: authenticate(tx, text, WHEN, writes=False))
    with pytest.raises(TokenReadonly):
        store.run(lambda tx: authenticate(tx, text, WHEN, writes=True))


def test_only_operators_are_operators(store: MemoryStore) -> None:
    operator, customer = _issue(store, "admin", None), _issue(store, "write", 1)
    require_operator(store.run(lambda tx: authenticate(tx, operator, WHEN, writes=True)))
    with pytest.raises(Forbidden):
        require_operator(store.run(lambda tx: authenticate(tx, customer, WHEN, writes=True)))


def test_a_customer_is_in_its_own_project_and_an_operator_in_the_one_it_names(store: MemoryStore) -> None:
    def project(text: str, wanted: str) -> str:
        return store.run(lambda tx: project_of(tx, authenticate(tx, text, WHEN, writes=False), wanted).name)

    customer, operator = _issue(store, "write", 1), _issue(store, "admin", None)
    assert [project(customer, w) for w in ("", "shop", "1")] == ["shop"] * 3
    assert [project(operator, w) for w in ("shop", "2")] == ["shop", "other"]
    for text, wanted in ((customer, "other"), (customer, "2"), (operator, ""), (operator, "none"), (operator, "9")):
        with pytest.raises(Forbidden):
            project(text, wanted)


@pytest.mark.parametrize(
    ("scope", "project_id", "expires", "field"),
    [
        ("root", None, None, "scope"),
        ("admin", 1, None, "project"),
        ("write", None, None, "project"),
        ("read", 9, None, "project"),
        ("read", 1, WHEN, "expires"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(
    store: MemoryStore, scope: str, project_id: int | None, expires: datetime | None, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        _issue(store, scope, project_id, expires)
    assert refused.value.field == field


def test_the_last_operator_cannot_be_locked_out() -> None:
    store = MemoryStore()
    store.run(lambda tx: bootstrap_cloud(tx, WHEN))
    (first,) = store.run(lambda tx: tx.tokens.where(scope="admin"))
    with pytest.raises(Conflict, match="last operator"):
        store.run(lambda tx: revoke_token(tx, first.id, SOON))
    store.run(lambda tx: issue_token(tx, "second", "admin", None, None, WHEN))
    store.run(lambda tx: revoke_token(tx, first.id, SOON))
    with pytest.raises(NotFound):
        store.run(lambda tx: revoke_token(tx, first.id, SOON))


def test_an_operators_token_that_has_expired_does_not_count() -> None:
    store = MemoryStore()
    store.run(lambda tx: bootstrap_cloud(tx, WHEN))
    store.run(lambda tx: issue_token(tx, "short", "admin", None, SOON, WHEN))
    (first, _) = store.run(lambda tx: tx.tokens.where(scope="admin"))
    with pytest.raises(Conflict, match="last operator"):
        store.run(lambda tx: revoke_token(tx, first.id, SOON))
