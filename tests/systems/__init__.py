"""The systems whose credentials are rotated in tests: one class each, by the name of its kind."""

from systems.api_key import ProviderKeys
from systems.command import OwnProgram
from systems.postgres import LoginRoles, OneRole
from systems.vault import InVault

SYSTEMS = {
    "api-key": ProviderKeys,
    "command": OwnProgram,
    "postgres": LoginRoles,
    "postgres, one role": OneRole,
    "vault": InVault,
}
