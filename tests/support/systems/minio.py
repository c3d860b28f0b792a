"""A service account of a user of the MinIO stand-in."""

import secrets
from contextlib import contextmanager

from support.servers.minio_stand_in import BUCKET, Minio, weak_encryption, weaken_encryption


class ServiceAccounts:
    """An account with fewer permissions than its user."""

    calls = ("botocore.httpsession:URLLib3Session.send",)
    min_calls = 12
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"]}]}  # noqa: RUF012  # It is never changed.

    def __init__(self, minio, port=None):
        """`port`: of a proxy in front of it."""
        self.minio, self._endpoint = minio, f"127.0.0.1:{port or minio.port}"
        self.target = {"kind": "minio", "secret": "storage/minio", "admin_secret": "storage/admin"}
        self._first = {"access_key": secrets.token_hex(8), "secret_key": secrets.token_hex(16)}
        first = {"secretKey": self._first["secret_key"], "parentUser": "simba", "accountStatus": "on"}
        minio.accounts = {self._first["access_key"]: {**first, "policy": self.policy, "name": "simba-app"}}

    @classmethod
    @contextmanager
    def started(cls, folder):
        del folder
        with Minio() as minio:
            yield lambda: cls(minio)

    shortcuts = staticmethod(weak_encryption)
    """Makes it faster, for this process and for those that call `prepare` first."""
    prepare = staticmethod(weaken_encryption)

    def secrets(self):
        return {
            "storage/minio": {"endpoint": self._endpoint, "bucket": BUCKET, **self._first},
            "storage/admin": self.admin(),
        }

    def admin(self, **fields):
        return {"endpoint": self._endpoint, **self.minio.admin, **fields}

    def accepts(self, fields):
        return self.minio.secret_of(fields["access_key"]) == fields["secret_key"]

    def orphans(self, fields):
        enabled = {key for key, account in self.minio.accounts.items() if account["accountStatus"] == "on"}
        return enabled - {fields["access_key"]}

    def old_is_revoked(self, fields):
        return not self.accepts(fields)
