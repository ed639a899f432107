"""Disks that are files, with a libvirtd as Debian configures it: QEMU is not root, and libvirt changes owners."""

import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ports.hypervisor.bench import LibvirtBench, qemu_bench
from tests.ports.hypervisor.daemon import CAPABILITIES, Libvirtd
from tests.ports.hypervisor.guest import Guest

pytestmark = pytest.mark.lab
USER = "libvirt-qemu"


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """One that QEMU's user can enter, which pytest's are not."""
    CAPABILITIES.parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=CAPABILITIES.parent))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def as_debian(open_directory: Path, tmp_path: Path, guest: Guest) -> Iterator[LibvirtBench]:
    for part in (guest.kernel, guest.initrd):
        shutil.copy(part, open_directory)
    here = replace(guest, kernel=open_directory / guest.kernel.name, initrd=open_directory / guest.initrd.name)
    libvirtd = Libvirtd(tmp_path, CAPABILITIES.with_name("test-libvirt-capabilities-as-debian"), user=USER)
    try:
        libvirtd.start()
        bench = qemu_bench(open_directory, libvirtd, here)
        yield bench
        bench.close()
    finally:
        libvirtd.close()


def test_the_end_of_a_copy_takes_its_file_from_nobody(as_debian: LibvirtBench) -> None:
    """A copy that ends late, on a node that comes back, must not take the volume from the one that runs elsewhere."""
    spec = as_debian.spec(17)
    volume = Path(spec.disks[0].path)
    volume.chmod(0o600)
    as_debian.hypervisor.start(spec)
    as_debian.until("guest that writes", lambda: volume.read_bytes().startswith(b"tick "))
    owner = pwd.getpwnam(USER).pw_uid
    assert volume.stat().st_uid == owner
    as_debian.hypervisor.destroy(17, 1)
    assert volume.stat().st_uid == owner
