"""What agents have said that their apps work with, out of KV's custom metadata."""

from collections.abc import Callable, Iterator
from functools import partial

from lessee.core.consumers import FOLDER, Consumer
from lessee.vault.admin import AdminClient


def confirmations(client: AdminClient, mount: str, prefix: str) -> Callable[[], tuple[Consumer, ...]]:
    """Asks for all consumers of an environment. What it gives raises RefusedError and VaultUnreachableError."""
    return lambda: tuple(_found(client, f"{mount}/metadata/{prefix}{FOLDER}"))


def forget(client: AdminClient, mount: str, prefix: str) -> Callable[[str], None]:
    """Forgets a consumer by its name: one that lives says so again with its next generation."""
    return partial(_forget, client, f"{mount}/metadata/{prefix}{FOLDER}")


def _forget(client: AdminClient, folder: str, name: str) -> None:
    if "/" in name:  # else it is an app of which no agent has been heard
        client.delete(f"{folder}{name}")


def _found(client: AdminClient, folder: str) -> Iterator[Consumer]:
    for app in client.list(folder):
        if not app.endswith("/"):
            continue
        for instance in client.list(f"{folder}{app}"):
            said = (client.read(f"{folder}{app}{instance}") or {}).get("custom_metadata") or {}
            versions = {path: int(version) for path, version in said.items() if str(version).isdecimal()}
            yield Consumer(app.removesuffix("/"), instance, versions)
