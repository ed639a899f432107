"""Build the guest image directory: vmlinuz, initrd, an empty base disk, and image.toml that describes them.

The kernel is Debian's own package, fetched and unpacked by apt and dpkg, not installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from app.adapters.cluster_files.toml_text import to_toml
from app.lab.errors import LabError

NAME = "lab-guest"
METAPACKAGE = "linux-image-cloud-amd64"
DISK_MIB = 64
# Loaded in this order: each one's symbols come from those before it.
DISK_MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
POWER_MODULES = ("button", "evdev", "pvpanic", "pvpanic-mmio")
BUSYBOX = Path("/bin/busybox")
APPLETS = ("sh", "mount", "insmod", "tr", "dd", "wc", "sleep", "mkfifo", "poweroff")
# Parts of the kernel that the guest has no use for. Under emulation they cost a third of the instructions of a boot:
# the tracer alone looks up the names of 45,000 functions, and the first user of BTF reads all of it.
_NOT_WANTED = (
    "init_kprobe_trace", "crypto_kdf108_init", "cubictcp_register", "load_system_certificate_list", "slab_sysfs_init",
    "i8042_init", "add_pcspkr", "init_encrypted", "ksm_init", "init_trace_printk_function_export",
    "ftrace_check_for_weak_functions", "trace_eval_init", "init_acpi_pm_clocksource", "bpf_rstat_kfunc_init",
    "bpf_prog_test_run_init", "kfunc_init", "bpf_key_sig_kfuncs_init", "bpf_tcp_ca_kfunc_init",
    "tracer_init_tracefs",
)  # fmt: skip
# `virsh inject-nmi` makes it panic, which a test can do at any moment (unknown_nmi_panic).
# What takes time or luck under software emulation is off: timer check, address randomisation, mitigations, self-tests
# of ciphers (0.4 s), interrupt routing by ACPI's byte code instead of the BIOS' table (0.5 s), patching out of locks.
CMDLINE = (
    "console=ttyS0 quiet nokaslr mitigations=off random.trust_cpu=on no_timer_check tsc=reliable"
    " 8250.nr_uarts=1 nowatchdog audit=0 rcupdate.rcu_expedited=1 panic=1 unknown_nmi_panic"
    " cryptomgr.notests=1 acpi=noirq pci=nomsi noreplace-smp ipv6.disable=1"
    f" initcall_blacklist={','.join(_NOT_WANTED)}"
)
MEMORY_MIB_MIN = 96  # 64 does not boot
SECTOR_BYTES = 512
_UNPACK = {b"\x02\x21\x4c\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz", b"\x1f\x8b": "gzip"}
_INIT = Path(__file__).with_name("init")


def image(cache: Path) -> Path:
    """The image directory in the cache, built once per version of its parts."""
    parts = (
        _INIT.read_bytes(),
        BUSYBOX.read_bytes(),
        CMDLINE.encode(),
        repr((APPLETS, DISK_MODULES, POWER_MODULES, "unpacked")).encode(),
    )
    tag = hashlib.sha256(b"".join(parts)).hexdigest()[:12]
    directory = cache / f"{NAME}-{tag}"
    if not directory.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = directory.with_name(f"{directory.name}.{os.getpid()}")
        temporary.mkdir()
        try:
            _build(temporary)
            temporary.rename(directory)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            if not directory.is_dir():  # else: another lab was faster
                raise
    return directory


def _build(directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="holdfast-guest-") as scratch:
        kernel_tree = fetch_kernel(Path(scratch))
        (directory / "vmlinuz").write_bytes(unpacked(kernel_of(kernel_tree).read_bytes()))
        _pack_initrd(Path(scratch) / "initrd", kernel_tree, directory / "initrd")
    with (directory / "disk.raw").open("wb") as disk:
        disk.truncate(DISK_MIB << 20)
    (directory / "image.toml").write_text(describe())


def describe() -> str:
    """image.toml: files are relative to it; memory in MiB."""
    return to_toml(
        {
            "image": {
                "name": NAME,
                "description": "counts ticks on its console and its disk",
                "kernel": "vmlinuz",
                "initrd": "initrd",
                "cmdline": CMDLINE,
                "disk": "disk.raw",
                "disk_format": "raw",
                "disk_mib": DISK_MIB,
                "memory_mib_min": MEMORY_MIB_MIN,
            }
        }
    )


def _run(argv: list[str], directory: Path) -> str:
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip()[-1000:]}")
    return done.stdout


def kernel_of(tree: Path) -> Path:
    """The bzImage in an unpacked kernel package."""
    (vmlinuz,) = (tree / "boot").glob("vmlinuz-*")
    return vmlinuz


def fetch_kernel(scratch: Path) -> Path:
    """Download the package that the metapackage stands for and unpack it. Returns the tree."""
    depends = _run(["apt-cache", "depends", METAPACKAGE], scratch)
    found = re.search(r"Depends:\s*(linux-image-\S+-cloud-amd64)", depends)
    if found is None:
        raise LabError(f"apt knows no kernel behind {METAPACKAGE}; run `apt-get update` first")
    # apt's download user cannot write here, so it complains and goes on as root: harmless
    _run(["apt-get", "download", "-q", found.group(1)], scratch)
    (package,) = scratch.glob("linux-image-*.deb")
    _run(["dpkg", "-x", str(package), "tree"], scratch)
    return scratch / "tree"


def unpacked(bz_image: bytes) -> bytes:
    """The ELF kernel inside of a bzImage: QEMU starts it directly (PVH), and no guest has to unpack it: 0.3 s each.

    Layout: Linux, Documentation/arch/x86/boot.rst, setup_sects and payload_offset. A payload that nothing here can
    unpack leaves the bzImage as it is, which boots as well.
    """
    setup_bytes = (bz_image[0x1F1] or 4) * SECTOR_BYTES + SECTOR_BYTES
    offset, length = struct.unpack_from("<II", bz_image, 0x248)
    payload = bz_image[setup_bytes + offset : setup_bytes + offset + length]
    tool = next((tool for magic, tool in _UNPACK.items() if payload.startswith(magic)), "")
    if not tool or shutil.which(tool) is None:
        return bz_image
    # the last 4 bytes are the unpacked size, added by the kernel's build: some tools complain about them
    done = subprocess.run([tool, "-dc"], input=payload[:-4], capture_output=True, check=False)
    return done.stdout if done.stdout.startswith(b"\x7fELF") else bz_image


def _pack_initrd(tree: Path, kernel_tree: Path, target: Path) -> None:
    """Uncompressed: unpacking gzip costs more under emulation than reading 2 MB."""
    for name in ("bin", "proc", "sys", "dev", "m"):
        (tree / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, tree / "bin/busybox")
    for applet in APPLETS:
        (tree / "bin" / applet).symlink_to("busybox")
    for module in (*DISK_MODULES, *POWER_MODULES):
        found = sorted(kernel_tree.rglob(f"{module}.ko*"))
        if not found or found[0].suffix != ".ko":
            raise LabError(f"the kernel package has no plain module {module}.ko")
        shutil.copyfile(found[0], tree / "m" / found[0].name)
    shutil.copyfile(_INIT, tree / "init")
    (tree / "init").chmod(0o755)
    names = ["."] + [str(path.relative_to(tree)) for path in sorted(tree.rglob("*"))]
    packed = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet", "--owner=0:0"],
        cwd=tree,
        input="\n".join(names).encode() + b"\n",
        capture_output=True,
        check=True,
    )
    target.write_bytes(packed.stdout)
