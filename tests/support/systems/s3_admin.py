"""The access keys of an admin of SeaweedFS, by the IAM API."""

from botocore.exceptions import ClientError

from support.systems.s3 import AccessKeys

ADMINISTERS = {"Effect": "Allow", "Action": ["s3:*", "iam:*", "*"], "Resource": ["*", "arn:aws:s3:::*"]}


class AdminKeys(AccessKeys):
    """A user that may manage keys, with one key."""

    min_calls = 10

    def __init__(self, store, port=None):
        super().__init__(store, port)
        self.allow(ADMINISTERS)
        self.target = {"kind": "s3-admin", "secret": "storage/admin", "user": self.user}

    def secrets(self):
        return {"storage/admin": {"endpoint": self._endpoint, **self._first}}

    def accepts(self, fields):
        """Whether the published key may list and change its user's keys."""
        client = self.store.client("iam", access_key_id=fields["access_key"], secret_access_key=fields["secret_key"])
        try:
            listed = client.list_access_keys(UserName=self.user)["AccessKeyMetadata"]
            client.update_access_key(UserName=self.user, AccessKeyId=fields["access_key"], Status="Active")
            return bool(listed)
        except ClientError:
            return False
        finally:
            client.close()
