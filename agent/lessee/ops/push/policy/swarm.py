"""Decides which secrets of Swarm a push creates, which ones a service uses next, and which ones are old."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lessee.core.errors import UsageError
from lessee.core.immutable import ImmutableStruct

APP, FILE, VERSION, FINGERPRINT = "lessee.app", "lessee.file", "lessee.version", "lessee.fingerprint"
"""The labels of a secret that lessee has created. The fingerprint has a key, so no one can try values against it."""
MAX_SIZE = 500 * 1024
"""Bytes of a secret of Swarm."""
_MAX_NAME = 64
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]*[a-zA-Z0-9])?")

Spec = Mapping[str, Any]
"""A service's spec, as the Engine's API has it."""


class SwarmSecret(ImmutableStruct, frozen=True):
    """A version of a file, which is a secret of Swarm."""

    id: str
    """Empty: not created yet."""
    name: str
    file: str
    version: int
    fingerprint: str

    @property
    def labels(self) -> Mapping[str, str]:
        """Those of the secret, except for the app's."""
        return {FILE: self.file, VERSION: str(self.version), FINGERPRINT: self.fingerprint}


def owned(rows: Collection[Mapping[str, Any]], app: str) -> list[SwarmSecret]:
    """The secrets that lessee has created for this app, of what the Engine lists."""
    found = []
    for row in rows:
        labels = row["Spec"].get("Labels") or {}
        if labels.get(APP) == app and labels.get(FILE) and labels.get(VERSION, "").isdecimal():
            version, fingerprint = int(labels[VERSION]), labels.get(FINGERPRINT, "")
            found.append(SwarmSecret(row["ID"], row["Spec"]["Name"], labels[FILE], version, fingerprint))
    return found


def newest(app: str, fingerprints: Mapping[str, str], secrets: Collection[SwarmSecret]) -> dict[str, SwarmSecret]:
    """The version of each file that services should use; what is new has no id. Raises UsageError."""
    wanted = {}
    for file, fingerprint in fingerprints.items():
        last = max((each for each in secrets if each.file == file), key=lambda each: each.version, default=None)
        if last is not None and last.fingerprint == fingerprint:
            wanted[file] = last
            continue
        version = last.version + 1 if last is not None else 1
        wanted[file] = SwarmSecret("", secret_name(app, file, version), file, version, fingerprint)
    return wanted


def secret_name(app: str, file: str, version: int) -> str:
    """The name of a secret. Raises UsageError if Swarm does not allow it."""
    name = f"{app}-{file}-{version}".replace("/", "-")
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        todo = f"name the file with letters, digits, `.`, `_` and `-`; the whole has {_MAX_NAME} characters at most"
        raise UsageError(f"Swarm allows no secret {name}", where=file, todo=todo)
    return name


def updated(spec: Spec, secrets: Collection[SwarmSecret], wanted: Mapping[str, SwarmSecret]) -> Spec | None:
    """The spec with the wanted versions in place of others; None if it has them already."""
    template = spec["TaskTemplate"]
    container = template.get("ContainerSpec") or {}
    before = container.get("Secrets") or []
    after = [_replaced(reference, secrets, wanted) for reference in before]
    if after == before:
        return None
    return {**spec, "TaskTemplate": {**template, "ContainerSpec": {**container, "Secrets": after}}}


def uses(spec: Spec, secrets: Collection[SwarmSecret]) -> bool:
    """Whether the service has a secret of the app."""
    ids = {secret.id for secret in secrets}
    return not ids.isdisjoint(secret_ids(spec))


def secret_ids(spec: Spec) -> list[str]:
    """The secrets of the service."""
    return _ids(spec["TaskTemplate"])


def is_settled(service: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all tasks run with the service's spec; `tasks` are those that should run."""
    state = (service.get("UpdateStatus") or {}).get("State")
    if state is None:  # The update has not begun, or there is no task to update.
        return _replicas(service["Spec"]) == 0
    wanted, replicas = secret_ids(service["Spec"]), _replicas(service["Spec"])
    running = all(task["Status"]["State"] == "running" and _ids(task["Spec"]) == wanted for task in tasks)
    # A task that has failed is not among those that should run until Swarm starts it again.
    return running and state == "completed" and (bool(tasks) if replicas is None else len(tasks) == replicas)


def has_failed(service: Mapping[str, Any]) -> bool:
    """Whether Swarm has given the update up: it has stopped, or returns to the old spec."""
    return (service.get("UpdateStatus") or {}).get("State") not in {"updating", "completed", None}


def _replaced(
    reference: Mapping[str, Any], secrets: Collection[SwarmSecret], wanted: Mapping[str, SwarmSecret]
) -> Mapping[str, Any]:
    file = next((secret.file for secret in secrets if secret.id == reference["SecretID"]), None)
    if file is None or file not in wanted:
        return reference
    return {**reference, "SecretID": wanted[file].id, "SecretName": wanted[file].name}


def _ids(template: Mapping[str, Any]) -> list[str]:
    container = template.get("ContainerSpec") or {}
    return sorted(reference["SecretID"] for reference in container.get("Secrets") or [])


def _replicas(spec: Spec) -> int | None:
    replicas: int | None = ((spec.get("Mode") or {}).get("Replicated") or {}).get("Replicas")
    return replicas
