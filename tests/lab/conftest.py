"""A lab of its own for each test module that asks for one; whatever happens it is taken down."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from app.lab.cluster import Lab

LabFactory = Callable[[str], Lab]


@pytest.fixture(scope="module")
def new_lab() -> Iterator[LabFactory]:
    """Make labs by a short name; names carry the process id so that two test runs do not meet."""
    labs: list[Lab] = []

    def make(name: str) -> Lab:
        lab = Lab(f"{name}{os.getpid() % 46656:x}"[:8])
        labs.append(lab)
        lab.down()  # what a killed run of the same name left
        return lab

    yield make
    for lab in labs:
        lab.down()
