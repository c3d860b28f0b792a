"""Creates a private key and a certificate signing request for it."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Parameter
from lessee.vault.responses import RequestFailedError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class SigningRequest(ImmutableStruct, frozen=True):
    """A key and its request, in PEM. `private_key_type`: ec, rsa or ed25519, as in Vault."""

    hidden = ("private_key",)

    private_key: str
    private_key_type: str
    csr: str


LOCAL_PARAMETERS = frozenset({"key_type", "key_bits"})
"""Parameters that select the key; they are not sent to Vault."""


def create(params: Mapping[str, Parameter]) -> SigningRequest:
    """A new key, and a request with the names in the parameters of Vault's pki/sign.

    Raises RequestFailedError (INVALID) if they allow no key or no request.
    """
    # It takes 13 MiB, and few sidecars create keys.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415

    kind = str(params.get("key_type", "ec"))
    key = _key(kind, params.get("key_bits"))
    try:
        subject = [x509.NameAttribute(x509.NameOID.COMMON_NAME, str(params["common_name"]))]
        builder = x509.CertificateSigningRequestBuilder(x509.Name(subject))
        names = list(_names(params))
    except ValueError:
        text = "common_name, alt_names, ip_sans or uri_sans has a value that is not ASCII, too long or no address"
        raise RequestFailedError(Failure(Kind.INVALID, text)) from None
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    request = builder.sign(key, None if kind == "ed25519" else hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return SigningRequest(pem.decode(), kind, request.public_bytes(serialization.Encoding.PEM).decode())


def _key(kind: str, bits: Parameter | None) -> "Key":
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415  # As above.

    match kind, bits:
        case "ec", None | 256:
            return ec.generate_private_key(ec.SECP256R1())
        case "ec", 384:
            return ec.generate_private_key(ec.SECP384R1())
        case "rsa", None | 2048 | 3072 | 4096:
            return rsa.generate_private_key(65537, int(bits or 2048))
        case "ed25519", None:
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            text = (
                f"key_type={kind!r} with key_bits={bits!r} is not supported;"
                " use ec with 256 or 384, rsa with 2048, 3072 or 4096, or ed25519 without key_bits"
            )
            raise RequestFailedError(Failure(Kind.INVALID, text))


def _names(params: Mapping[str, Parameter]) -> "Iterator[x509.GeneralName]":
    from cryptography import x509  # noqa: PLC0415  # As above.

    for name in _listed(params, "alt_names"):
        yield x509.RFC822Name(name) if "@" in name else x509.DNSName(name)
    for address in _listed(params, "ip_sans"):
        yield x509.IPAddress(ip_address(address))
    for uri in _listed(params, "uri_sans"):
        yield x509.UniformResourceIdentifier(uri)


def _listed(params: Mapping[str, Parameter], name: str) -> list[str]:
    return [part.strip() for part in str(params.get(name, "")).split(",") if part.strip()]
