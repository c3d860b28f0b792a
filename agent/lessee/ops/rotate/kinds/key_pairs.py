"""Key pairs: clients have the private key, and verifiers have public keys."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lessee.config.grammar.rotation import JwtKey, SigningKey, SshKey
from lessee.ops.rotate.kinds.kind import Kind, KindContext, SystemRefusedError
from lessee.ops.rotate.kinds.verified import VerifiedCredential
from lessee.ops.rotate.kinds.verifier_secret import lines, text
from lessee.ops.rotate.policy.journal import Fields

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_RSA_BITS = 3072
_RSA_EXPONENT = 65537
_P256_BYTES = 32
_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
"""The members of a JWK that are parts of its thumbprint."""
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


def ssh_key(config: SshKey, context: KindContext) -> Kind:
    """A client's key for SSH, and the servers' `authorized_keys`."""
    return VerifiedCredential(config, context, _SshKeys(context.name, config.options))


def signing_key(config: SigningKey, context: KindContext) -> Kind:
    """A key that signs, and the public keys in PEM."""
    return VerifiedCredential(config, context, _PemKeys(), delete_delay=config.delete_delay)


def jwt_key(config: JwtKey, context: KindContext) -> Kind:
    """A key that signs JWTs, and a JWKS."""
    form = _JwtKeys(config.algorithm, config.verifier_secret)
    return VerifiedCredential(config, context, form, delete_delay=config.token_ttl)


class _SshKeys:
    """`private_key` and `public_key`; verifiers have `authorized_keys`, see sshd(8). An id is a key's base64."""

    def __init__(self, name: str, options: str | None) -> None:
        self._comment, self._options = f"lessee-{name}", f"{options} " if options else ""

    def new(self, secret: Fields) -> Fields:
        del secret
        key = ed25519.Ed25519PrivateKey.generate()
        private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.OpenSSH, s.NoEncryption())
        return {"private_key": private.decode(), "public_key": f"{_openssh(key)} {self._comment}"}

    def id_of(self, fields: Fields) -> str:
        key = _private_key(fields)
        return _openssh(key).split()[1] if key is not None else ""

    def ids(self, accepted: Fields) -> tuple[str, ...]:
        return tuple(word for line in lines(accepted.get("authorized_keys")) for word in line.split())

    def accepts(self, accepted: Fields, fields: Fields) -> bool:
        id_ = self.id_of(fields)
        found = lines(accepted.get("authorized_keys"))
        return bool(id_) and any(id_ in line.split() for line in found if not line.lstrip().startswith("#"))

    def add(self, accepted: Fields, fields: Fields) -> Fields:
        key = _private_key(fields)
        assert key is not None
        new = f"{self._options}{_openssh(key)} {self._comment}"
        return {**accepted, "authorized_keys": text([new, *lines(accepted.get("authorized_keys"))])}

    def remove(self, accepted: Fields, id_: str) -> Fields:
        left = (line for line in lines(accepted.get("authorized_keys")) if id_ not in line.split())
        return {**accepted, "authorized_keys": text(left)}


class _PemKeys:
    """`private_key` and `public_key` in PEM; verifiers have `public_keys`, the newest first.

    An id is the SHA-256 of a public key's SubjectPublicKeyInfo.
    """

    def new(self, secret: Fields) -> Fields:
        del secret
        key = ed25519.Ed25519PrivateKey.generate()
        return {"private_key": _pkcs8(key), "public_key": _spki(key)}

    def id_of(self, fields: Fields) -> str:
        key = _private_key(fields)
        return _fingerprint(_spki(key)) if key is not None else ""

    def ids(self, accepted: Fields) -> tuple[str, ...]:
        return tuple(_fingerprint(block) for block in _blocks(accepted))

    def accepts(self, accepted: Fields, fields: Fields) -> bool:
        return self.id_of(fields) in self.ids(accepted)

    def add(self, accepted: Fields, fields: Fields) -> Fields:
        key = _private_key(fields)
        assert key is not None
        return {**accepted, "public_keys": "".join([_spki(key), *_blocks(accepted)])}

    def remove(self, accepted: Fields, id_: str) -> Fields:
        return {**accepted, "public_keys": "".join(one for one in _blocks(accepted) if _fingerprint(one) != id_)}


class _JwtKeys:
    """`private_key` in PEM, `kid` and `algorithm`; verifiers have `jwks`, see RFC 7517.

    An id is a key's thumbprint, see RFC 7638, and the `kid` of a new key too. An operator's `kid` may be any text.
    """

    def __init__(self, algorithm: str, where: str) -> None:
        self._algorithm, self._where = algorithm, where

    def new(self, secret: Fields) -> Fields:
        del secret
        key: PrivateKeyTypes
        match self._algorithm:
            case "ES256":
                key = ec.generate_private_key(ec.SECP256R1())
            case "RS256":
                key = rsa.generate_private_key(_RSA_EXPONENT, _RSA_BITS)
            case _:
                key = ed25519.Ed25519PrivateKey.generate()
        return {"private_key": _pkcs8(key), "kid": _thumbprint(_jwk(key)), "algorithm": self._algorithm}

    def id_of(self, fields: Fields) -> str:
        return _thumbprint(_jwk(_private_key(fields))) if fields.get("kid") else ""

    def ids(self, accepted: Fields) -> tuple[str, ...]:
        return tuple(map(_thumbprint, self._keys(accepted)))

    def accepts(self, accepted: Fields, fields: Fields) -> bool:
        wanted = {**_jwk(_private_key(fields)), "kid": str(fields.get("kid"))}
        return bool(self.id_of(fields)) and any(wanted.items() <= key.items() for key in self._keys(accepted))

    def add(self, accepted: Fields, fields: Fields) -> Fields:
        """Raises SystemRefusedError where verifiers would find two keys of this `kid`: they try one of them."""
        jwk, kid, keys = _jwk(_private_key(fields)), str(fields["kid"]), self._keys(accepted)
        if any(key.get("kid") == kid for key in keys):
            todo = "give the key in the clients' secret, or the one in the JWKS, another kid"
            raise SystemRefusedError(f"the JWKS has another key of the kid {kid!r}", where=self._where, todo=todo)
        return self._with(accepted, [{**jwk, "kid": kid, "use": "sig", "alg": _algorithm(jwk)}, *keys])

    def remove(self, accepted: Fields, id_: str) -> Fields:
        return self._with(accepted, [key for key in self._keys(accepted) if _thumbprint(key) != id_])

    def _with(self, accepted: Fields, keys: list[Any]) -> Fields:
        return {**accepted, "jwks": json.dumps({"keys": keys})}

    def _keys(self, accepted: Fields) -> list[Any]:
        try:
            found = json.loads(accepted.get("jwks") or '{"keys": []}')
        except (ValueError, TypeError, RecursionError):
            found = None
        keys = found.get("keys") if isinstance(found, dict) else None
        if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
            todo = 'correct it, such as {"keys": []}, or remove it'
            raise SystemRefusedError("the key `jwks` is no JWKS in JSON", where=self._where, todo=todo)
        return keys


def _private_key(fields: Fields) -> "PrivateKeyTypes | None":
    """The private key in OpenSSH's format or PEM; None where it is not usable."""
    pem = fields.get("private_key")
    if not isinstance(pem, str):
        return None
    data = pem.encode()
    load = s.load_ssh_private_key if "BEGIN OPENSSH" in pem else s.load_pem_private_key
    try:
        return load(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _pkcs8(key: "PrivateKeyTypes") -> str:
    return key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()


def _spki(key: "PrivateKeyTypes") -> str:
    return key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo).decode()


def _openssh(key: "PrivateKeyTypes") -> str:
    return key.public_key().public_bytes(s.Encoding.OpenSSH, s.PublicFormat.OpenSSH).decode()


def _blocks(accepted: Fields) -> Iterator[str]:
    """The public keys of a text in PEM, each with a line break at its end."""
    block: list[str] = []
    for line in lines(accepted.get("public_keys")):
        block = [line.strip()] if line.strip() == _BEGIN else [*block, line.strip()]
        if line.strip() == _END:
            yield text(block)
            block = []


def _fingerprint(pem: str) -> str:
    return sha256("".join(pem.split()).encode()).hexdigest()


def _jwk(key: "PrivateKeyTypes | None") -> Mapping[str, str]:
    """The members of a public key that RFC 7638 requires (RFC 8037 for Ed25519); empty for other keys."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raw = key.public_key().public_bytes(s.Encoding.Raw, s.PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": _base64(raw)}
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        point = key.public_key().public_numbers()
        x, y = (_base64(number.to_bytes(_P256_BYTES)) for number in (point.x, point.y))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        e, n = (_base64(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.e, numbers.n))
        return {"e": e, "kty": "RSA", "n": n}
    return {}


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638, 3; empty for a key of another type than those of `_jwk`."""
    members = _MEMBERS.get(str(jwk.get("kty")), ())
    if not members or not all(isinstance(jwk.get(member), str) for member in members):
        return ""
    required = {member: jwk[member] for member in members}
    return _base64(sha256(json.dumps(required, sort_keys=True, separators=(",", ":")).encode()).digest())


def _algorithm(jwk: Mapping[str, str]) -> str:
    return {"OKP": "EdDSA", "EC": "ES256"}.get(jwk["kty"], "RS256")


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
