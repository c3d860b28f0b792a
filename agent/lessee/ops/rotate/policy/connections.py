"""Tells the user and the address of a connection of Vault's database secrets engine."""

from collections.abc import Mapping
from typing import Any


def user_and_address(details: Mapping[str, Any]) -> tuple[str, str]:
    """Of the `connection_details` that the engine returns. The address is empty where there is no URL with a login."""
    before, _, after = str(details.get("connection_url") or "").rpartition("@")
    # The address lies between the login and the database's name; a URL may contain the username itself.
    user = details.get("username") or before.rpartition("//")[2].partition(":")[0]
    return str(user), after.partition("/")[0]
