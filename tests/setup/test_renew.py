"""A node's certificates are made anew: what is new, what stays, and who is told. The TLS connections are real ones."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.adapters.cluster_files import pki, places
from app.adapters.cluster_files.certificate_ends import CertificateEnds
from app.adapters.cluster_files.layout_json import layout_to_text
from app.adapters.cluster_files.node_config import node_config
from app.domain.errors import Conflict
from app.domain.layout import first_layout, with_member
from app.domain.node import NodeRole
from app.setup.machine import Machine
from app.setup.renew import Renew
from app.setup.steps import Progress, run_steps

NOW = datetime.now(UTC)
LAYOUT = with_member(first_layout("rack", "n1", ("127.0.0.1",)), "n2", ("10.0.0.2",), NodeRole.COMPUTE)


class Node:
    """n1, whose certificates were made so many days ago."""

    def __init__(self, root: Path, days_ago: float = 800, ca_days_ago: float = 800) -> None:
        self.ran: list[str] = []
        self.machine = Machine(root, self._run)
        self.ca_key, self.key = pki.new_key(), pki.new_key()
        self.ca = pki.new_authority("rack", self.ca_key, NOW - timedelta(days=ca_days_ago))
        own = LAYOUT.members[0]
        then = NOW - timedelta(days=days_ago)
        request = pki.new_request("n1", self.key)
        self.certificate = pki.sign_request(request, "n1", own.addresses, self.ca, self.ca_key, then)
        files: dict[Path, str | bytes] = {
            places.CA_CERTIFICATE: self.ca, places.CA_KEY: pki.key_to_pem(self.ca_key),
            places.NODE_CERTIFICATE: self.certificate, places.NODE_KEY: pki.key_to_pem(self.key),
            places.LAYOUT: layout_to_text(LAYOUT), places.CONFIG: node_config(own, ""),
            places.DATABASE_PASSWORD: "feed\n",
        }  # fmt: skip
        for path, text in files.items():
            self.machine.write(path, text)

    def _run(self, argv: Sequence[str], _given: bytes) -> subprocess.CompletedProcess[bytes]:
        self.ran.append(" ".join(argv))
        return subprocess.CompletedProcess(argv, 0, b"", b"")

    def renew(self) -> None:
        """What the command does."""
        run_steps(Renew(self.machine, lambda: NOW).steps(), Progress())

    def read(self, path: Path) -> bytes:
        found = self.machine.read(path)
        assert found is not None
        return found

    def days_left(self, path: Path = places.NODE_CERTIFICATE) -> float:
        return pki.days_left(self.read(path), NOW)


def _shakes_hands(node: Node, trusted: bytes) -> None:
    """Somebody who trusts that authority connects to n1; an ssl.SSLError where it does not hold."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(node.machine.place(places.NODE_CERTIFICATE), node.machine.place(places.NODE_KEY))
    client = ssl.create_default_context(cadata=trusted.decode())
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with server.wrap_socket(theirs, server_side=True) as tls:
            tls.sendall(b"n1")

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(ours, server_hostname="127.0.0.1") as tls:
        assert tls.recv(2) == b"n1"
    thread.join(10)


def test_the_certificate_is_new_the_key_stays_and_nothing_is_restarted(tmp_path: Path) -> None:
    node = Node(tmp_path)
    assert node.days_left() == pytest.approx(25)
    node.renew()
    assert node.days_left() == pytest.approx(pki.NODE_DAYS)
    assert node.read(places.NODE_KEY) == pki.key_to_pem(node.key)
    new = node.read(places.NODE_CERTIFICATE)
    for copy in (
        places.DATABASE_PKI / "node.pem",
        Path("/etc/pki/libvirt/servercert.pem"),
        Path("/etc/pki/qemu/client-cert.pem"),
    ):
        assert node.read(copy) == new
    assert node.ran == [
        "mariadb -NBe FLUSH SSL",
        "mariadb -NBe SET GLOBAL wsrep_provider_options = 'socket.ssl_reload=1'",
        "virt-admin server-update-tls libvirtd",
    ]
    _shakes_hands(node, node.ca)


def test_said_again_it_makes_none_and_tells_them_once_more(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.renew()
    first = node.read(places.NODE_CERTIFICATE)
    node.renew()
    assert node.read(places.NODE_CERTIFICATE) == first
    assert len(node.ran) == 6, "the first may have been interrupted before it had told them"


def test_an_authority_that_ends_is_made_anew_and_old_and_new_hold_for_everybody(tmp_path: Path) -> None:
    """The other nodes still have the old certificate of the authority, or the new one already."""
    node = Node(tmp_path, ca_days_ago=pki.CA_DAYS - 100)
    node.renew()
    assert node.days_left(places.CA_CERTIFICATE) == pytest.approx(pki.CA_DAYS)
    renewed = node.read(places.CA_CERTIFICATE)
    assert renewed != node.ca
    assert node.read(places.LIBVIRT_PKI / "CA/cacert.pem") == renewed
    for trusted in (node.ca, renewed):
        _shakes_hands(node, trusted)
    node.machine.write(places.NODE_CERTIFICATE, node.certificate)
    _shakes_hands(node, renewed)


def test_a_witness_and_a_stranger_are_told_what_to_do(tmp_path: Path) -> None:
    witness = Node(tmp_path / "witness")
    witness.machine.remove(places.CA_KEY)
    with pytest.raises(Conflict, match="on a witness, run the `holdfast cluster join` of before again"):
        witness.renew()
    assert witness.ran == []
    with pytest.raises(Conflict, match=r"ca\.pem is not here: this is no member of a cluster"):
        run_steps(Renew(Machine(tmp_path / "nowhere")).steps(), Progress())


def test_monitoring_sees_when_they_end_and_that_they_are_new(tmp_path: Path) -> None:
    node = Node(tmp_path)
    place = node.machine.place
    ends = CertificateEnds({"node": place(places.NODE_CERTIFICATE), "authority": place(places.CA_CERTIFICATE)})
    first = ends()
    assert first["node"] == pytest.approx((NOW + timedelta(days=25)).timestamp(), abs=5)
    assert first["authority"] == pytest.approx((NOW + timedelta(days=pki.CA_DAYS - 800)).timestamp(), abs=5)
    node.renew()
    assert ends()["node"] == pytest.approx((NOW + timedelta(days=pki.NODE_DAYS)).timestamp(), abs=5)
    node.machine.remove(places.NODE_CERTIFICATE)
    node.machine.write(places.CA_CERTIFICATE, "no certificate")
    assert ends() == {}
