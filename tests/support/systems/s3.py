"""Access keys of a user of SeaweedFS, by the IAM API."""

import json
import secrets
from contextlib import contextmanager

from botocore.exceptions import ClientError

from lessee.host.openbao import free_port
from support.programs.sidecar import eventually
from support.servers.s3_server import BUCKET, S3Server

ADMIN = {"access_key_id": "admin-access", "secret_access_key": "admin-secret-key"}
_WHERE = f"arn:aws:s3:::{BUCKET}"
MAY_LIST = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [_WHERE]}
MAY_READ = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{_WHERE}/*"]}
MAY_WRITE = {"Effect": "Allow", "Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": [f"{_WHERE}/*"]}
ELSEWHERE = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::other"]}


class AccessKeys:
    """A user with one key and access to one bucket."""

    server = "store"
    calls = ("botocore.client:BaseClient._make_api_call",)
    min_calls = 12

    def __init__(self, store, port=None):
        """`port`: of a proxy in front of the store."""
        self.store, self.user = store, f"simba-{secrets.token_hex(4)}"
        self._endpoint = f"127.0.0.1:{port or store.port}"
        self.target = {"kind": "s3", "secret": "storage/minio", "admin_secret": "storage/admin", "user": self.user}
        self.iam = store.client("iam", **ADMIN)
        self.iam.create_user(UserName=self.user)
        self.allow(MAY_LIST, MAY_READ, MAY_WRITE)
        self._first = self.new_key()

    @classmethod
    @contextmanager
    def started(cls, folder):
        with started(folder) as store:
            yield lambda: cls(store)

    def secrets(self):
        return {
            "storage/minio": {"endpoint": self._endpoint, "bucket": BUCKET, **self._first},
            "storage/admin": self.admin(),
        }

    def admin(self, **fields):
        keys = {"access_key": ADMIN["access_key_id"], "secret_key": ADMIN["secret_access_key"]}
        return {"endpoint": self._endpoint, **keys, **fields}

    def accepts(self, fields):
        keys = {"access_key_id": fields["access_key"], "secret_access_key": fields["secret_key"]}
        client = self.store.client(**keys)
        try:
            return bool(client.list_objects_v2(Bucket=BUCKET))
        except ClientError:
            return False
        finally:
            client.close()

    def orphans(self, fields):
        return {key for key, status in self.keys().items() if status == "Active"} - {fields["access_key"]}

    def old_is_revoked(self, fields):
        return not self.accepts(fields)

    def keys(self):
        """The user's keys with their status."""
        found = self.iam.list_access_keys(UserName=self.user)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] for key in found}

    def new_key(self):
        """Create a key, as an operator does."""
        made = self.iam.create_access_key(UserName=self.user)["AccessKey"]
        return {"access_key": made["AccessKeyId"], "secret_key": made["SecretAccessKey"]}

    def remove(self):
        """Remove the user: each change costs the store what all its users cost."""
        for key in self.keys():
            self.iam.delete_access_key(UserName=self.user, AccessKeyId=key)
        self.iam.delete_user_policy(UserName=self.user, PolicyName="docs")
        self.iam.delete_user(UserName=self.user)
        self.iam.close()

    def allow(self, *statements):
        """Replace the user's policy."""
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.iam.put_user_policy(UserName=self.user, PolicyName="docs", PolicyDocument=policy)


@contextmanager
def started(folder):
    """A store with a bucket, and the admin of its users."""
    store = S3Server(folder, free_port(), admin=ADMIN)
    try:
        eventually(lambda: store.accepts(**ADMIN), "the store")
        yield store
    finally:
        store.close()
