"""The detector must be able to fail: it finds two real copies on one disk, and nothing after an orderly hand-over."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.lab import double_writes
from app.lab.guest import build
from app.lab.paths import CACHE
from app.lab.wait import wait_until

SECTOR = double_writes.SECTOR


def _disk(*records: tuple[int, str, int, int, int], violations: tuple[str, ...] = ()) -> bytes:
    """(generation, boot, slot, tick, time)"""
    data = bytearray(1 << 24)

    def put(sector: int, text: str) -> None:
        data[sector * SECTOR : sector * SECTOR + len(text)] = text.encode()

    for generation, boot, slot, tick, seconds in records:
        sector = double_writes.FIRST_REGION_SECTOR + (generation - 1) * double_writes.REGION_SECTORS + slot
        put(sector, f"HFTICK1 vm=7 gen={generation} node=n{generation} boot={boot} tick={tick} time={seconds}\n")
    for number, text in enumerate(violations, start=1):
        put(number, text)
    return bytes(data)


def test_an_empty_disk_has_no_runs() -> None:
    report = double_writes.analyse(bytes(1 << 20))
    assert (report.runs, report.double_writes, report.latest_tick) == ((), 0, 0)


def test_one_generation_after_the_other_is_fine() -> None:
    report = double_writes.analyse(
        _disk((1, "a", 0, 1, 100), (1, "a", 1, 2, 105), (2, "b", 0, 1, 105), (2, "b", 1, 2, 109))
    )
    assert report.double_writes == 0
    assert [(run.generation, run.node, run.first_seconds, run.last_seconds, run.ticks) for run in report.runs] == [
        (1, "n1", 100, 105, 2),
        (2, "n2", 105, 109, 2),
    ]
    assert report.latest_tick == 2


@pytest.mark.parametrize(
    "second",
    [
        [(2, "b", 0, 1, 103), (2, "b", 1, 2, 104)],  # inside the first
        [(2, "b", 0, 1, 104), (2, "b", 1, 2, 120)],  # begins before the first ends
        [(2, "b", 0, 1, 104)],  # a single tick in the middle
        [(1, "c", 2, 1, 101), (1, "c", 3, 2, 108)],  # the same generation twice
    ],
)
def test_runs_that_overlap_are_found(second: list[tuple[int, str, int, int, int]]) -> None:
    report = double_writes.analyse(_disk((1, "a", 0, 1, 100), (1, "a", 1, 2, 105), *second))
    assert len(report.overlaps) == 1
    assert report.double_writes == 1


def test_an_old_generation_that_writes_after_a_newer_one_is_found() -> None:
    report = double_writes.analyse(_disk((2, "b", 0, 1, 100), (2, "b", 1, 2, 102), (1, "a", 0, 1, 110)))
    assert report.double_writes == 1


def test_a_reboot_in_one_generation_is_fine() -> None:
    report = double_writes.analyse(_disk((1, "a", 0, 1, 100), (1, "b", 1, 2, 103), (1, "b", 2, 3, 104)))
    assert (len(report.runs), report.double_writes, report.latest_tick) == (2, 0, 3)


def test_violations_and_corruption_count() -> None:
    report = double_writes.analyse(_disk(violations=("HFVIOL1 vm=7 gen=2 saw=gen:1",)), corruptions=2)
    assert report.double_writes == 3


def test_torn_and_foreign_sectors_are_skipped() -> None:
    data = bytearray(_disk((1, "a", 0, 1, 100)))
    data[70 * SECTOR : 70 * SECTOR + 20] = b"HFTICK1 vm=7 gen=1 n"
    data[72 * SECTOR + 9 : 72 * SECTOR + 17] = b"HFTICK1 "
    assert [run.ticks for run in double_writes.analyse(bytes(data)).runs] == [1]


@contextmanager
def _guest(disk: Path, form: str, generation: int, node: str, image: Path) -> Iterator[Path]:
    """A real QEMU without any image lock. Gives its console file."""
    console = disk.with_name(f"{node}-{generation}.console")
    console.unlink(missing_ok=True)
    smbios = f"type=11,value=holdfast.vm=7,value=holdfast.generation={generation},value=holdfast.node={node}"
    command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", str(build.MEMORY_MIB_MIN)]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-kernel", str(image / "vmlinuz")]
    command += ["-initrd", str(image / "initrd"), "-append", build.CMDLINE, "-smbios", smbios]
    command += ["-serial", f"file:{console}", "-drive", f"file={disk},format={form},if=virtio,file.locking=off"]
    process = subprocess.Popen(command)
    try:
        yield console
    finally:
        process.kill()
        process.wait()


def _wait_for_ticks(console: Path, count: int) -> None:
    wait_until(
        lambda: console.exists() and console.read_text(errors="replace").count("HOLDFAST-TICK ") >= count,
        60,
        f"{count} ticks on {console}",
    )


def _wait_for_next_second() -> None:
    """The guest's clock has whole seconds: an orderly hand-over within one second is no proof either way."""
    now = int(time.time())
    wait_until(lambda: int(time.time()) > now, 3, "the next second")


@pytest.mark.lab
def test_two_real_copies_on_one_disk_are_found(tmp_path: Path) -> None:
    image = build.image(CACHE)
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(build.DISK_MIB << 20)
    with _guest(disk, "raw", 1, "n1", image) as one, _guest(disk, "raw", 2, "n2", image) as two:
        _wait_for_ticks(one, 8)
        _wait_for_ticks(two, 8)
    report = double_writes.inspect_volume(disk)
    assert {(run.generation, run.node) for run in report.runs} == {(1, "n1"), (2, "n2")}
    assert len(report.overlaps) == 1
    assert report.violations, "the guests did not notice each other's head"
    assert report.double_writes > 1


@pytest.mark.lab
def test_one_real_copy_after_the_other_is_fine(tmp_path: Path) -> None:
    image = build.image(CACHE)
    disk = tmp_path / "disk.qcow2"
    base = image / "disk.raw"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, disk], check=True)
    for generation, node in ((1, "n1"), (2, "n2"), (2, "n2")):
        with _guest(disk, "qcow2", generation, node, image) as console:
            _wait_for_ticks(console, 4)
            in_use = double_writes.inspect_volume(disk)
        assert in_use.double_writes == 0
        _wait_for_next_second()
    report = double_writes.inspect_volume(disk)
    assert [(run.generation, run.node) for run in report.runs] == [(1, "n1"), (2, "n2"), (2, "n2")]
    assert report.double_writes == 0
    assert report.latest_tick >= 8, "the third boot went on behind the second"
