"""Prove from the guests' disks that no two copies of a VM ever wrote at the same time.

The lab guest (app/lab/guest/init) owns the layout, in sectors of 512 bytes, each a line of text padded with NUL:
sector 0 is the head (who wrote last), 1..63 are violations the guests saw themselves, from 64 on there is one region
of 4096 sectors per generation with one record per tick. A *run* is one boot of one copy. `time` is the host's clock,
read from the RTC, in whole seconds, so two runs overlap for certain when one's last second is later than the
other's first.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.lab.errors import LabError

SECTOR = 512
FIRST_REGION_SECTOR = 64
REGION_SECTORS = 4096
REGIONS_MAX = 31


@dataclass(frozen=True)
class Record:
    """One tick, as its guest wrote it. `slot`: its place on the disk, which is the order of writing in a run."""

    vm: str
    generation: int
    node: str
    boot: str
    tick: int
    time_seconds: int
    slot: int


@dataclass(frozen=True)
class Run:
    """One boot of one copy: `generation` may have several (the guest rebooted), never two at a time."""

    vm: str
    generation: int
    node: str
    boot: str
    first_seconds: int
    last_seconds: int
    ticks: int
    last_tick: int


@dataclass(frozen=True)
class DiskReport:
    """`overlaps`: runs alive at the same time. `violations`: what guests saw. `corruptions`: by qemu-img check."""

    vm: str
    runs: tuple[Run, ...]
    overlaps: tuple[tuple[Run, Run], ...]
    violations: tuple[str, ...]
    corruptions: int

    @property
    def double_writes(self) -> int:
        """0 is the only good number."""
        return len(self.overlaps) + len(self.violations) + self.corruptions

    @property
    def latest_tick(self) -> int:
        """The tick counter of the newest run; 0 when nothing was ever written."""
        return max(self.runs, key=lambda run: (run.generation, run.last_seconds)).last_tick if self.runs else 0


def inspect_volume(path: Path) -> DiskReport:
    """Read a raw or qcow2 volume, also one in use. Its backing file is left out: the guest image's disk is empty.

    Errors: LabError when qemu-img cannot read it.
    """
    form = _format(path)
    layer: dict[str, object] = {"driver": form, "file": {"driver": "file", "filename": str(path)}}
    if form == "qcow2":
        layer["backing"] = None
    source = "json:" + json.dumps(layer)
    with tempfile.TemporaryDirectory(prefix="holdfast-disk-") as directory:
        raw = Path(directory) / "disk.raw"
        _qemu_img("convert", "-U", "-O", "raw", source, str(raw))
        with raw.open("rb") as disk:
            # a big volume is empty behind its last region
            data = disk.read((FIRST_REGION_SECTOR + REGIONS_MAX * REGION_SECTORS) * SECTOR)
    return analyse(data, corruptions=_corruptions(source) if form == "qcow2" else 0)


def _format(path: Path) -> str:
    """By its magic bytes: probing raw data of guests by name or content is how images escape."""
    with path.open("rb") as volume:
        return "qcow2" if volume.read(4) == b"QFI\xfb" else "raw"


def _qemu_img(*arguments: str, allowed: Sequence[int] = (0,)) -> str:
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
    if done.returncode not in allowed:
        raise LabError(f"qemu-img {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _corruptions(source: str) -> int:
    """Leaks are no corruption; a killed QEMU leaves some. Exit codes: qemu-img(1), check."""
    report = json.loads(_qemu_img("check", "-U", "--output=json", source, allowed=(0, 2, 3)))
    return int(report.get("corruptions", 0))


def analyse(data: bytes, corruptions: int = 0) -> DiskReport:
    """`data`: the whole raw disk."""
    records, violations = parse(data)
    runs = _runs(records)
    overlaps = [(a, b) for i, a in enumerate(runs) for b in runs[i + 1 :] if _overlap(a, b)]
    name = runs[0].vm if runs else ""
    return DiskReport(name, tuple(runs), tuple(overlaps), tuple(violations), corruptions)


def parse(data: bytes) -> tuple[list[Record], list[str]]:
    """All tick records and all violation lines of a raw disk. Sectors that hold neither are skipped."""
    violations = []
    for sector in range(1, min(FIRST_REGION_SECTOR, len(data) // SECTOR)):
        text = _text(data, sector)
        if text.startswith("HFVIOL1 "):
            violations.append(text)
    records = []
    # find() hops over the empty parts of the disk in C
    position = data.find(b"HFTICK1 ", FIRST_REGION_SECTOR * SECTOR)
    while position >= 0:
        if position % SECTOR == 0:
            record = _record(_text(data, position // SECTOR), position // SECTOR)
            if record is not None:
                records.append(record)
        position = data.find(b"HFTICK1 ", position + 1)
    return records, violations


def _text(data: bytes, sector: int) -> str:
    return data[sector * SECTOR : (sector + 1) * SECTOR].rstrip(b"\0\n").decode("ascii", "replace")


def _record(text: str, slot: int) -> Record | None:
    pairs = dict(word.partition("=")[::2] for word in text.split()[1:])
    try:
        return Record(
            vm=pairs["vm"],
            generation=int(pairs["gen"]),
            node=pairs["node"],
            boot=pairs["boot"],
            tick=int(pairs["tick"]),
            time_seconds=int(pairs["time"]),
            slot=slot,
        )
    except (KeyError, ValueError):
        return None  # a torn sector: the write of the last tick before a power cut


def _runs(records: list[Record]) -> list[Run]:
    """Sorted by their beginning."""
    groups: dict[tuple[int, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.generation, record.boot), []).append(record)
    runs = []
    for (generation, boot), group in groups.items():
        times = [record.time_seconds for record in group]
        runs.append(
            Run(
                vm=group[0].vm,
                generation=generation,
                node=group[0].node,
                boot=boot,
                first_seconds=min(times),
                last_seconds=max(times),
                ticks=len(group),
                last_tick=max(record.tick for record in group),
            )
        )
    return sorted(runs, key=lambda run: (run.first_seconds, run.last_seconds))


def _overlap(a: Run, b: Run) -> bool:
    return (a.first_seconds < b.last_seconds and b.first_seconds < a.last_seconds) or _swapped(a, b)


def _swapped(a: Run, b: Run) -> bool:
    """A copy of an older generation that began to write after a newer one did: stale, even if nothing overlaps."""
    older, newer = (a, b) if a.generation <= b.generation else (b, a)
    return older.generation != newer.generation and older.last_seconds > newer.first_seconds
