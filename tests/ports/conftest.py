"""The real Galera cluster of the store's tests: started once, when the first test asks for it."""

from collections.abc import Iterator

import pytest

from app.adapters.db import schema
from tests.ports.galera_members import Galera


@pytest.fixture(scope="session")
def galera_once() -> Iterator[Galera]:
    with Galera() as galera:
        schema.upgrade(galera.members[0].url())
        yield galera


@pytest.fixture
def galera(galera_once: Galera) -> Galera:
    """Three members in sync, their tables as after the first migration."""
    galera_once.wait_synced()
    galera_once.empty()
    return galera_once
