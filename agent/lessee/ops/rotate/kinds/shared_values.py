"""Values that both sides know: seeds of TOTP, and passwords of HTTP basic authentication."""

import secrets
from base64 import b32encode
from hashlib import sha256

from lessee.config.grammar.rotation import BasicAuth, Totp
from lessee.ops.rotate.kinds import library, new_password
from lessee.ops.rotate.kinds.kind import Kind, KindContext
from lessee.ops.rotate.kinds.verified import VerifiedCredential
from lessee.ops.rotate.policy.journal import Fields

_SEED_BYTES = 20
"""RFC 4226, 4: a shared secret of 160 bits is recommended."""
_PASSWORD_LENGTH = 48
"""bcrypt uses the first 72 bytes."""
_DIGITS = 16
_ROUNDS = 5
"""htpasswd's default. A server computes the hash for each request, and a random password needs no slow one."""


def totp(config: Totp, context: KindContext) -> Kind:
    """A seed of TOTP, and the seeds that verifiers accept."""
    return VerifiedCredential(config, context, _Seeds())


def basic_auth(config: BasicAuth, context: KindContext) -> Kind:
    """A user of HTTP basic authentication, and the users' hashes."""
    return VerifiedCredential(config, context, _Users(config.users))


class _Seeds:
    """`seed` in base32; verifiers have `seeds`, the newest first. An id is a part of a seed's SHA-256."""

    def new(self, secret: Fields) -> Fields:
        del secret
        return {"seed": b32encode(secrets.token_bytes(_SEED_BYTES)).decode()}

    def id_of(self, fields: Fields) -> str:
        seed = fields.get("seed")
        return _digest(seed) if seed and isinstance(seed, str) else ""

    def ids(self, accepted: Fields) -> tuple[str, ...]:
        return tuple(map(_digest, _seeds(accepted)))

    def accepts(self, accepted: Fields, fields: Fields) -> bool:
        return self.id_of(fields) in self.ids(accepted)

    def add(self, accepted: Fields, fields: Fields) -> Fields:
        return {**accepted, "seeds": [fields["seed"], *_seeds(accepted)]}

    def remove(self, accepted: Fields, id_: str) -> Fields:
        return {**accepted, "seeds": [seed for seed in _seeds(accepted) if _digest(seed) != id_]}


class _Users:
    """`username` and `password` of two users in turn; verifiers have a bcrypt hash for each name, as in htpasswd.

    A server looks only at the first line of a user, so that one user cannot have two passwords.
    """

    def __init__(self, users: tuple[str, ...]) -> None:
        self._users = users
        self._bcrypt = library("bcrypt")

    def new(self, secret: Fields) -> Fields:
        first, second = self._users
        password = new_password(_PASSWORD_LENGTH)
        return {"username": second if secret.get("username") == first else first, "password": password}

    def id_of(self, fields: Fields) -> str:
        return str(fields.get("username") or "") if fields.get("password") else ""

    def ids(self, accepted: Fields) -> tuple[str, ...]:
        return tuple(name for name, value in accepted.items() if str(value).startswith("$"))

    def accepts(self, accepted: Fields, fields: Fields) -> bool:
        hashed, password = accepted.get(self.id_of(fields)), fields.get("password")
        if not isinstance(hashed, str) or not isinstance(password, str):
            return False
        try:
            return bool(self._bcrypt.checkpw(password.encode(), hashed.encode()))
        except ValueError:  # Another kind of hash, or a longer password than bcrypt takes.
            return False

    def add(self, accepted: Fields, fields: Fields) -> Fields:
        if self.id_of(fields) not in self._users:
            return accepted  # Who may write the clients' secret must not choose the password of another user.
        hashed = self._bcrypt.hashpw(str(fields["password"]).encode(), self._bcrypt.gensalt(_ROUNDS))
        return {**accepted, self.id_of(fields): hashed.decode().replace("$2b$", "$2y$", 1)}

    def remove(self, accepted: Fields, id_: str) -> Fields:
        if id_ not in self._users:
            return accepted  # As above.
        return {name: value for name, value in accepted.items() if name != id_}


def _seeds(accepted: Fields) -> list[str]:
    found = accepted.get("seeds")
    return [str(seed) for seed in found] if isinstance(found, list) else []


def _digest(seed: str) -> str:
    return sha256(seed.encode()).hexdigest()[:_DIGITS]
