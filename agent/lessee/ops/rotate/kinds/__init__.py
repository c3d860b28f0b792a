"""The kinds of systems whose credentials lessee rotates; each module is imported when it is used."""

import secrets
from functools import partial
from importlib import import_module

from lessee.config.grammar import rotation as grammar
from lessee.host import optional_dependencies
from lessee.ops.rotate.kinds.kind import Kind, KindContext
from lessee.ops.setup.policy.initial_values import ALPHABET

_CLASSES: dict[type[grammar.Rotation], tuple[str, str]] = {
    grammar.Postgres: ("postgres", "LoginRoles"),
    grammar.PostgresAdmins: ("postgres_admins", "AdminPair"),
    grammar.Redis: ("redis", "AclUser"),
    grammar.Mysql: ("mysql", "Users"),
    grammar.Rabbitmq: ("rabbitmq", "BrokerUsers"),
    grammar.Ldap: ("ldap", "Entries"),
    grammar.S3: ("s3", "AccessKeys"),
    grammar.S3Admin: ("s3_admin", "AdminKeys"),
    grammar.Minio: ("minio", "ServiceAccounts"),
    grammar.ApiKey: ("api_key", "ProviderKeys"),
    grammar.Manual: ("manual", "ManualCredential"),
    grammar.VaultValues: ("vault", "in_vault"),
    grammar.SecretIdFile: ("secret_id_file", "LocalSecretId"),
    grammar.DatabaseRoot: ("database_root", "RootCredential"),
    grammar.CustomRotation: ("command", "RotatorCommand"),
    grammar.SshKey: ("key_pairs", "ssh_key"),
    grammar.SigningKey: ("key_pairs", "signing_key"),
    grammar.JwtKey: ("key_pairs", "jwt_key"),
    grammar.AgeIdentity: ("age_identity", "AgeIdentities"),
    grammar.Totp: ("shared_values", "totp"),
    grammar.BasicAuth: ("shared_values", "basic_auth"),
}
"""The module and the class of each kind."""
_OWN = {
    grammar.Postgres: ("postgres_own", "OwnRole"),
    grammar.Redis: ("redis", "OwnAclUser"),
    grammar.Mysql: ("mysql_own", "OwnUser"),
    grammar.Rabbitmq: ("rabbitmq", "OwnBrokerUser"),
}
"""The same of those whose login changes its own password."""


def kind_of(config: grammar.Rotation, context: KindContext) -> Kind:
    """The kind of a target. Raises LesseeError where a library is missing, or the admin's secret is not usable."""
    module, name = (_OWN if grammar.changes_itself(config) else _CLASSES)[type(config)]
    kind: Kind = getattr(import_module(f"{__name__}.{module}"), name)(config, context)
    return kind


library = partial(optional_dependencies.library, extra="rotate")
"""A client library of the extra `rotate`. Raises LesseeError where it is not installed."""


def new_password(length: int) -> str:
    """A random password of ASCII letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
