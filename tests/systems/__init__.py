"""The systems whose credentials are rotated in tests: one class each, by the name of its kind."""

from systems.postgres import LoginRoles, OneRole
from systems.vault import InVault

SYSTEMS = {"vault": InVault, "postgres": LoginRoles, "postgres, one role": OneRole}
