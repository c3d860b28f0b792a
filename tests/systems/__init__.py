"""The systems whose credentials are rotated in tests: one class each, by the name of its kind."""

from systems.approle import SecretIds
from systems.redis import AclUser
from systems.vault import InVault

SYSTEMS = {
    "vault": InVault,
    "approle": SecretIds,
    "redis": AclUser,
}
