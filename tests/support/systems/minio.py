"""A service account below a user of what stands in for MinIO."""

import secrets
from contextlib import contextmanager

from support.servers.minio_stand_in import BUCKET, Minio, cheapen, cheaply


class ServiceAccounts:
    """An account with fewer rights than its user."""

    calls = ("botocore.httpsession:URLLib3Session.send",)
    crossings_least = 12
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"]}]}  # noqa: RUF012  # Nobody writes into it.

    def __init__(self, minio, port=None):
        """`port`: of what stands before it."""
        self.minio, self._endpoint = minio, f"127.0.0.1:{port or minio.port}"
        self.target = {"kind": "minio", "secret": "storage/minio", "admin": "storage/admin"}
        self._first = {"access_key": secrets.token_hex(8), "secret_key": secrets.token_hex(16)}
        first = {"secretKey": self._first["secret_key"], "parentUser": "simba", "accountStatus": "on"}
        minio.accounts = {self._first["access_key"]: {**first, "policy": self.policy, "name": "simba-app"}}

    @classmethod
    @contextmanager
    def started(cls, folder):
        del folder
        with Minio() as minio:
            yield lambda: cls(minio)

    quickly = staticmethod(cheaply)
    """So long as this lasts it takes less time, for those of its own processes alone that `prepare` first."""
    prepare = staticmethod(cheapen)

    def secrets(self):
        return {
            "storage/minio": {"endpoint": self._endpoint, "bucket": BUCKET, **self._first},
            "storage/admin": self.admin(),
        }

    def admin(self, **fields):
        return {"endpoint": self._endpoint, **self.minio.admin, **fields}

    def lets_in(self, fields):
        return self.minio.secret_of(fields["access_key"]) == fields["secret_key"]

    def orphans(self, fields):
        enabled = {key for key, one in self.minio.accounts.items() if one["accountStatus"] == "on"}
        return enabled - {fields["access_key"]}

    def old_is_over(self, fields):
        return not self.lets_in(fields)
