"""`holdfast cluster renew-certificates`: this node's certificate is made anew by the cluster's authority, all runs on.

The keys stay. So a certificate and a key always fit each other, whichever of them a program reads first, and an
authority's certificate that is made anew and the one that other nodes still have are good for the same certificates of
nodes. Nothing is restarted: the programs that hold a certificate are told to read it again.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from app.adapters.cluster_files import pki, places
from app.adapters.cluster_files.layout_json import layout_from_text
from app.config import load_config
from app.domain.errors import Conflict
from app.domain.layout import Layout, Member
from app.setup import node_parts
from app.setup.machine import Machine
from app.setup.steps import Step

#: one that was made today is not made again: the same command, said again, goes on with what is left
_FRESH_DAYS = 1
#: MariaDB 10.4 and later; Galera 26.4.8 and later
_RELOAD_DATABASE = ("FLUSH SSL", "SET GLOBAL wsrep_provider_options = 'socket.ssl_reload=1'")


class Renew:
    """The steps."""

    def __init__(self, machine: Machine, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._machine, self._now = machine, now

    def steps(self) -> list[Step]:
        """In their order."""
        return [
            Step("authority", self._authority),
            Step("certificate", self._certificate),
            Step("database", self._database),
            Step("libvirt", self._libvirt),
        ]

    def _authority(self) -> str:
        """Its certificate lasts longer than those that it signs."""
        pem, key = self._read(places.CA_CERTIFICATE), self._ca_key()
        left = pki.days_left(pem, self._now())
        if left > pki.NODE_DAYS:
            return f"{left:.0f} days left"
        self._machine.write(places.CA_CERTIFICATE, pki.new_authority(self._layout().name, key, self._now()), 0o644)
        return "made anew, with its key of before: do the same on every node"

    def _certificate(self) -> str:
        own, key_pem = self._own(), self._read(places.NODE_KEY)
        ca_pem, pem = self._read(places.CA_CERTIFICATE), self._machine.read(places.NODE_CERTIFICATE)
        fresh = pem is not None and pki.days_left(pem, self._now()) > pki.NODE_DAYS - _FRESH_DAYS
        if pem is None or not fresh:
            request = pki.new_request(own.name, pki.key_from_pem(key_pem))
            pem = pki.sign_request(request, own.name, own.addresses, ca_pem, self._ca_key(), self._now())
        node_parts.write_keys(self._machine, ca_pem, pem, key_pem)
        return f"good for {pki.days_left(pem, self._now()):.0f} days"

    def _database(self) -> str:
        if not self._own().database:
            return "uses the others'"
        for statement in _RELOAD_DATABASE:
            self._machine.run("mariadb", "-NBe", statement)
        return "has read it"

    def _libvirt(self) -> str:
        """QEMU reads its certificate at each migration."""
        self._machine.run("virt-admin", "server-update-tls", "libvirtd")
        return "has read it"

    def _layout(self) -> Layout:
        return layout_from_text(self._read(places.LAYOUT).decode())

    def _own(self) -> Member:
        name = load_config(self._machine.place(places.CONFIG)).node.name
        own = self._layout().member(name)
        if own is None:
            raise Conflict(f"{name} is no member of this cluster")
        return own

    def _ca_key(self) -> EllipticCurvePrivateKey:
        pem = self._machine.read(places.CA_KEY)
        if pem is None:
            raise Conflict(
                f"{places.CA_KEY} is not here: on a witness, run the `holdfast cluster join` of before again, with a"
                " token that `holdfast cluster invite` prints on another node"
            )
        return pki.key_from_pem(pem)

    def _read(self, path: Path) -> bytes:
        found = self._machine.read(path)
        if found is None:
            raise Conflict(f"{path} is not here: this is no member of a cluster")
        return found
