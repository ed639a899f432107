"""A node's files follow the layout, once for each version, whatever happens in between."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.adapters.cluster_files import places
from app.adapters.cluster_files.follow_layout import FollowLayout
from app.adapters.cluster_files.write import write_file
from app.domain.layout import first_layout, with_member
from app.domain.node import NodeRole

ONE = first_layout("rack", "n1", ("10.0.0.1",))
TWO = with_member(ONE, "n2", ("10.0.0.2",), NodeRole.COMPUTE)
THREE = with_member(TWO, "n3", ("10.0.0.3",), NodeRole.COMPUTE)


class Corosync:
    """Counts what it is told, and can be gone."""

    def __init__(self) -> None:
        self.reloads = 0
        self.gone = False

    def __call__(self) -> None:
        self.reloads += 1
        if self.gone:
            raise OSError("killed")


def at(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def test_a_new_version_is_written_and_told_once(tmp_path: Path) -> None:
    corosync = Corosync()
    files = FollowLayout("n1", root=tmp_path, reload=corosync)
    assert [files.apply(ONE), files.apply(TWO), files.apply(TWO), files.apply(ONE)] == [True, True, False, False]
    assert corosync.reloads == 2
    assert "10.0.0.2" in at(tmp_path, places.COROSYNC).read_text()
    assert files.names == {1: "n1", 2: "n2"}
    assert FollowLayout("n1", root=tmp_path, reload=corosync).names == {1: "n1", 2: "n2"}, "a restart knows it"


def test_a_crash_in_the_middle_is_made_good_by_the_next_look(tmp_path: Path) -> None:
    corosync = Corosync()
    corosync.gone = True
    files = FollowLayout("n1", root=tmp_path, reload=corosync)
    with pytest.raises(OSError, match="killed"):
        files.apply(TWO)
    assert not at(tmp_path, places.LAYOUT).exists()
    corosync.gone = False
    assert FollowLayout("n1", root=tmp_path, reload=corosync).apply(TWO)


def test_a_node_that_is_no_member_keeps_its_last_files(tmp_path: Path) -> None:
    files = FollowLayout("n9", root=tmp_path, reload=Corosync())
    assert not files.apply(TWO)
    assert not at(tmp_path, places.COROSYNC).exists()


def test_who_began_with_an_older_layout_does_not_undo_a_newer_one(tmp_path: Path) -> None:
    """The agent and `cluster invite` apply layouts beside each other."""
    corosync = Corosync()
    agent = FollowLayout("n1", root=tmp_path, reload=corosync)
    invite = FollowLayout("n1", root=tmp_path, reload=corosync)
    assert invite.apply(THREE)
    assert not agent.apply(TWO)
    assert "10.0.0.3" in at(tmp_path, places.COROSYNC).read_text()
    assert not agent.apply(THREE)
    assert (corosync.reloads, agent.names) == (1, {1: "n1", 2: "n2", 3: "n3"})


def test_many_who_apply_one_layout_at_once_tell_corosync_once(tmp_path: Path) -> None:
    corosync = Corosync()
    followers = [FollowLayout("n1", root=tmp_path, reload=corosync) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda one: one.apply(TWO), followers)) == [False] * 7 + [True]
    assert corosync.reloads == 1


def test_many_who_write_one_file_leave_one_of_theirs_whole(tmp_path: Path) -> None:
    file = tmp_path / "corosync.conf"
    texts = [f"{n}" * 100_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: [write_file(file, text, 0o644) for _ in range(20)], texts))
    assert file.read_text() in texts
    assert list(tmp_path.iterdir()) == [file]
