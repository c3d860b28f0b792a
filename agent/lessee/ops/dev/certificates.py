"""The server's certificate, and the CA that clients trust for it: its key is never stored."""

import datetime as dt
from collections.abc import Collection
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lessee.ops.dev.folder import DevFolder
from lessee.ops.dev.policy.listening import CONTAINER_NAMES
from lessee.ops.dev.policy.server_config import CA, CERTIFICATE, CERTIFICATE_KEY

_VALIDITY, _RENEWAL = dt.timedelta(days=3650), dt.timedelta(days=365)
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
_NAMES = (x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost"))
_CONTAINER_NAMES = tuple(x509.DNSName(name) for name in CONTAINER_NAMES)


def ensure_certificates(folder: DevFolder, now: dt.datetime, listen: str = "") -> None:
    """Write a CA and a certificate for loopback, where they are missing or end within a year. Raises WriteError.

    `listen`: another address of this machine. The certificate names it too, with the names that a container has for it.
    """
    wanted = [*_NAMES, *([x509.IPAddress(ip_address(listen)), *_CONTAINER_NAMES] if listen else ())]
    is_whole = folder.has(CERTIFICATE_KEY) and _has_names(folder.read(CERTIFICATE), wanted)
    if is_whole and not _ends_soon(folder.read(CA), now):
        return
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lessee dev")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    of_issuer = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _begun(issuer, issuer, ca_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(of_issuer, critical=False)
    )
    certificate = (
        _begun(subject, issuer, key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(of_issuer), critical=False)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # The CA last: where there is one, it belongs to the others.
    folder.remove(CA)
    folder.write(CERTIFICATE_KEY, private)
    folder.write(CERTIFICATE, certificate.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    folder.write(CA, ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _has_names(certificate: bytes | None, wanted: Collection[x509.GeneralName]) -> bool:
    if certificate is None:
        return False
    found = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(wanted) <= set(found.value)


def _ends_soon(ca: bytes | None, now: dt.datetime) -> bool:
    if ca is None:
        return True
    return x509.load_pem_x509_certificate(ca).not_valid_after_utc < now + _RENEWAL


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _VALIDITY)
    )


def _usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**(dict.fromkeys(_USAGES, False) | dict.fromkeys(names, True)))
