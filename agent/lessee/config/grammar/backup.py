"""The blocks `backup` and `drill`: where archives are saved, for whom and how long, and how drills test them."""

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


class DrillObjectives(Block, frozen=True, kw_only=True):
    """How long each part of a drill may take. A drill that misses one exits with 1."""

    rto: Annotated[
        scalars.Duration,
        describe(
            "The recovery time objective: the time from the loss of the server until every app has valid credentials "
            "from a server that was restored."
        ),
    ] = 900.0
    rpo: Annotated[
        scalars.Duration,
        describe("The recovery point objective: how old the newest archive may be when the server is lost."),
    ] = 129600.0
    time_to_revoke: Annotated[
        scalars.Duration,
        describe("The time from the start of `lessee emergency` until Vault refuses every credential that leaked."),
    ] = 60.0
    outage_recovery: Annotated[
        scalars.Duration,
        describe("The time from the end of an outage until every agent is fresh and every app has the newest files."),
    ] = 60.0
    rotation: Annotated[
        scalars.Duration,
        describe("The time that the rotation of all targets takes, until the last old credential is revoked."),
    ] = 300.0
    without_credential: Annotated[
        scalars.Duration,
        describe("How long an app may be without a valid credential in an outage or a rotation."),
    ] = 0.0


class Drill(Block, frozen=True, kw_only=True):
    """How `lessee drill` plays an outage, a leak, a rotation and a restore, and how long each may take."""

    objectives: Annotated[DrillObjectives, describe("How long each part of a drill may take.")] = DrillObjectives()
    outage: Annotated[scalars.Timeout, describe("How long Vault is cut off from the agents.")] = 10.0
    directory: Annotated[
        scalars.AbsolutePath | None,
        describe("The directory to write reports in. Default: the current directory."),
    ] = None
    period: Annotated[
        scalars.Lifetime, describe("How often there is a drill at least; an alert reports an older one.")
    ] = 2592000.0
    test_environments: Annotated[
        tuple[scalars.Name, ...],
        describe(
            "The environments that `lessee drill --against` may play a real outage, leak, rotation and restore in."
        ),
    ] = ()
    metrics_directory: Annotated[
        scalars.AbsolutePath | None,
        describe(
            "The directory of node_exporter's textfile collector, where lessee writes when the last drill was, and "
            "what it measured. Default: that of `backup`."
        ),
    ] = None
