"""The lab guest as a disk that a BIOS boots, as a distribution's cloud image is: for who follows the guide's last step.

sector 0       MBR with syslinux' boot code
partition 1    FAT: syslinux, the kernel, the initrd
partition 2    raw: the guest's ticks
"""

import subprocess
import tempfile
from pathlib import Path

from app.lab.guest import build
from tests.nodes.rack import run

_BOOT_START, _BOOT_SECTORS = 2048, 64 * 2048
_TICKS_START, _TICKS_SECTORS = _BOOT_START + _BOOT_SECTORS, 64 * 2048
_MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
_SYSLINUX = """DEFAULT guest
PROMPT 0
LABEL guest
  LINUX vmlinuz
  INITRD initrd
  APPEND {cmdline}
"""


def bootable(guest: Path, target: Path, tick_seconds: float) -> None:
    """`guest`: a directory that `build.image` made. `target`: a qcow2."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bootable-") as scratch:
        directory = Path(scratch)
        raw, configuration = directory / "disk.raw", directory / "syslinux.cfg"
        with raw.open("wb") as file:
            file.truncate((_TICKS_START + _TICKS_SECTORS) * build.SECTOR_BYTES)
        table = (
            f"label: dos\nstart={_BOOT_START}, size={_BOOT_SECTORS}, type=6, bootable\nstart={_TICKS_START}, type=da\n"
        )
        subprocess.run(["sfdisk", "-q", str(raw)], input=table, text=True, check=True)
        run("mkfs.vfat", "--offset", str(_BOOT_START), "-F", "16", str(raw), str(_BOOT_SECTORS // 2))
        configuration.write_text(_SYSLINUX.format(cmdline=f"{build.CMDLINE} TICK_SECONDS={tick_seconds:g}"))
        # syslinux starts no ELF file, so here it is the kernel as its package has it.
        kernel = build.kernel_of(build.fetch_kernel(directory))
        start = _BOOT_START * build.SECTOR_BYTES
        for source, name in ((kernel, "vmlinuz"), (guest / "initrd", "initrd"), (configuration, "syslinux.cfg")):
            run("mcopy", "-i", f"{raw}@@{start}", str(source), f"::{name}")
        run("syslinux", "--install", "--offset", str(start), str(raw))
        with raw.open("r+b") as file:
            file.write(_MBR.read_bytes())
        run("qemu-img", "convert", "-q", "-O", "qcow2", str(raw), str(target))
