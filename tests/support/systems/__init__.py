"""The systems whose credentials are rotated in tests: one class each, by the name of its kind."""

from contextlib import contextmanager, nullcontext

from support.systems.api_key import ProviderKeys
from support.systems.approle import SecretIds
from support.systems.command import OwnProgram
from support.systems.minio import ServiceAccounts
from support.systems.postgres import LoginRoles, OneRole
from support.systems.redis import AclUser
from support.systems.s3 import AccessKeys
from support.systems.vault import InVault

SYSTEMS = {
    "api-key": ProviderKeys,
    "approle": SecretIds,
    "command": OwnProgram,
    "minio": ServiceAccounts,
    "postgres": LoginRoles,
    "postgres, one role": OneRole,
    "redis": AclUser,
    "s3": AccessKeys,
    "vault": InVault,
}


@contextmanager
def quickly(system, folder):
    """The same as `system.started`, where all that rotates is of the harness: no program could know of it."""
    with getattr(system, "quickly", nullcontext)(), system.started(folder) as new:
        yield new
