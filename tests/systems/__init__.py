"""The systems whose credentials are rotated in tests: one class each, by the name of its kind."""

from systems.api_key import ProviderKeys
from systems.approle import SecretIds
from systems.command import OwnProgram
from systems.postgres import LoginRoles, OneRole
from systems.redis import AclUser
from systems.vault import InVault

SYSTEMS = {
    "api-key": ProviderKeys,
    "approle": SecretIds,
    "command": OwnProgram,
    "postgres": LoginRoles,
    "postgres, one role": OneRole,
    "redis": AclUser,
    "vault": InVault,
}
