"""The block `rotation`: credentials that `lessee rotate` replaces in Vault and in the system that they belong to."""

from __future__ import annotations  # The types are evaluated when a file has the block: a sidecar's has not.

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, Command, describe

MARKS = frozenset({"rotation_timestamp", "rotation_count"})
"""The keys that every rotation writes in addition to the new value; they are no secret."""


class RotationTarget(Block, frozen=True, kw_only=True, tag_field="kind"):
    """A credential that lessee rotates in its system and in Vault."""

    secret: Annotated[scalars.SecretPath, describe("The path of the secret that the apps read.")]
    rotation_period: Annotated[
        scalars.Timeout | None, describe("How often to rotate. Default: only when `lessee rotate` names the target.")
    ] = None
    jitter: Annotated[
        scalars.Duration | None,
        describe("The maximum random delay of a rotation. Default: a tenth of rotation_period, at most an hour."),
    ] = None
    rotation_windows: Annotated[
        tuple[scalars.TimeWindow, ...],
        describe(
            "When a rotation may start, in UTC, such as `02:00-04:00` or `sat,sun 00:00-06:00`. Default: at any time."
        ),
    ] = ()
    consumers: Annotated[
        tuple[scalars.Name, ...],
        describe(
            "Apps whose confirmation of the new credential the rotation waits for, in addition to those whose agents "
            "have confirmed this secret before."
        ),
    ] = ()
    confirmation_timeout: Annotated[
        scalars.Timeout,
        describe("How long to wait for confirmations of the new credential before the old one is revoked anyway."),
    ] = 300.0
    revoke_delay: Annotated[
        scalars.Duration,
        describe(
            "The time between the last confirmation and the revocation of the old credential; an app that has just "
            "read it may still be logging in."
        ),
    ] = 5.0

    has_consumers: ClassVar[bool] = True
    """Agents may confirm the new credential; False: lessee itself puts it where it is used, and proves it there."""
    stays_valid: ClassVar[bool] = False
    """With a `delete_delay` the old credential is valid until it is deleted; False: it is disabled before."""


class _AdministeredTarget(RotationTarget, frozen=True, kw_only=True):
    admin_secret: Annotated[
        scalars.SecretPath,
        describe("The path of the secret with the credentials that change the others; it has the same keys."),
    ]


class _OwnLoginTarget(RotationTarget, frozen=True, kw_only=True):
    admin_secret: Annotated[
        scalars.SecretPath | None,
        describe(
            "The path of the secret with the credentials that change the others; it has the same keys. Default: a "
            "single login changes its own password."
        ),
    ] = None

    @property
    def admin_path(self) -> str:
        """The path of the secret with the login that changes the password."""
        return self.admin_secret if self.admin_secret is not None else self.secret


class VerifiedTarget(RotationTarget, frozen=True, kw_only=True):
    """A credential that clients read from one secret, and servers verify from another."""

    stays_valid: ClassVar[bool] = True

    verifier_secret: Annotated[
        scalars.SecretPath,
        describe(
            "The path of the secret that the servers read. lessee adds the new credential there before it publishes "
            "it, and removes the old one at the end; what operators have added stays."
        ),
    ]
    verifiers: Annotated[
        tuple[scalars.Name, ...],
        describe(
            "The servers, as apps of lessee, that must confirm `verifier_secret` before the new credential is "
            "published, in addition to those whose agents have confirmed it before."
        ),
    ] = ()


class Postgres(_OwnLoginTarget, frozen=True, kw_only=True, tag="postgres"):
    """Rotates the password of a login role of PostgreSQL, or of two roles in turn."""

    roles: Annotated[
        Annotated[tuple[scalars.Text, ...], Meta(min_length=1)],
        describe(
            "Two login roles that are used in turn. With a single role, logins fail from the change until the apps "
            "have the new password."
        ),
    ]
    owner: Annotated[
        scalars.Text | None,
        describe("The role that owns the database objects; the roles in `roles` are its members."),
    ] = None
    terminate: Annotated[
        scalars.Boolean, describe("true terminates the sessions of the old role after the rotation.")
    ] = False
    terminate_delay: Annotated[
        scalars.Duration,
        describe("With `terminate`: how long after the last confirmation the old role's sessions may continue."),
    ] = 0.0


class Redis(_OwnLoginTarget, frozen=True, kw_only=True, tag="redis"):
    """Rotates the password of an ACL user of Redis; both passwords are valid during the rotation."""

    user: Annotated[
        scalars.Text,
        describe("The ACL user, such as `default`. No other user is changed, whatever `username` in the secret says."),
    ]


class Mysql(_OwnLoginTarget, frozen=True, kw_only=True, tag="mysql"):
    """Rotates the password of a user of MariaDB or MySQL, or of two users in turn."""

    users: Annotated[
        Annotated[tuple[scalars.Text, ...], Meta(min_length=1)],
        describe("Two users that are used in turn. A single user has both passwords during the rotation."),
    ]
    account_host: Annotated[
        scalars.Text, describe("The host part of the users' account names, such as `%` in `'shop'@'%'`.")
    ] = "%"
    more_account_hosts: Annotated[
        tuple[scalars.Text, ...],
        describe(
            "Further host parts of the accounts of a single user, such as `localhost` of `root`. Those that exist have "
            "the same password."
        ),
    ] = ()
    role: Annotated[
        scalars.Text | None,
        describe(
            "The role that has the privileges, which lessee grants to the users. Default: the next user gets the "
            "grants of the current one."
        ),
    ] = None
    terminate: Annotated[
        scalars.Boolean, describe("true terminates the sessions of the old user after the rotation.")
    ] = False


class Rabbitmq(_OwnLoginTarget, frozen=True, kw_only=True, tag="rabbitmq"):
    """Rotates users of RabbitMQ: each rotation creates one with the permissions of the current one."""

    user: Annotated[
        scalars.Text,
        describe("The name of the user. Each rotation appends another suffix, such as `simba-6f1d2c3b`."),
    ]
    keep_name: Annotated[
        scalars.Boolean,
        describe(
            "true changes the password of this one user instead. Then logins fail from the change until the apps have "
            "the new password."
        ),
    ] = False
    delete_delay: Annotated[
        scalars.Duration,
        describe("How long the old user stays without a password before it is deleted, which closes its connections."),
    ] = 86400.0


class Ldap(_AdministeredTarget, frozen=True, kw_only=True, tag="ldap"):
    """Rotates the userPassword of an entry of an LDAP directory, or of two entries in turn."""

    accounts: Annotated[
        Annotated[tuple[scalars.Text, ...], Meta(min_length=1)],
        describe(
            "The DN of the entry, which has two passwords during the rotation, or the DNs of two entries that are used "
            "in turn. No other entry is changed, whatever `dn` in the secret says."
        ),
    ]


class S3(_AdministeredTarget, frozen=True, kw_only=True, tag="s3"):
    """Rotates the access keys of a user by the IAM API of AWS."""

    user: Annotated[scalars.Text, describe("The IAM user whose access keys are rotated.")]
    delete_delay: Annotated[
        scalars.Duration, describe("How long the old access key stays disabled before it is deleted.")
    ] = 86400.0


class Minio(_AdministeredTarget, frozen=True, kw_only=True, tag="minio"):
    """Rotates service accounts of MinIO."""

    user: Annotated[
        scalars.Text | None,
        describe("The user whose permissions the service accounts have. Default: the user of the old account."),
    ] = None
    delete_delay: Annotated[
        scalars.Duration, describe("How long the old service account stays disabled before it is deleted.")
    ] = 86400.0


class ApiKey(RotationTarget, frozen=True, kw_only=True, tag="api-key"):
    """Rotates a key that a provider's API creates and revokes, as a recipe describes."""

    recipe: Annotated[scalars.FilePath, describe("The path of a recipe, or the name of one that lessee includes.")]
    admin_secret: Annotated[
        scalars.SecretPath | None, describe("The path of the secret whose keys the recipe uses as `admin`.")
    ] = None
    delete_delay: Annotated[
        scalars.Duration,
        describe("How long the old key stays disabled before it is deleted; the recipe must support it."),
    ] = 0.0


class Manual(RotationTarget, frozen=True, kw_only=True, tag="manual"):
    """Asks an operator for a new credential when it is due, verifies it, and publishes it."""

    keys: Annotated[
        Annotated[tuple[scalars.Text, ...], Meta(min_length=1)],
        describe("The keys of the secret whose new values the operator enters."),
    ]
    instructions: Annotated[scalars.Text | None, describe("What lessee tells the operator to do.")] = None
    recipe: Annotated[
        scalars.FilePath | None,
        describe("The path or name of a recipe; lessee verifies the new credential as the recipe describes."),
    ] = None
    verify: Annotated[
        Command | None,
        describe("A command that gets the secret as JSON on stdin; exit code 0 means that the new credential works."),
    ] = None


class RandomValue(Block, frozen=True, kw_only=True):
    """A random value."""

    generate: Annotated[scalars.Count, describe("The number of random characters to generate.")] = 48
    charset: Annotated[
        scalars.Text | None, describe("The characters to choose from. Default: ASCII letters and digits.")
    ] = None
    previous_key: Annotated[
        scalars.Text | None,
        describe("The key of the secret that contains the previous value until the rotation is finished."),
    ] = None


class VaultValues(RotationTarget, frozen=True, kw_only=True, tag="vault"):
    """Rotates values that only Vault has: random values in KV, or the secret_id of an AppRole."""

    keys: Annotated[dict[scalars.Text, RandomValue], describe("The keys of the secret that get new random values.")] = (
        field(default_factory=dict)
    )
    approle: Annotated[
        scalars.Text | None, describe("The AppRole whose new secret_id is stored as `secret_id` in the secret.")
    ] = None
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the AppRole auth method.")] = "approle"


class SecretIdFile(RotationTarget, frozen=True, kw_only=True, tag="secret-id"):
    """Rotates the secret_id in a file on this machine: of the rotator itself, of an operator, or of an agent.

    The secret at `secret` records the accessor, and never has the secret_id.
    """

    has_consumers: ClassVar[bool] = False

    approle: Annotated[scalars.Text, describe("The AppRole whose secret_id is rotated.")]
    secret_id_file: Annotated[
        scalars.FilePath, describe("The path of the file that contains the secret_id; it keeps its mode and owner.")
    ]
    mount: Annotated[scalars.AuthMountPath, describe("The mount path of the AppRole auth method.")] = "approle"


class DatabaseRoot(RotationTarget, frozen=True, kw_only=True, tag="database-root"):
    """Rotates the root credentials of a connection of Vault's database secrets engine; afterwards only Vault has them.

    The secret at `secret` records the rotation, and has no password.
    """

    has_consumers: ClassVar[bool] = False

    connection: Annotated[scalars.Text, describe("The name of the connection: that of its path MOUNT/config/NAME.")]
    mount: Annotated[scalars.MountPath, describe("The mount path of the database secrets engine.")] = "database"
    admin_secret: Annotated[
        scalars.SecretPath | None,
        describe(
            "The path of the secret of another login of the database (PostgreSQL), which may change the root's "
            "password: it repairs the connection where Vault has lost the new password. Default: a person has to."
        ),
    ] = None


class PostgresAdmins(RotationTarget, frozen=True, kw_only=True, tag="postgres-admins"):
    """Rotates the admin of PostgreSQL that other targets use: two roles alternate, and each changes the other."""

    owner: ClassVar[None] = None
    terminate: ClassVar[bool] = False
    terminate_delay: ClassVar[float] = 0.0

    roles: Annotated[
        Annotated[tuple[scalars.Text, ...], Meta(min_length=2, max_length=2)],
        describe("The two login roles; both may change the password of the other."),
    ]

    @property
    def admin_secret(self) -> str:
        """The published admin changes the other."""
        return self.secret

    @property
    def admin_path(self) -> str:
        """As `admin_secret`."""
        return self.secret


class S3Admin(RotationTarget, frozen=True, kw_only=True, tag="s3-admin"):
    """Rotates the access keys of an admin by the IAM API of AWS: each of two keys creates and deletes the other."""

    user: Annotated[scalars.Text, describe("The IAM user of the admin, which may change its own access keys.")]
    delete_delay: Annotated[
        scalars.Duration, describe("How long the old access key stays disabled before it is deleted.")
    ] = 86400.0

    @property
    def admin_secret(self) -> str:
        """The published key changes the other."""
        return self.secret


class CustomRotation(RotationTarget, frozen=True, kw_only=True, tag="command"):
    """Rotates by a program of your own."""

    command: Annotated[
        Command, describe("The command, which lessee runs once for each step with JSON on stdin and stdout.")
    ]
    timeout: Annotated[scalars.Timeout, describe("How long one step may take.")] = 60.0


class SshKey(VerifiedTarget, frozen=True, kw_only=True, tag="ssh-key"):
    """Rotates an Ed25519 key of SSH: `private_key` and `public_key`; servers read `authorized_keys`."""

    options: Annotated[
        scalars.Text | None,
        describe('The options of the key in `authorized_keys`, such as `restrict,command="/usr/bin/backup"`.'),
    ] = None


class SigningKey(VerifiedTarget, frozen=True, kw_only=True, tag="signing-key"):
    """Rotates an Ed25519 key in PEM: `private_key` and `public_key`; verifiers read `public_keys`."""

    delete_delay: Annotated[
        scalars.Duration,
        describe("How long the old public key stays in `verifier_secret` when nothing is signed with it any more."),
    ] = 86400.0


class JwtKey(VerifiedTarget, frozen=True, kw_only=True, tag="jwt-key"):
    """Rotates a key that signs JWTs: `private_key`, `kid` and `algorithm`; verifiers read `jwks`."""

    token_ttl: Annotated[
        scalars.Lifetime,
        describe("The longest lifetime of a token; the old public key stays in the JWKS for this time."),
    ]
    algorithm: Annotated[
        Literal["EdDSA", "ES256", "RS256"], describe("The algorithm of the signatures, as in RFC 7518 and RFC 8037.")
    ] = "EdDSA"


class AgeIdentity(VerifiedTarget, frozen=True, kw_only=True, tag="age-identity"):
    """Rotates an identity of age: `recipient` for what encrypts; what decrypts reads `identities`."""

    delete_delay: Annotated[
        scalars.Duration | None,
        describe("How long the old identity stays in `verifier_secret`. Default: it is never removed."),
    ] = None


class Totp(VerifiedTarget, frozen=True, kw_only=True, tag="totp"):
    """Rotates a seed of TOTP: `seed` in base32; verifiers read the list `seeds`, the newest first."""


class BasicAuth(VerifiedTarget, frozen=True, kw_only=True, tag="basic-auth"):
    """Rotates `username` and `password` of HTTP basic authentication; servers read a bcrypt hash for each user."""

    users: Annotated[
        Annotated[tuple[scalars.Text, ...], Meta(min_length=1)],
        describe("Two users that are used in turn; servers accept both until all clients use the new one."),
    ]


Rotation = (
    Postgres
    | PostgresAdmins
    | Redis
    | Mysql
    | Rabbitmq
    | Ldap
    | S3
    | S3Admin
    | Minio
    | ApiKey
    | Manual
    | VaultValues
    | SecretIdFile
    | DatabaseRoot
    | CustomRotation
    | SshKey
    | SigningKey
    | JwtKey
    | AgeIdentity
    | Totp
    | BasicAuth
)
SELF_ADMINISTERED = PostgresAdmins | S3Admin
"""The kinds whose admin is the credential that they rotate."""


def admin_of(target: Rotation) -> str | None:
    """The path of the target's admin secret; None if it has none."""
    if isinstance(target, _OwnLoginTarget):
        return target.admin_path
    path: str | None = getattr(target, "admin_secret", None)
    return path


def changes_itself(target: Rotation) -> bool:
    """Whether a single login changes its own password."""
    return isinstance(target, _OwnLoginTarget) and target.admin_secret is None


def written_by(target: Rotation) -> tuple[str, ...]:
    """The paths of the secrets that a rotation writes, and apps read."""
    return (target.secret, target.verifier_secret) if isinstance(target, VerifiedTarget) else (target.secret,)
