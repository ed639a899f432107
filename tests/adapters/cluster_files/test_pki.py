"""The cluster's certificates: what OpenSSL says of them, and what is not signed."""

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from app.adapters.cluster_files import pki
from app.domain.errors import InvalidInput

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> tuple[bytes, bytes]:
    key = pki.new_key()
    return pki.new_authority("rack", key, NOW), pki.key_to_pem(key)


def signed(authority: tuple[bytes, bytes], node: str = "n1", request_of: str = "n1") -> bytes:
    ca, key = authority
    request = pki.new_request(request_of, pki.new_key())
    return pki.sign_request(request, node, ("10.0.0.1", "fd00::1"), ca, pki.key_from_pem(key), NOW)


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_takes_a_node_for_both_sides(tmp_path: Path, authority: tuple[bytes, bytes], purpose: str) -> None:
    (tmp_path / "ca.pem").write_bytes(authority[0])
    (tmp_path / "node.pem").write_bytes(signed(authority))
    argv = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-verify_ip", "fd00::1", "-CAfile"]
    done = subprocess.run([*argv, "ca.pem", "node.pem"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_libvirt_takes_a_node(authority: tuple[bytes, bytes]) -> None:
    """libvirtd refuses to start when its own certificate may not encipher keys, elliptic or not."""
    usage = x509.load_pem_x509_certificate(signed(authority)).extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment


def test_a_request_in_another_name_is_refused(authority: tuple[bytes, bytes]) -> None:
    with pytest.raises(InvalidInput):
        signed(authority, node="n1", request_of="n2")
    with pytest.raises(InvalidInput):
        pki.sign_request(b"nonsense", "n1", ("10.0.0.1",), authority[0], pki.key_from_pem(authority[1]), NOW)


def test_days_and_fingerprint(authority: tuple[bytes, bytes]) -> None:
    pem = signed(authority)
    assert pki.days_left(pem, NOW + timedelta(days=800)) == pytest.approx(25, abs=0.1)
    assert len(bytes.fromhex(pki.fingerprint(pem))) == 32
    assert ssl.PEM_cert_to_DER_cert(pem.decode())
