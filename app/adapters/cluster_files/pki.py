"""The cluster's own certificate authority: one key for each node, for databases, migration and joining."""

import ipaddress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.domain.errors import InvalidInput

CA_DAYS = 3650
#: `cluster doctor` and an alert warn 30 days before; `cluster renew-certificates` makes a new one
NODE_DAYS = 825
#: a clock that is a little behind must not refuse a certificate that was just made
_SKEW = timedelta(hours=1)


def new_key() -> ec.EllipticCurvePrivateKey:
    """P-256: libvirt's GnuTLS, MariaDB's OpenSSL and Python agree on it."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Unencrypted; the file's mode guards it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_from_pem(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """The key in a file that `key_to_pem` made."""
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidInput("key", "is no key of an elliptic curve")
    return key


def new_authority(cluster: str, key: ec.EllipticCurvePrivateKey, now: datetime) -> bytes:
    """A self-signed certificate that may sign those of nodes and nothing below."""
    name = _name(f"{cluster} cluster CA")
    usage = _usage(key_cert_sign=True, crl_sign=True)
    built = (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def new_request(node: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """What a node sends to have its key signed: only its name; the addresses come from the layout."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(node)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def sign_request(
    request_pem: bytes, node: str, addresses: tuple[str, ...], ca_pem: bytes, ca_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> bytes:  # fmt: skip
    """The node's certificate, for serving and for asking. InvalidInput for a request that is not that node's."""
    try:
        request = x509.load_pem_x509_csr(request_pem)
        valid = request.is_signature_valid
    except (ValueError, InvalidSignature) as error:
        raise InvalidInput("csr", f"is no certificate request: {error}") from error
    key = request.public_key()
    if not valid or not isinstance(key, ec.EllipticCurvePublicKey) or request.subject != _name(node):
        raise InvalidInput("csr", f"is no request of {node} that is signed by its own key")
    names = [x509.DNSName(node), *(x509.IPAddress(ipaddress.ip_address(a)) for a in addresses)]
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    authority = x509.load_pem_x509_certificate(ca_pem)
    built = (
        _builder(_name(node), authority.subject, key, now, NODE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        # libvirt and QEMU refuse a certificate without key encipherment, whatever its key is (virnettlscertificate.c).
        .add_extension(_usage(digital_signature=True, key_agreement=True, key_encipherment=True), critical=True)
        .add_extension(both, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    return built.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def fingerprint(pem: bytes) -> str:
    """SHA-256 of the certificate, in hexadecimal."""
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()


def days_left(pem: bytes, now: datetime) -> float:
    """Until the certificate ends; negative when it has."""
    return (x509.load_pem_x509_certificate(pem).not_valid_after_utc - now.astimezone(UTC)).total_seconds() / 86400


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Holdfast"),
                      x509.NameAttribute(NameOID.COMMON_NAME, common)])  # fmt: skip


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(**wanted: bool) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in every})
