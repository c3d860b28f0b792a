"""The block `backup`: where `lessee backup` saves Vault's data, encrypted for whom, and for how long."""

from __future__ import annotations  # The types are evaluated when a file has the block: a sidecar's has not.

from typing import Annotated

from msgspec import Meta

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, describe


class S3Bucket(Block, frozen=True, kw_only=True):
    """An S3 bucket for archives. Its credentials do not come from Vault, which may be down when you need a backup."""

    bucket: Annotated[scalars.BucketName, describe("The name of the bucket, which must exist.")]
    endpoint: Annotated[
        scalars.HttpUrl | None, describe("The endpoint of an S3-compatible store. Default: Amazon S3.")
    ] = None
    region: Annotated[scalars.Name, describe("The region that requests are signed for.")] = "us-east-1"
    prefix: Annotated[scalars.KeyPrefix, describe("The prefix of the archives' keys, such as `vault/`.")] = ""
    access_key_file: Annotated[
        scalars.FilePath | None,
        describe("The path of the file that contains the access key ID. Default: $AWS_ACCESS_KEY_ID."),
    ] = None
    secret_key_file: Annotated[
        scalars.FilePath | None,
        describe("The path of the file that contains the secret access key. Default: $AWS_SECRET_ACCESS_KEY."),
    ] = None


class Retention(Block, frozen=True, kw_only=True):
    """Which archives to keep after a new one is saved. An archive stays if one of these says so, or it is pinned."""

    within: Annotated[
        scalars.Duration,
        describe("How old an archive must be to be removed. `0s` allows the removal of every archive but the last."),
    ] = 86400.0
    last: Annotated[scalars.Count, describe("How many of the newest archives to keep.")] = 2
    hourly: Annotated[
        scalars.Number,
        describe(
            "How many hours to keep an archive of: the newest of each hour. Hours without an archive do not count."
        ),
    ] = 0
    daily: Annotated[
        scalars.Count,
        describe("How many days to keep an archive of: the newest of each day. Days without an archive do not count."),
    ] = 7
    weekly: Annotated[
        scalars.Count,
        describe(
            "How many weeks to keep an archive of: the newest of each week. Weeks without an archive do not count."
        ),
    ] = 4


class Backup(Block, frozen=True, kw_only=True):
    """Where `lessee backup` saves Vault's data, and who can decrypt it."""

    directory: Annotated[scalars.AbsolutePath | None, describe("The directory to save archives in.")] = None
    s3: Annotated[S3Bucket | None, describe("The S3 bucket to save archives in.")] = None
    recipients: Annotated[
        Annotated[tuple[scalars.AgeRecipient, ...], Meta(min_length=1)] | None,
        describe("The age recipients (public keys) that can decrypt an archive. Default: that of the key file."),
    ] = None
    metrics_directory: Annotated[
        scalars.AbsolutePath | None,
        describe(
            "The directory of node_exporter's textfile collector. After each save, and each verification of `latest`, "
            "lessee writes there when they last succeeded, for Prometheus. Default: no metrics."
        ),
    ] = None
    keep: Annotated[Retention, describe("Which archives to keep after a new one is saved.")] = Retention()
