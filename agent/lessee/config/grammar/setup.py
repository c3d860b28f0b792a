"""The operator's block `setup`: environments, who may do what in them, and what stands there at first."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from lessee.config.grammar import scalars as w
from lessee.config.grammar.block import Block, says

Right = Literal["read", "create", "update", "delete", "list", "all"]


class NewValue(Block, frozen=True, kw_only=True):
    """Where the first value of a secret comes from."""

    one_of: ClassVar[tuple[str, ...]] = ("generate", "value", "env", "file", "prompt")
    generate: Annotated[w.Count | None, says("So many characters by chance.")] = None
    alphabet: Annotated[w.Text | None, says("The characters of generate; default: ASCII letters and digits.")] = None
    value: Annotated[w.Text | None, says("A constant that anybody may see, such as a user's name.")] = None
    env: Annotated[w.VariableOf | None, says("A variable of the operator's environment.")] = None
    file: Annotated[w.FilePath | None, says("A file, without the newline at its end; {environment} is replaced.")] = (
        None
    )
    prompt: Annotated[w.On | None, says("Ask for it at the terminal.")] = None


class GivenValue(Block, frozen=True, kw_only=True):
    """Where a value that exists already comes from."""

    one_of: ClassVar[tuple[str, ...]] = ("env", "file", "prompt")
    env: Annotated[w.VariableOf | None, says("A variable of the operator's environment.")] = None
    file: Annotated[w.FilePath | None, says("A file, without the newline at its end; {environment} is replaced.")] = (
        None
    )
    prompt: Annotated[w.On | None, says("Ask for it at the terminal.")] = None


class Login(Block, frozen=True, kw_only=True):
    """What an AppRole gives, from where, and for how long."""

    cidrs: Annotated[tuple[w.Cidr, ...], says("The addresses to log in from; default: any.")] = ()
    token_ttl: Annotated[w.Lifetime, says("A token lasts so long unless it is renewed.")] = 3600.0
    token_max_ttl: Annotated[w.Lifetime, says("A token lasts no longer, then its holder logs in again.")] = 86400.0
    secret_id_ttl: Annotated[w.Duration, says("A secret_id lasts so long; 0s: it does not end.")] = 0.0
    secret_id_num_uses: Annotated[w.Number, says("A secret_id serves so many logins; 0: any number.")] = 0


class Component(Login, frozen=True, kw_only=True):
    """Who may do what with the secrets of an environment."""

    rights: Annotated[Annotated[tuple[Right, ...], Meta(min_length=1)], says("What it may do.")]
    below: Annotated[
        Annotated[tuple[w.Below, ...], Meta(min_length=1)], says('The folders that it may do it in; "" is all.')
    ] = ("",)


class AuditDevice(Block, frozen=True, kw_only=True):
    """The file to which the server writes every request."""

    file: Annotated[w.AbsolutePath, says("The file, where the server sees it.")]
    name: Annotated[w.Name, says("The device's name.")] = "file"


class DatabaseRole(Block, frozen=True, kw_only=True):
    """A user that the database engine makes when it is asked."""

    creation: Annotated[Annotated[tuple[w.Text, ...], Meta(min_length=1)], says("The statements that make it.")]
    revocation: Annotated[tuple[w.Text, ...], says("The statements that remove it; default: the plugin's.")] = ()
    default_ttl: Annotated[w.Lifetime, says("It lasts so long unless its lease is renewed.")] = 3600.0
    max_ttl: Annotated[w.Lifetime, says("It lasts no longer.")] = 86400.0


class Connection(Block, frozen=True, kw_only=True):
    """How the server reaches one database, and what it makes there."""

    plugin: Annotated[w.Name, says("The database plugin.")] = "postgresql-database-plugin"
    url: Annotated[
        w.DatabaseUrl, says("With {{username}} and {{password}} in it, and no password; {environment} is replaced.")
    ]
    username: Annotated[w.Text, says("Whom the server is there; {environment} is replaced.")]
    password: Annotated[GivenValue, says("Its password, which is written once, with the connection.")]
    roles: Annotated[dict[w.Name, DatabaseRole], says("What dynamic() can ask for, by name.")] = field(
        default_factory=dict
    )


class Database(Block, frozen=True, kw_only=True):
    """A database engine for each environment."""

    mount: Annotated[w.OwnMount, says("Where; it begins with {environment}/.")] = "{environment}/database"
    connections: Annotated[dict[w.Name, Connection], says("The databases, by name.")]


class PkiRole(Block, frozen=True, kw_only=True):
    """Certificates that may be issued."""

    allowed_domains: Annotated[
        Annotated[tuple[w.Text, ...], Meta(min_length=1)], says("For names in these; {environment} is replaced.")
    ]
    allow_subdomains: Annotated[w.Switch, says("For names below them.")] = False
    allow_bare_domains: Annotated[w.Switch, says("For the domains themselves.")] = False
    max_ttl: Annotated[w.Lifetime, says("For no longer than this.")] = 259200.0


class Pki(Block, frozen=True, kw_only=True):
    """A certificate authority for each environment."""

    mount: Annotated[w.OwnMount, says("Where; it begins with {environment}/.")] = "{environment}/pki"
    common_name: Annotated[w.Text, says("The name of its root; {environment} is replaced.")]
    ttl: Annotated[w.Lifetime, says("How long the root is valid, and what it issues at most.")] = 31536000.0
    roles: Annotated[dict[w.Name, PkiRole], says("What certificate() can ask for, by name.")] = field(
        default_factory=dict
    )


class Setup(Block, frozen=True, kw_only=True):
    """What `lessee setup` makes."""

    environments: Annotated[
        Annotated[tuple[w.Name, ...], Meta(min_length=1)],
        says("The environments; none may name another one's secrets."),
    ] = ("development", "testing", "staging", "production")
    components: Annotated[
        dict[w.Name, Annotated[tuple[Right, ...], Meta(min_length=1)] | Component],
        says("Who may do what; a policy and an AppRole each. A bare list for database-admin is for database/."),
    ] = field(default_factory=dict)
    apps: Annotated[
        w.Switch | Login, says("Whether each of apps gets a policy and an AppRole too, and for how long it logs in.")
    ] = True
    secrets: Annotated[
        dict[w.SecretPath, dict[w.Text, NewValue]],
        says("The first secrets, by path and key, where there are none."),
    ] = field(default_factory=dict)
    audit: Annotated[AuditDevice | None, says("The server's audit log.")] = None
    database: Annotated[Database | None, says("A database engine for each environment.")] = None
    pki: Annotated[Pki | None, says("A certificate authority for each environment.")] = None
