"""What all nodes of a rack share: a directory by NFS, and disks by iSCSI or as a shared SCSI disk of their machines."""

import subprocess
from pathlib import Path

from tests.nodes.machine import Machine, until
from tests.nodes.rack import Rack, run

#: on the nodes
POOL = Path("/srv/holdfast/shared")
SERVER = "10.77.1.1"
IQN = "iqn.2026-01.example.holdfast.rack:lun"
_NFS_PORT, _ISCSI_PORT = 2049, 3260
#: How long a client that is gone keeps its locks: a volume of a dead node cannot be opened before. With 10 an emulated
#: client once renewed too late, and its guest had I/O errors until QEMU was started anew.
LEASE_SECONDS = 20
_GANESHA = """NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {port}; Bind_addr = {address}; Enable_NLM = false;
  Enable_RQUOTA = false; Plugins_Dir = {plugins}; }}
NFSV4 {{ Lease_Lifetime = {lease}; Grace_Period = {lease}; Graceless = true; Minor_Versions = 1, 2;
  RecoveryBackend = fs; RecoveryRoot = {state}; Delegations = false; }}
EXPORT {{ Export_Id = 1; Path = {directory}; Pseudo = /shared; Access_Type = RW; Squash = No_Root_Squash;
  SecType = sys; Protocols = 4; Transports = TCP; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = WARN; }}
"""


class SharedDirectory:
    """Served by nfs-ganesha at 10.77.1.1:/shared. `path` is where it lies on the host, to look into."""

    def __init__(self, rack: Rack) -> None:
        self._rack = rack
        self.path = rack.directory / "shared"
        for name in ("images", "volumes"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def serve(self) -> None:
        """Start the server; one that ran is ended first, and forgets all locks."""
        if self._process is not None:
            self._rack.end(self._process)
        state = self._rack.directory / "ganesha"
        state.mkdir(exist_ok=True)
        plugins = next(Path("/usr/lib").glob("*/ganesha"))
        configuration = state / "ganesha.conf"
        configuration.write_text(
            _GANESHA.format(
                port=_NFS_PORT, address=SERVER, plugins=plugins, lease=LEASE_SECONDS, state=state, directory=self.path
            )
        )
        words = ["ganesha.nfsd", "-F", "-f", str(configuration), "-p", str(state / "pid"), "-L", str(state / "log")]
        self._process = self._rack.start(words, state / "out")
        until(lambda: self._rack.listens(SERVER, _NFS_PORT), "the NFS server", 30)

    def empty(self) -> None:
        """No volumes, and no locks."""
        for volume in (self.path / "volumes").iterdir():
            volume.unlink()
        self.serve()

    def mount(self, machine: Machine) -> None:
        """As an operator would: a line in fstab."""
        line = f"{SERVER}:/shared {POOL} nfs4 vers=4.2,hard,noatime,_netdev 0 0"
        machine.ssh(f"mkdir -p {POOL} && echo '{line}' >> /etc/fstab && systemctl daemon-reload && mount {POOL}")

    def volume(self, vm_id: int) -> Path:
        """The system volume of a VM."""
        return self.path / "volumes" / f"vm-{vm_id}-0.qcow2"


class ScsiDisk:
    """A raw file that every machine has as the same SCSI disk. Writes of one are seen by the others."""

    #: World Wide Name, and where udev puts the disk by it
    WWN = "0x5000c50015ea71ad"
    DEVICE = f"/dev/disk/by-id/wwn-{WWN}"

    def __init__(self, rack: Rack, mib: int = 64) -> None:
        self.path = rack.directory / "lun0.raw"
        if not self.path.exists():
            with self.path.open("wb") as file:
                file.truncate(mib << 20)

    def qemu(self) -> list[str]:
        """For `Machine.extra`, before its power is on."""
        drive = f"file={self.path},format=raw,if=none,id=lun0,cache=none,file.locking=off"
        device = f"scsi-hd,drive=lun0,share-rw=on,wwn={self.WWN}"
        return ["-device", "virtio-scsi-pci,id=scsi0", "-drive", drive, "-device", device]


class IscsiTarget:
    """A target with one LUN at 10.77.1.1, by tgtd, for the nodes' kernel initiators."""

    CONTROL_PORT = "7"

    def __init__(self, rack: Rack, mib: int = 64) -> None:
        self._rack = rack
        self.path = rack.directory / "iscsi.raw"
        with self.path.open("wb") as file:
            file.truncate(mib << 20)
        portal = f"portal={SERVER}:{_ISCSI_PORT}"
        rack.start(["tgtd", "-f", "-C", self.CONTROL_PORT, "--iscsi", portal], rack.directory / "tgtd.log")
        until(lambda: rack.listens(SERVER, _ISCSI_PORT), "the iSCSI target", 30)
        self._admin("target", "new", "--tid", "1", "--targetname", IQN)
        self._admin("logicalunit", "new", "--tid", "1", "--lun", "1", "--backing-store", str(self.path))
        self._admin("target", "bind", "--tid", "1", "--initiator-address", "ALL")

    def _admin(self, mode: str, operation: str, *words: str) -> None:
        argv = ["tgtadm", "-C", self.CONTROL_PORT, "--lld", "iscsi", "--op", operation, "--mode", mode, *words]
        run(*self._rack.inside(*argv))
