"""The usual layout of an environment's secrets: which component the secrets of a folder belong to."""

from collections.abc import Mapping

FOLDERS: Mapping[str, str] = {
    "database": "database",
    "api-keys": "api_keys",
    "storage": "storage",
    "cache": "mcp_cache",
    "mcp": "mcp_auth",
    "frontend": "frontend",
}
"""The components by the first element of a secret's path below the environment."""
OTHER = "secrets"
"""The component of all other secrets."""


def component_of(path: str) -> str:
    """The component of a secret, by its path below the environment."""
    folder, slash, _ = path.partition("/")
    return FOLDERS.get(folder, OTHER) if slash else OTHER
