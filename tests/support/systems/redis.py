"""ACL users of a real Redis with an aclfile."""

import secrets
from contextlib import contextmanager
from hashlib import sha256

import redis

from support.servers.redis_server import Redis

ADMIN = "rotator"
RIGHTS = "+acl|getuser +acl|setuser +acl|save"
"""What the admin needs where Redis has an aclfile."""


class AclUser:
    """An app's user, and an admin with the least permissions."""

    calls = ("redis.client:Redis.execute_command",)
    min_calls = 12

    def __init__(self, server, admin_password):
        self.server, self._admin_password = server, admin_password
        self.user, self._first = f"app-{secrets.token_hex(4)}", secrets.token_hex(16)
        server.ask(
            "ACL", "SETUSER", self.user, "on", f">{self._first}", "~app:*", "+@read", "+@write", "+ping", "+select"
        )
        server.ask("ACL", "SAVE")
        self.target = {"kind": "redis", "secret": "cache/redis", "admin_secret": "cache/admin", "user": self.user}

    @classmethod
    @contextmanager
    def started(cls, folder):
        password = secrets.token_hex(16)
        with Redis(folder, acl=[f"user {ADMIN} on >{password} {RIGHTS}"]) as server:
            yield lambda: cls(server, password)

    def secrets(self):
        place = {"host": "127.0.0.1", "port": self.server.port}
        return {
            "cache/redis": {**place, "username": self.user, "password": self._first, "db": 0},
            "cache/admin": {**place, "username": ADMIN, "password": self._admin_password},
        }

    def accepts(self, fields):
        with redis.Redis(port=self.server.port, username=self.user, password=fields["password"]) as client:
            try:
                return client.ping()
            except redis.exceptions.AuthenticationError:
                return False

    def hashes(self):
        """The hashes of the user's passwords in Redis."""
        return set(self.server.ask("ACL GETUSER", self.user)["passwords"])

    def orphans(self, fields):
        return self.hashes() - {hash_of(fields["password"])}

    def old_is_revoked(self, fields):
        return not self.accepts(fields)


def hash_of(password):
    return sha256(password.encode()).hexdigest()


class OwnDefault(AclUser):
    """The default user with the password that the server has started with, which changes its own one."""

    min_calls = 12

    def __init__(self, server):
        self.server, self.user, self._first = server, "default", secrets.token_hex(16)
        server.ask("ACL", "SETUSER", "default", "resetpass", f">{self._first}", f">{server.password}")
        self.target = {"kind": "redis", "secret": "cache/redis", "user": "default"}

    @classmethod
    @contextmanager
    def started(cls, folder):
        with Redis(folder) as server:
            yield lambda: cls(server)

    def secrets(self):
        return {"cache/redis": {"host": "127.0.0.1", "port": self.server.port, "password": self._first}}

    def orphans(self, fields):
        return super().orphans(fields) - {hash_of(self.server.password)}
