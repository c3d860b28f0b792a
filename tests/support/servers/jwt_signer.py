"""Signs JWTs like the identity provider of a cluster or of CI jobs."""

import base64
import json
import time

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_KEY_ID = "1"


class Signer:
    """A signer with its own key."""

    def __init__(self):
        self._key = rsa.generate_private_key(65537, 2048)
        self.public_key = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, **claims):
        """A JWT that is valid for ten minutes, https://www.rfc-editor.org/rfc/rfc7519."""
        head = {"alg": "RS256", "typ": "JWT", "kid": _KEY_ID}
        claims = {"iat": int(time.time()), "exp": int(time.time()) + 600, **claims}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        return f"{signed}.{_encoded(self._key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"

    def signature(self, content):
        """An RSA signature in base64, in lines as AWS writes it."""
        return base64.encodebytes(self._key.sign(content, padding.PKCS1v15(), SHA256()))

    def key_set(self):
        """The published key set, https://www.rfc-editor.org/rfc/rfc7517."""
        numbers = self._key.public_key().public_numbers()
        n, e = (_encoded(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
        return {"keys": [{"kty": "RSA", "kid": _KEY_ID, "use": "sig", "alg": "RS256", "n": n, "e": e}]}


def _encoded(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
