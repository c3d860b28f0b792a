"""Collects the data of a report from the audit trail, Vault and the configuration of each environment."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from lessee.audit_trail.policy.entries import decode_entry, signed_part
from lessee.audit_trail.policy.verification import SignatureCheck
from lessee.audit_trail.reader import AuditTrailFiles
from lessee.config import Config
from lessee.core.errors import LesseeError, VaultUnreachableError
from lessee.core.redaction import Redactor
from lessee.core.timestamps import parse_timestamp
from lessee.ops.audit.policy.from_config import SecretAge
from lessee.ops.audit.policy.from_vault import EnvironmentAccess
from lessee.ops.audit.policy.rows import LocatedEntry
from lessee.ops.incident import logins
from lessee.ops.incident.discovery import find_affected_policies
from lessee.ops.rotate.targets import Project, read_journal
from lessee.vault.admin import AdminClient

_T = TypeVar("_T")


def valid_entries(
    trail: AuditTrailFiles, folder: Path, is_genuine: SignatureCheck | None = None
) -> Iterator[LocatedEntry]:
    """The entries that can be decoded. With `is_genuine`, only those with a valid signature."""
    for line in trail.lines():
        entry = decode_entry(line.text)
        if entry is not None and (is_genuine is None or is_genuine(signed_part(entry), entry.signature)):
            yield LocatedEntry(f"{folder / line.file}:{line.number}", entry)


class VaultCollector:
    """Collects from one server. It adds a failed request to `problems`, and continues."""

    def __init__(
        self, client: AdminClient, configs: Mapping[str, Config], path: Path, environ: Mapping[str, str]
    ) -> None:
        self._client = client
        self._configs = configs
        self._path = path
        self._environ = environ
        self.problems: list[tuple[str, str]] = []
        """What could not be collected, and why."""
        self.policies: Mapping[str, str] = {}

    def accesses(self) -> Iterator[EnvironmentAccess]:
        """The policies, roles and logins of each environment. Raises VaultUnreachableError."""
        for name, config in self._configs.items():
            find = partial(find_affected_policies, self._client, config, name, None, ())
            findings = self._try(f"policies for {name}", find)
            if findings is None:
                continue
            self.policies = findings.policies
            names = findings.affected_names
            empty: logins.RolesWithProblems = (), ()
            roles, unreadable = self._try("AppRoles", partial(logins.find_roles, self._client, names)) or empty
            self.problems += [("AppRoles", text) for text in unreadable]
            others = [self._try("other logins", partial(find, self._client, names)) for find in logins.FIND_OTHERS]
            found = tuple(login for some in others for login in some or ())
            yield EnvironmentAccess(name, findings.affected_policies, roles, found)

    def ages(self) -> Iterator[SecretAge]:
        """The ages of all secrets of `setup` and `rotation`. Raises VaultUnreachableError."""
        for environment, config in self._configs.items():
            project = Project(config, self._path, self._environ, Redactor())
            targets = {rotation.secret: name for name, rotation in config.rotation.items()}
            for secret in sorted({*targets, *config.setup.secrets}):
                name = targets.get(secret)
                source = f"{config.secrets.mount}/metadata/{config.secrets.prefix}{secret}"
                try:
                    changed_at = self._changed_at(source)
                    if name is not None:
                        target = project.target(name)
                        rotated_at = read_journal(project, target, self._client).rotated_at
                        if rotated_at:
                            changed_at, source = rotated_at, f"{config.secrets.mount}/data/{target.journal}"
                except VaultUnreachableError:
                    raise
                except LesseeError as exc:
                    yield SecretAge(environment, secret, 0.0, source, name, problem=str(exc))
                else:
                    yield SecretAge(environment, secret, changed_at, source, name)

    def _changed_at(self, path: str) -> float:
        """When the newest version was created; 0 if the secret has no version."""
        data = self._client.read(path) or {}
        newest = (data.get("versions") or {}).get(str(data.get("current_version"))) or {}
        return parse_timestamp(str(newest.get("created_time"))) or 0.0

    def _try(self, what: str, request: Callable[[], _T]) -> _T | None:
        """Raises VaultUnreachableError, since no further request can succeed."""
        try:
            return request()
        except VaultUnreachableError:
            raise
        except LesseeError as exc:
            self.problems.append((what, str(exc)))
            return None
