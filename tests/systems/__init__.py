"""The systems whose credentials are rotated in tests: one class each, by the name of its kind."""

from systems.api_key import ProviderKeys
from systems.command import OwnProgram
from systems.vault import InVault

SYSTEMS = {
    "vault": InVault,
    "api-key": ProviderKeys,
    "command": OwnProgram,
}
