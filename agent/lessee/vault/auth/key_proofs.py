"""Proofs signed with a private key from a file: an instance of Cloud Foundry, a service account of Google Cloud."""

import base64
import time
from typing import TYPE_CHECKING

import msgspec

from lessee.core.failures import Failure, Kind
from lessee.vault.auth.login import read_credential_file
from lessee.vault.auth.proof import Proof
from lessee.vault.responses import DECODE_ERRORS, RequestFailedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_LIFETIME = 300
"""Seconds. A role of type `iam` allows at most 15 minutes by default (max_jwt_exp)."""


def cloud_foundry_instance(cert_file: str, key_file: str, role: str) -> Proof:
    """A signature over time, certificate and role, as Vault's Cloud Foundry method verifies it (RSA-PSS, version 1).

    Raises RequestFailedError. The certificate is sent exactly as it is signed.
    """
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415  # It takes 13 MiB.
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  # As above.

    certificate = read_credential_file(cert_file)
    signing_time = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    signed = f"{signing_time}{certificate}{role}".encode()
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.MAX_LENGTH)
    signature = _key(read_credential_file(key_file), key_file).sign(signed, pss, SHA256())
    text = base64.b64encode(signature).decode()
    return {"cf_instance_cert": certificate, "signing_time": signing_time, "signature": f"v1:{text}"}


def google_service_account(credentials_file: str, role: str) -> Proof:
    """A JWT that the key of a service account signs, for a role of type `iam`. Raises RequestFailedError."""
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415  # As above.
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  # As above.

    try:
        account = msgspec.json.decode(read_credential_file(credentials_file), type=_ServiceAccount)
    except DECODE_ERRORS:
        text = f"{credentials_file} is not the JSON key of a service account; create one with `gcloud iam"
        raise RequestFailedError(Failure(Kind.DENIED, f"{text} service-accounts keys create`")) from None
    head = {"alg": "RS256", "typ": "JWT", "kid": account.private_key_id}
    claims = {"sub": account.client_email, "aud": f"vault/{role}", "exp": int(time.time()) + _LIFETIME}
    signed = ".".join(_encoded(msgspec.json.encode(part)) for part in (head, claims))
    signature = _key(account.private_key, credentials_file).sign(signed.encode(), padding.PKCS1v15(), SHA256())
    return {"jwt": f"{signed}.{_encoded(signature)}"}


class _ServiceAccount(msgspec.Struct):
    client_email: str
    private_key_id: str
    private_key: str


def _key(pem: str, file: str) -> "RSAPrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # As above.
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415  # As above.
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415  # As above.

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise RequestFailedError(Failure(Kind.DENIED, f"{file} has no RSA private key in PEM, without a passphrase"))
    return key


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
