"""The block of `lessee backup`."""

from typing import Annotated

from msgspec import Meta

from lessee.config.grammar import scalars as w
from lessee.config.grammar.block import Block, says


class BackupStore(Block, frozen=True, kw_only=True):
    """A bucket of S3. Vault may be away when it is needed, so nothing of it comes from there."""

    bucket: Annotated[w.BucketName, says("The bucket, which must be there.")]
    endpoint: Annotated[w.HttpUrl | None, says("Where the store is; default: Amazon's.")] = None
    region: Annotated[w.Name, says("The region that requests are signed for.")] = "us-east-1"
    prefix: Annotated[w.KeyPrefix, says("What the archives' keys begin with, such as `vault/`.")] = ""
    access_key_file: Annotated[
        w.FilePath | None, says("The file that holds the access key's id; default: $AWS_ACCESS_KEY_ID.")
    ] = None
    secret_key_file: Annotated[
        w.FilePath | None, says("The file that holds the secret key; default: $AWS_SECRET_ACCESS_KEY.")
    ] = None


class Keep(Block, frozen=True, kw_only=True):
    """How many archives stay after a new one was saved; the newest of each period."""

    daily: Annotated[w.Count, says("Of so many days that have archives.")] = 7
    weekly: Annotated[w.Count, says("Of so many weeks that have archives.")] = 4


class Backup(Block, frozen=True, kw_only=True):
    """Where `lessee backup` saves Vault's data, for whom, and for how long."""

    directory: Annotated[w.AbsolutePath | None, says("A folder for archives.")] = None
    s3: Annotated[BackupStore | None, says("A bucket for archives.")] = None
    recipients: Annotated[
        Annotated[tuple[w.AgeRecipient, ...], Meta(min_length=1)] | None,
        says("Public keys of age that can open an archive; default: that of the key file."),
    ] = None
    keep: Annotated[Keep, says("How many archives stay.")] = Keep()
