"""Checks certificates and private keys among the secrets: their validity, and whether they belong together."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.names import SecretField, fields
from lessee.ops.validate.checks import NotConfiguredError
from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Reporter, Result

if TYPE_CHECKING:
    from lessee.ops.validate.context import ValidationContext

_REPORTER = Reporter("secrets")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
# A match never spans another BEGIN line: with many of them, that would take minutes.
_KEY = re.compile(r"-----BEGIN (?:RSA |EC )?PRIVATE KEY-----[^-]+-----END (?:RSA |EC )?PRIVATE KEY-----")
_TODO = "issue a new one, or use a certificate of Vault's PKI with certificate() in the template"


class _Pem(ImmutableStruct, frozen=True):
    """`public_key`: in DER; empty where it cannot be parsed. `expires_at`: in seconds since 1970."""

    field: SecretField
    public_key: bytes
    expires_at: float = 0.0


def check_validity(context: "ValidationContext") -> Iterator[Result]:
    """Report the certificate that expires first."""
    check = "certificates-valid"
    certificates = [certificate for pair in _pems(context) for certificate in pair[0]]
    if not certificates:
        raise NotConfiguredError("the secrets have no certificates")
    if invalid := [str(certificate.field) for certificate in certificates if not certificate.public_key]:
        yield _REPORTER.critical(check, f"certificates cannot be parsed: {', '.join(sorted(invalid))}", _TODO)
        return
    first = min(certificates, key=lambda certificate: certificate.expires_at)
    subject = f"the certificate in {first.field}"
    yield thresholds.expiry(_REPORTER, check, subject, first.expires_at - context.now, _TODO)


def check_keys(context: "ValidationContext") -> Iterator[Result]:
    """Check that each private key belongs to a certificate in the same secret."""
    check, count, mismatched = "keys-match-certificates", 0, []
    for certificates, keys in _pems(context):
        if certificates and keys:
            count += len(keys)
            known = {certificate.public_key for certificate in certificates} - {b""}
            mismatched += [str(key.field) for key in keys if key.public_key not in known]
    if mismatched:
        text = f"private keys do not match the certificates in their secrets: {', '.join(sorted(mismatched))}"
        yield _REPORTER.critical(check, text, _TODO)
    elif count:
        yield _REPORTER.passed(check, f"all private keys match their certificates ({count})")
    else:
        raise NotConfiguredError("no secret has a private key with a certificate")


def _pems(context: "ValidationContext") -> Iterator[tuple[list[_Pem], list[_Pem]]]:
    """The certificates of each secret, the first of each chain, and its private keys."""
    for ref, secret in context.inventory().secrets.items():
        values = [(SecretField(str(ref), key), value) for key, value in fields(secret.data)]
        certificates = [
            _certificate(field, found[0]) for field, value in values if (found := _CERTIFICATE.search(value))
        ]
        keys = [_key(field, found[0]) for field, value in values if (found := _KEY.search(value))]
        yield certificates, keys


def _certificate(field: SecretField, pem: str) -> _Pem:
    from cryptography import x509  # noqa: PLC0415  # Few environments have certificates.

    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        return _Pem(field, _der(certificate.public_key()), certificate.not_valid_after_utc.timestamp())
    except (ValueError, TypeError):
        return _Pem(field, b"")


def _key(field: SecretField, pem: str) -> _Pem:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415  # As above.

    try:
        return _Pem(field, _der(load_pem_private_key(pem.encode(), password=None).public_key()))
    except (ValueError, TypeError):
        return _Pem(field, b"")


def _der(public_key: object) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415  # As above.

    der: bytes = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # All kinds of keys have it.
    return der
