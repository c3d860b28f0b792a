"""The block `setup`: environments, access control, engines and first secrets that `lessee setup` creates."""

from __future__ import annotations  # The types are evaluated when a file has the block: a sidecar's has not.

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, describe

Capability = Literal["read", "create", "update", "delete", "list", "all"]


class GivenValue(Block, frozen=True, kw_only=True):
    """The source of an existing value."""

    one_of: ClassVar[tuple[str, ...]] = ("env", "file", "prompt")
    env: Annotated[
        scalars.VariableTemplate | None,
        describe("The environment variable of the operator that contains the value; {environment} is replaced."),
    ] = None
    file: Annotated[
        scalars.FilePath | None,
        describe(
            "The path of the file that contains the value; a newline at its end is removed. {environment} is replaced."
        ),
    ] = None
    prompt: Annotated[scalars.OnlyTrue | None, describe("true asks for the value at the terminal.")] = None


class NewValue(GivenValue, frozen=True, kw_only=True):
    """The source of the first value of a key."""

    one_of: ClassVar[tuple[str, ...]] = ("generate", "value", "env", "file", "prompt")
    generate: Annotated[scalars.Count | None, describe("Generates a random value with this number of characters.")] = (
        None
    )
    charset: Annotated[
        scalars.Text | None,
        describe("The characters that `generate` chooses from. Default: ASCII letters and digits."),
    ] = None
    value: Annotated[scalars.Text | None, describe("A constant that is not a secret, such as a username.")] = None
    json: Annotated[
        scalars.Boolean, describe('true reads the value as JSON: a number ("5432"), a boolean, a list or an object.')
    ] = False


class Login(Block, frozen=True, kw_only=True):
    """The parameters of an AppRole."""

    bound_cidrs: Annotated[
        tuple[scalars.Cidr, ...],
        describe("The addresses or networks from which logins and requests are allowed. Default: any."),
    ] = ()
    token_ttl: Annotated[scalars.Lifetime, describe("How long a token is valid unless it is renewed.")] = 3600.0
    token_max_ttl: Annotated[
        scalars.Lifetime, describe("How long a token is valid at most; then its owner logs in again.")
    ] = 86400.0
    secret_id_ttl: Annotated[
        scalars.Duration, describe("How long a secret_id is valid; 0s means that it does not expire.")
    ] = 0.0
    secret_id_num_uses: Annotated[
        scalars.Number, describe("The number of logins that a secret_id is valid for; 0 means any number.")
    ] = 0


class Component(Login, frozen=True, kw_only=True):
    """What a component may do with the secrets of an environment; it gets a policy and an AppRole."""

    capabilities: Annotated[
        Annotated[tuple[Capability, ...], Meta(min_length=1)],
        describe("The capabilities of the component's policy, as in Vault; `all` means all of them."),
    ]
    prefixes: Annotated[
        Annotated[tuple[scalars.SubFolder, ...], Meta(min_length=1)],
        describe('The path prefixes, below that of the environment, that the policy covers. Default: all (`""`).'),
    ] = ("",)


class AuditDevice(Block, frozen=True, kw_only=True):
    """The file audit device of the server."""

    file: Annotated[scalars.AbsolutePath, describe("The path of the audit log in the server's file system.")]
    name: Annotated[scalars.Name, describe("The path at which the audit device is enabled.")] = "file"


class DatabaseRole(Block, frozen=True, kw_only=True):
    """A role of the database engine, for which Vault creates database users on request."""

    creation_statements: Annotated[
        Annotated[tuple[scalars.Text, ...], Meta(min_length=1)],
        describe("The statements that create a user; {{name}}, {{password}} and {{expiration}} are replaced."),
    ]
    revocation_statements: Annotated[
        tuple[scalars.Text, ...], describe("The statements that remove a user. Default: those of the plugin.")
    ] = ()
    default_ttl: Annotated[scalars.Lifetime, describe("How long a user is valid unless its lease is renewed.")] = 3600.0
    max_ttl: Annotated[scalars.Lifetime, describe("How long a user is valid at most.")] = 86400.0


class Connection(Block, frozen=True, kw_only=True):
    """A connection of the database engine, and its roles."""

    plugin_name: Annotated[scalars.Name, describe("The database plugin.")] = "postgresql-database-plugin"
    connection_url: Annotated[
        scalars.DatabaseUrl,
        describe("The URL of the database with {{username}} and {{password}} in it; {environment} is replaced."),
    ]
    username: Annotated[
        scalars.Text, describe("The user that Vault logs in to the database as; {environment} is replaced.")
    ]
    password: Annotated[
        GivenValue, describe("The source of that user's password. It is written once, together with the connection.")
    ]
    roles: Annotated[
        dict[scalars.Name, DatabaseRole], describe("The roles that dynamic() in templates can request, by name.")
    ] = field(default_factory=dict)


class Database(Block, frozen=True, kw_only=True):
    """A database engine for each environment."""

    mount: Annotated[
        scalars.EnvironmentMount, describe("The mount path of the engine; it begins with {environment}/.")
    ] = "{environment}/database"
    connections: Annotated[dict[scalars.Name, Connection], describe("The connections to databases, by name.")]


class PkiRole(Block, frozen=True, kw_only=True):
    """A role of the PKI engine, for which Vault issues certificates."""

    allowed_domains: Annotated[
        Annotated[tuple[scalars.Text, ...], Meta(min_length=1)],
        describe("The domains that certificates may be issued for; {environment} is replaced."),
    ]
    allow_subdomains: Annotated[
        scalars.Boolean, describe("true allows certificates for subdomains of allowed_domains.")
    ] = False
    allow_bare_domains: Annotated[
        scalars.Boolean, describe("true allows certificates for allowed_domains themselves.")
    ] = False
    max_ttl: Annotated[scalars.Lifetime, describe("How long a certificate is valid at most.")] = 259200.0


class Pki(Block, frozen=True, kw_only=True):
    """A PKI engine with a certificate authority for each environment."""

    mount: Annotated[
        scalars.EnvironmentMount, describe("The mount path of the engine; it begins with {environment}/.")
    ] = "{environment}/pki"
    common_name: Annotated[
        scalars.Text, describe("The common name of the root certificate; {environment} is replaced.")
    ]
    ttl: Annotated[
        scalars.Lifetime, describe("How long the root certificate is valid, and a certificate that it issues at most.")
    ] = 31536000.0
    roles: Annotated[
        dict[scalars.Name, PkiRole], describe("The roles that certificate() in templates can request, by name.")
    ] = field(default_factory=dict)


class Setup(Block, frozen=True, kw_only=True):
    """What `lessee setup` creates in Vault."""

    environments: Annotated[
        Annotated[tuple[scalars.Name, ...], Meta(min_length=1)],
        describe("The environments. An agent of one environment cannot read the secrets of another."),
    ] = ("development", "testing", "staging", "production")
    project: Annotated[
        scalars.Name | None,
        describe(
            "A part of the names of policies and AppRoles: ENVIRONMENT-PROJECT-APP. Projects that share an environment "
            "need one each, if apps have equal names. Default: none."
        ),
    ] = None
    components: Annotated[
        dict[scalars.Name, Annotated[tuple[Capability, ...], Meta(min_length=1)] | Component],
        describe(
            "Users of secrets other than apps, by name; each gets a policy and an AppRole. A plain list gives "
            "capabilities; for a name such as database-admin they apply to database/."
        ),
    ] = field(default_factory=dict)
    apps: Annotated[
        scalars.Boolean | Login,
        describe("true gives each app of `apps` a policy and an AppRole too; a mapping sets the AppRole's parameters."),
    ] = True
    secrets: Annotated[
        dict[scalars.SecretPath, dict[scalars.Text, NewValue]],
        describe("The first values of secrets, by path and key. Existing values are not changed."),
    ] = field(default_factory=dict)
    audit: Annotated[AuditDevice | None, describe("The file audit device to enable. Default: none.")] = None
    database: Annotated[
        Database | None, describe("The database engine to mount for each environment. Default: none.")
    ] = None
    pki: Annotated[Pki | None, describe("The PKI engine to mount for each environment. Default: none.")] = None

    def role_name(self, environment: str, name: str) -> str:
        """The name of the policy and the role of an app, a component or a service of lessee. Vault lowers its case."""
        return "-".join(filter(None, (environment, self.project, name))).lower()
