"""A tiny real guest: Debian's cloud kernel and busybox, made once and kept in a cache directory."""

import gzip
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CACHE = Path("/var/cache/holdfast-lab/test-kernel-2")
INIT = Path(__file__).with_name("guest_init.sh")
MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"),
    *("button", "evdev", "pvpanic", "pvpanic-mmio", "virtio_console"),
)
APPLETS = ("sh", "mount", "insmod", "echo", "tr", "grep", "dd", "poweroff", "sleep", "cat", "printf")


@dataclass(frozen=True)
class Guest:
    kernel: Path
    initrd: Path


def build_guest(scratch: Path) -> Guest:
    """The kernel comes from the cache or from apt; the initrd is packed anew, it takes a moment only."""
    if not (CACHE / "complete").exists():
        _fetch_kernel(CACHE)
    root = scratch / "root"
    for directory in ("bin", "m", "proc", "sys", "dev"):
        (root / directory).mkdir(parents=True)
    shutil.copy2("/bin/busybox", root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    for module in (CACHE / "modules").iterdir():
        shutil.copy2(module, root / "m" / module.name)
    shutil.copy2(INIT, root / "init")
    (root / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), capture_output=True, check=True
    )
    initrd = scratch / "initrd.gz"
    initrd.write_bytes(gzip.compress(archive.stdout, 1))
    return Guest(CACHE / "vmlinuz", initrd)


def _fetch_kernel(cache: Path) -> None:
    unpacked = cache / "unpacked"
    shutil.rmtree(cache, ignore_errors=True)
    unpacked.mkdir(parents=True)
    depends = subprocess.run(
        ["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    assert found, depends
    subprocess.run(["apt-get", "-q", "download", found[1]], cwd=cache, check=True, capture_output=True, timeout=200)
    (package,) = cache.glob("*.deb")
    subprocess.run(["dpkg", "-x", str(package), str(unpacked)], check=True)
    shutil.copy2(next((unpacked / "boot").glob("vmlinuz-*")), cache / "vmlinuz")
    (cache / "modules").mkdir()
    for name in MODULES:
        for module in unpacked.rglob(f"{name}.ko"):
            shutil.copy2(module, cache / "modules" / module.name)
    shutil.rmtree(unpacked)
    package.unlink()
    (cache / "complete").touch()
