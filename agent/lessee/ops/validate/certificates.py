"""Certificates and private keys among the secrets: whether they are valid, and belong to each other."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lessee.core.immutable import Record
from lessee.core.sensitive.names import Place, fields
from lessee.ops.validate.checks import NotLookedError
from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Result, Teller

if TYPE_CHECKING:
    from lessee.ops.validate.context import Subject

_TELL = Teller("secrets")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
# Never across a mark: with many of them, that would take minutes.
_KEY = re.compile(r"-----BEGIN (?:RSA |EC )?PRIVATE KEY-----[^-]+-----END (?:RSA |EC )?PRIVATE KEY-----")
_TODO = "have a new one issued, or take it from Vault's PKI with certificate() in the template"


class _Pem(Record, frozen=True):
    """`public`: the public key, in DER; empty where it cannot be read. `ends`: in seconds since 1970."""

    place: Place
    public: bytes
    ends: float = 0.0


def valid(subject: "Subject") -> Iterator[Result]:
    """The one that ends first stands for all."""
    check, found = "certificates-valid", [one for pair in _pems(subject) for one in pair[0]]
    if not found:
        raise NotLookedError("there is no certificate among the secrets")
    if broken := [str(one.place) for one in found if not one.public]:
        yield _TELL.critical(check, f"no certificate can be read there: {', '.join(sorted(broken))}", _TODO)
        return
    first = min(found, key=lambda one: one.ends)
    yield thresholds.expiry(_TELL, check, f"the certificate at {first.place}", first.ends - subject.now, _TODO)


def fitting(subject: "Subject") -> Iterator[Result]:
    """A private key fits one of the certificates that stand beside it."""
    check, count, strangers = "keys-fit-certificates", 0, []
    for certificates, keys in _pems(subject):
        if certificates and keys:
            count += len(keys)
            known = {one.public for one in certificates} - {b""}
            strangers += [str(key.place) for key in keys if key.public not in known]
    if strangers:
        text = f"the private key fits no certificate beside it: {', '.join(sorted(strangers))}"
        yield _TELL.critical(check, text, _TODO)
    elif count:
        yield _TELL.passed(check, f"every private key fits its certificate ({count})")
    else:
        raise NotLookedError("there is no private key beside a certificate")


def _pems(subject: "Subject") -> Iterator[tuple[list[_Pem], list[_Pem]]]:
    """Of each secret the certificates, of a chain the first, and the private keys."""
    for ref, secret in subject.inventory().secrets.items():
        values = [(Place(str(ref), key), value) for key, value in fields(secret.data)]
        certificates = [
            _certificate(place, found[0]) for place, value in values if (found := _CERTIFICATE.search(value))
        ]
        keys = [_key(place, found[0]) for place, value in values if (found := _KEY.search(value))]
        yield certificates, keys


def _certificate(place: Place, pem: str) -> _Pem:
    from cryptography import x509  # noqa: PLC0415  # Few environments hold any.

    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        return _Pem(place, _der(certificate.public_key()), certificate.not_valid_after_utc.timestamp())
    except (ValueError, TypeError):
        return _Pem(place, b"")


def _key(place: Place, pem: str) -> _Pem:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415  # As above.

    try:
        return _Pem(place, _der(load_pem_private_key(pem.encode(), password=None).public_key()))
    except (ValueError, TypeError):
        return _Pem(place, b"")


def _der(public: object) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415  # As above.

    der: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # Each kind of key has it.
    return der
