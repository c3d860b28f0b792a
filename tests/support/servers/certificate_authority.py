"""A CA of the tests' own, and certificates for this machine."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.servers.detours import outside

_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


class Authority:
    """A CA whose certificate is in a file, and certificates for this machine's addresses."""

    def __init__(self, file):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test CA")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(**dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True})
        # What Python 3.13 wants of a chain: who signed it, and that it may.
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        certificate = (
            self._build(self._name, self._key, 365)
            .add_extension(basic, critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
        )
        file.write_bytes(self._signed(certificate))

    def issue(self, file, days, *, common_name="127.0.0.1", names=("localhost",), key=None):
        """A key and its certificate, valid for so many days more. Without `names` it has no alternative names."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = self._build(name, key, days).add_extension(signer, critical=False)
        if names:
            addresses = [x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", outside())]
            alternative = x509.SubjectAlternativeName([*addresses, *map(x509.DNSName, names)])
            certificate = certificate.add_extension(alternative, critical=False)
        unencrypted = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
        file.write_bytes(self._signed(certificate) + pem)

    def _build(self, name, key, days):
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(days=30)).not_valid_after(now + timedelta(days=days))

    def _signed(self, builder):
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
