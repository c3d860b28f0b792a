"""What `lessee rotate` rotates: a target is a secret in Vault, and the system that owns what stands in it."""

from typing import Annotated

from msgspec import Meta, field

from lessee.config.grammar import scalars as w
from lessee.config.grammar.block import Block, Command, says


class _Target(Block, frozen=True, kw_only=True, tag_field="kind"):
    """A credential to be changed in the system that owns it, and in Vault."""

    secret: Annotated[w.SecretPath, says("What the apps read.")]
    every: Annotated[w.Timeout | None, says("How often; absent: when told to.")] = None
    jitter: Annotated[
        w.Duration | None, says("It comes up to so much later; default: a tenth of every, at most an hour.")
    ] = None
    windows: Annotated[
        tuple[w.Window, ...], says("When it may begin, in UTC, such as `02:00-04:00` or `sat,sun 00:00-06:00`.")
    ] = ()
    consumers: Annotated[
        tuple[w.Name, ...], says("Apps to wait for, beside those whose agents have confirmed this secret before.")
    ] = ()
    confirm_within: Annotated[
        w.Timeout, says("So long the old credential is kept for those who have not confirmed the new one.")
    ] = 300.0
    retire_after: Annotated[
        w.Duration,
        says("So long after the last confirmation the old one stays valid: who has just read it may be logging in."),
    ] = 5.0


class _Administered(_Target, frozen=True, kw_only=True):
    admin: Annotated[w.SecretPath, says("The same keys, of one who may alter the others.")]


class Postgres(_Administered, frozen=True, kw_only=True, tag="postgres"):
    """Login roles of PostgreSQL that take turns."""

    roles: Annotated[
        Annotated[tuple[w.Text, ...], Meta(min_length=1)],
        says("Two roles that take turns. With a single one, logins fail from the change until the apps have the new."),
    ]
    owner: Annotated[w.Text | None, says("The role that owns the objects; the others are its members.")] = None
    terminate: Annotated[w.Switch, says("Whether the old role's sessions are ended once it is retired.")] = False
    grace: Annotated[w.Duration, says("So long after the confirmations the old role's sessions may go on.")] = 0.0


class Redis(_Administered, frozen=True, kw_only=True, tag="redis"):
    """An ACL user of Redis, which has two passwords meanwhile."""

    user: Annotated[w.Text | None, says("The ACL user; default: the secret's username.")] = None


class S3(_Administered, frozen=True, kw_only=True, tag="s3"):
    """A user's access keys, by the IAM API of AWS."""

    user: Annotated[w.Text, says("The user whose keys are changed.")]
    keep: Annotated[w.Duration, says("How long the old key is kept, disabled.")] = 86400.0


class Minio(_Administered, frozen=True, kw_only=True, tag="minio"):
    """Service accounts of MinIO."""

    user: Annotated[w.Text | None, says("Whose rights the accounts have; default: whose account the old one is.")] = (
        None
    )
    keep: Annotated[w.Duration, says("How long the old account is kept, disabled.")] = 86400.0


class ApiKey(_Target, frozen=True, kw_only=True, tag="api-key"):
    """A key that a provider's API makes and revokes, as a recipe says."""

    recipe: Annotated[w.FilePath, says("A recipe's file, or the name of one that lessee has.")]
    admin: Annotated[w.SecretPath | None, says("What the recipe calls `admin`.")] = None
    keep: Annotated[w.Duration, says("How long the old key is kept, disabled, where the recipe can.")] = 0.0


class Manual(_Target, frozen=True, kw_only=True, tag="manual"):
    """What a person changes: lessee says when, takes the new value, tries it and publishes it."""

    keys: Annotated[
        Annotated[tuple[w.Text, ...], Meta(min_length=1)], says("The secret's keys that are typed in anew.")
    ]
    instructions: Annotated[w.Text | None, says("What the person is told to do.")] = None
    recipe: Annotated[w.FilePath | None, says("A recipe, of which `prove` is used.")] = None
    prove: Annotated[Command | None, says("A program that gets the fields as JSON on stdin; 0: they work.")] = None


class Value(Block, frozen=True, kw_only=True):
    """A random value."""

    generate: Annotated[w.Count, says("So many characters.")] = 48
    alphabet: Annotated[w.Text | None, says("Of these; default: letters and digits.")] = None
    previous: Annotated[w.Text | None, says("The key under which the value before it stands meanwhile.")] = None


class InVault(_Target, frozen=True, kw_only=True, tag="vault"):
    """Random values in KV, or the secret_id of an AppRole: Vault itself is the system."""

    keys: Annotated[dict[w.Text, Value], says("The secret's keys, each with a new random value.")] = field(
        default_factory=dict
    )
    approle: Annotated[w.Text | None, says("An AppRole, a new secret_id of which goes to `secret_id`.")] = None
    mount: Annotated[w.MountPath, says("Where the AppRole method is mounted.")] = "approle"


class Own(_Target, frozen=True, kw_only=True, tag="command"):
    """A rotator of one's own."""

    command: Annotated[Command, says("Started once a step, with JSON on stdin and stdout.")]
    timeout: Annotated[w.Timeout, says("A step takes no longer.")] = 60.0


Rotation = Postgres | Redis | S3 | Minio | ApiKey | Manual | InVault | Own


def admin_of(said: Rotation) -> str | None:
    """The path of its admin's secret; None where it has none."""
    path: str | None = getattr(said, "admin", None)
    return path
