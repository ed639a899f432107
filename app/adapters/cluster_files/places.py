"""Where the files of a node are. `postrm purge` of the package removes what is named here and not the package's own."""

from pathlib import Path

HOLDFAST = Path("/etc/holdfast")
CONFIG = HOLDFAST / "holdfast.toml"
LAYOUT = HOLDFAST / "layout.json"
DATABASE_PASSWORD = HOLDFAST / "database.password"
FIRST_TOKENS = HOLDFAST / "first-tokens.json"

PKI = HOLDFAST / "pki"
CA_CERTIFICATE = PKI / "ca.pem"
CA_KEY = PKI / "ca.key"
NODE_CERTIFICATE = PKI / "node.pem"
NODE_KEY = PKI / "node.key"
#: the same certificate for MariaDB, whose user may read nothing of ours
DATABASE_PKI = Path("/etc/mysql/holdfast")

COROSYNC = Path("/etc/corosync/corosync.conf")
COROSYNC_KEY = Path("/etc/corosync/authkey")
GALERA = Path("/etc/mysql/mariadb.conf.d/90-holdfast.cnf")
#: this member's copy of the state, its latest changes, and its word that it has both: without it, all is fetched again
DATABASE_COPY = tuple(Path("/var/lib/mysql") / name for name in ("holdfast", "galera.cache", "grastate.dat"))
#: where libvirt and QEMU look without any setting
LIBVIRT_PKI = Path("/etc/pki")
#: what the distribution's units lack here: they wait for the network, and are started again
COROSYNC_UNIT = Path("/etc/systemd/system/corosync.service.d/holdfast.conf")
DATABASE_UNIT = Path("/etc/systemd/system/mariadb.service.d/holdfast.conf")
MODULES = Path("/etc/modules-load.d/holdfast.conf")
MODULE_OPTIONS = Path("/etc/modprobe.d/holdfast.conf")
