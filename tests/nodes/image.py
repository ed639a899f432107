"""The disk image of a test node: Debian as mmdebstrap makes it, kept in a cache under the hash of its recipe.

The kernel is Debian's standard one (the cloud flavour lacks i6300esb, ipmi and IPoIB). What boots a node under software
emulation in half a minute instead of a minute: an initramfs with the modules of its disk alone, no services that
nobody uses here, no documentation. Nothing of the product is in the image.
"""

import hashlib
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CACHE = Path("/var/cache/holdfast-nodes")
SIZE = "6G"
#: this machine's Debian
OWN_SUITE = platform.freedesktop_os_release()["VERSION_CODENAME"]
#: grows when `_tune` or the way of building changes: an old image in the cache is then not taken
_RECIPE = 2
#: what any server has
STOCK = (
    "apt", "ca-certificates", "chrony", "dbus", "initramfs-tools", "iproute2", "kmod", "linux-image-amd64",
    "openssh-server", "procps", "systemd-sysv", "udev", "iputils-ping", "curl", "less", "netbase",
)  # fmt: skip
#: what our package depends on or recommends, installed beforehand so that the core of these tests is quick
PREPARED = (
    "bridge-utils", "busybox-static", "corosync", "dlm-controld", "fence-agents", "galera-4", "iptables", "ipmitool",
    "libvirt-clients", "libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-daemon-system", "logrotate", "lvm2",
    "lvm2-lockd", "mariadb-server", "nfs-common", "nftables", "open-iscsi", "python3-libvirt", "qemu-system-x86",
    "qemu-utils", "rsync", "socat", "stunnel4",
)  # fmt: skip
_QUIET_SERVICES = (
    "mariadb", "corosync", "corosync-notifyd", "nftables", "lvmlockd", "lvmlocks", "dlm", "networking",
    "e2scrub_reap", "libvirt-guests", "libvirtd", "iscsid", "open-iscsi", "iscsi", "lvm2-monitor", "rpcbind",
    "nfs-common", "stunnel4",
)  # fmt: skip
_QUIET_SOCKETS = (
    "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket", "virtlogd.socket", "virtlockd.socket",
    "iscsid.socket", "rpcbind.socket", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer",
    "fstrim.timer", "dpkg-db-backup.timer",
)  # fmt: skip
_MASKED = (
    "e2scrub_reap.service", "systemd-binfmt.service", "systemd-pstore.service", "modprobe@drm.service",
    "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "apparmor.service", "systemd-logind.service",
)  # fmt: skip
_MODULES = ["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ext4"]
_EXCLUDES = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True)
class NodeImage:
    """What QEMU boots, and the key that lets ssh in as root."""

    disk: Path
    kernel: Path
    initrd: Path
    key: Path


def node_image(suite: str) -> NodeImage:
    """The image, built if the cache has none: about two minutes.

    The host's apt sources say where from; for a Debian that they do not name, its main archive.
    """
    packages = (*STOCK, *PREPARED)
    recipe = repr((_RECIPE, packages, suite, SIZE, _QUIET_SERVICES, _QUIET_SOCKETS, _MASKED, _MODULES)).encode()
    home = CACHE / f"{suite}-prepared-{hashlib.sha256(recipe).hexdigest()[:12]}"
    image = NodeImage(home / "disk.qcow2", home / "vmlinuz", home / "initrd", home / "id_ed25519")
    if not image.disk.exists():
        _build(home, image, packages, suite)
    return image


def _build(home: Path, image: NodeImage, packages: tuple[str, ...], suite: str) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    root = home / "root"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(image.key)], check=True)
    options = ["--variant=minbase", "--mode=root", f"--include={','.join(packages)}", "--quiet"]
    options += [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDES]
    options += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    # The initramfs is made once, at the end, with its short list of modules.
    hook = 'mkdir -p "$1/etc/initramfs-tools/conf.d" && echo MODULES=list > "$1/etc/initramfs-tools/conf.d/nodes" && '
    hook += f'printf "%s\\n" {" ".join(_MODULES)} >> "$1/etc/initramfs-tools/modules"'
    options += [f"--essential-hook={hook}"]
    log = home / "mmdebstrap.log"
    with log.open("w") as out:
        done = subprocess.run(
            ["mmdebstrap", *options, suite, str(root), *_sources(suite)], stdout=out, stderr=out, check=False
        )
    if done.returncode != 0:
        raise RuntimeError(f"mmdebstrap failed, see {log}: {log.read_text()[-2000:]}")
    _tune(root, image)
    shutil.copyfile(next(iter(sorted((root / "boot").glob("vmlinuz-*")))), image.kernel)
    shutil.copyfile(next(iter(sorted((root / "boot").glob("initrd.img-*")))), image.initrd)
    raw = home / "disk.raw"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(root), str(raw), SIZE], check=True)
    part = image.disk.with_suffix(".part")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(part)], check=True)
    raw.unlink()
    shutil.rmtree(root)
    part.rename(image.disk)


def _sources(suite: str) -> list[str]:
    """The host's own apt sources of that Debian, whatever mirror it uses; not those of others' packages."""
    listed = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    files = [f for f in listed if f.is_file() and f.suffix in (".list", ".sources")]
    return [str(f) for f in files if re.search(rf"(?<![\w-]){suite}(?!\w)", f.read_text(encoding="utf-8"))]


def _tune(root: Path, image: NodeImage) -> None:
    def write(name: str, text: str, mode: int = 0o644) -> None:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)

    chroot = ["chroot", str(root)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    units = [*(f"{s}.service" for s in _QUIET_SERVICES), *_QUIET_SOCKETS]
    for unit in units:
        subprocess.run([*chroot, "systemctl", "disable", unit], check=False, **quiet)  # type: ignore[call-overload]
    subprocess.run([*chroot, "systemctl", "mask", *_MASKED], check=False, **quiet)  # type: ignore[call-overload]
    subprocess.run([*chroot, "systemctl", "enable", "ssh", "systemd-networkd"], check=False, **quiet)  # type: ignore[call-overload]
    write("etc/systemd/journald.conf.d/nodes.conf", "[Journal]\nStorage=persistent\nRuntimeMaxUse=32M\n")
    long = "[Manager]\nDefaultTimeoutStartSec=300s\nDefaultDeviceTimeoutSec=300s\n"
    write("etc/systemd/system.conf.d/nodes.conf", long)
    write("etc/machine-id", "")
    write("etc/ssh/sshd_config.d/nodes.conf", "UseDNS no\nUsePAM no\n")
    write("root/.ssh/authorized_keys", image.key.with_suffix(".pub").read_text(), 0o600)
    (root / "root/.ssh").chmod(0o700)
    hosts = "".join(f"10.77.0.1{n} node{n}\n" for n in range(1, 5))
    write("etc/hosts", f"127.0.0.1 localhost\n{hosts}")
    write("etc/fstab", "/dev/vda / ext4 noatime 0 1\n")
    write("etc/resolv.conf", "")
    # The addresses come with the kernel's command line: systemd-network-generator(8) makes networkd's files of it.
    for listed in (root / "etc/apt/sources.list.d").glob("*"):
        listed.unlink()
    write("etc/apt/sources.list", "")
    write("etc/apt/apt.conf.d/99nodes", 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n')
    for cached in (root / "var/lib/apt/lists").glob("*_*"):
        cached.unlink()
    subprocess.run([*chroot, "update-initramfs", "-u"], check=True, **quiet)  # type: ignore[call-overload]
    subprocess.run([*chroot, "apt-get", "clean"], check=True, **quiet)  # type: ignore[call-overload]
