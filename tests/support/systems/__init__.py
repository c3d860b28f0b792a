"""The systems whose credentials tests rotate: one class for each kind, which the tests' names contain."""

from contextlib import contextmanager, nullcontext

from support.systems.api_key import ProviderKeys
from support.systems.approle import SecretIds
from support.systems.command import RotatorProgram
from support.systems.database_root import RootCredential
from support.systems.ldap import Entries, TwoEntries
from support.systems.minio import ServiceAccounts
from support.systems.mysql import OneUser, OwnUser, Users
from support.systems.postgres import LoginRoles, OneRole, OwnRole
from support.systems.postgres_admins import AdminPair
from support.systems.rabbitmq import BrokerUsers, OwnBrokerUser
from support.systems.rabbitmq import OneUser as OneBrokerUser
from support.systems.redis import AclUser, OwnDefault
from support.systems.s3 import AccessKeys
from support.systems.s3_admin import AdminKeys
from support.systems.secret_id_file import LocalSecretId
from support.systems.vault import VaultValues
from support.systems.verified import AgeIdentities, BasicAuthUsers, JwtKeys, SigningKeys, SshKeys, TotpSeeds

SYSTEMS = {
    "age-identity": AgeIdentities,
    "api-key": ProviderKeys,
    "approle": SecretIds,
    "basic-auth": BasicAuthUsers,
    "command": RotatorProgram,
    "database-root": RootCredential,
    "jwt-key": JwtKeys,
    "ldap": Entries,
    "ldap, two entries": TwoEntries,
    "minio": ServiceAccounts,
    "mysql": Users,
    "mysql, one user": OneUser,
    "mysql, own login": OwnUser,
    "postgres": LoginRoles,
    "postgres, one role": OneRole,
    "postgres, own login": OwnRole,
    "postgres-admins": AdminPair,
    "rabbitmq": BrokerUsers,
    "rabbitmq, one user": OneBrokerUser,
    "rabbitmq, own login": OwnBrokerUser,
    "redis": AclUser,
    "redis, own login": OwnDefault,
    "s3": AccessKeys,
    "s3-admin": AdminKeys,
    "secret-id": LocalSecretId,
    "signing-key": SigningKeys,
    "ssh-key": SshKeys,
    "totp": TotpSeeds,
    "vault": VaultValues,
}


@contextmanager
def started_fast(system, folder):
    """As `system.started`, with shortcuts that only processes of the test itself understand."""
    with getattr(system, "shortcuts", nullcontext)(), system.started(folder) as new:
        yield new
