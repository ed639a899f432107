"""A node leaves for good: what goes from its disk, and what stays."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.adapters.cluster_files import places
from app.bootstrap.state import build_store, upgrade_database
from app.config import Config, DatabaseSection, NodeSection
from app.domain.errors import Conflict
from app.domain.layout import Layout, first_layout, with_member
from app.domain.node import NodeRole
from app.setup.machine import Machine
from app.setup.members import leave_steps
from app.setup.steps import Progress, run_steps

ALONE = first_layout("rack", "n1", ("10.0.0.1",))
TWO = with_member(ALONE, "n2", ("10.0.0.2",), NodeRole.COMPUTE)
TABLE = places.DATABASE_COPY[0] / "vms.ibd"
FILES = (places.COROSYNC, places.CONFIG, places.NODE_KEY, places.GALERA, TABLE)
VOLUME = Path("/srv/holdfast/local/volumes/vm-1-0.qcow2")


class Node:
    """n1, a member by that layout."""

    def __init__(self, directory: Path, layout: Layout) -> None:
        url = f"sqlite:///{directory}/state.db"
        self.config = Config(node=NodeSection(name="n1"), database=DatabaseSection(urls=(url,)))
        upgrade_database(self.config)
        store = build_store(self.config)
        store.run(lambda tx: tx.layouts.add(layout))
        store.close()
        self.ran: list[str] = []
        self.machine = Machine(directory / "root", self._run)
        for path in (*FILES, VOLUME):
            self.machine.write(path, "x")

    def _run(self, argv: Sequence[str], _given: bytes) -> subprocess.CompletedProcess[bytes]:
        self.ran.append(" ".join(argv))
        return subprocess.CompletedProcess(argv, 0, b"", b"")

    def leave(self) -> None:
        """What the command does."""
        run_steps(list(leave_steps(self.config, self.machine)), Progress())

    def left(self) -> list[Path]:
        """Which files are still there."""
        return [path for path in (*FILES, VOLUME) if self.machine.read(path) is not None]


def test_keys_and_the_copy_of_the_state_go_and_volumes_stay(tmp_path: Path) -> None:
    node = Node(tmp_path, TWO)
    node.leave()
    assert node.left() == [VOLUME]
    assert [r.split()[-1] for r in node.ran] == ["holdfast-agent", "holdfast-api", "corosync", "mariadb"]


def test_the_last_one_is_refused_before_anything_is_stopped(tmp_path: Path) -> None:
    node = Node(tmp_path, ALONE)
    with pytest.raises(Conflict, match="n1 is the last node: to end the cluster purge the package instead"):
        node.leave()
    assert node.ran == []
    assert len(node.left()) == len(FILES) + 1
