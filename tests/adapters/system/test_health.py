"""A directory that only looks like the pool is no pool."""

from pathlib import Path

from app.adapters.system.health import DiskCheck, pool_directories


def test_a_mount_point_where_nothing_is_mounted_is_told(tmp_path: Path) -> None:
    pools, holding = pool_directories([("shared", "file", {"path": str(tmp_path)})])
    check = DiskCheck(pools, holding)
    assert check() == (f"pool shared: there is no {tmp_path}/images, is it mounted?",)
    (tmp_path / "images").mkdir()
    assert check() == ()


def test_another_drivers_directory_may_look_as_it_likes(tmp_path: Path) -> None:
    pools, holding = pool_directories([("theirs", "other", {"path": str(tmp_path)}), ("ceph", "ceph", {"user": "x"})])
    assert list(pools) == ["pool theirs"]
    assert DiskCheck(pools, holding)() == ()


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    assert DiskCheck({"state directory": tmp_path / "gone"})() == ("state directory: No such file or directory",)


def test_a_directory_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    """As a stale NFS handle is."""
    assert DiskCheck({"pool shared": tmp_path / ("x" * 300)})() == ("pool shared: File name too long",)
