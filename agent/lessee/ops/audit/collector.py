"""Gathers what a report is made of: the trail, the server and the configuration of each environment."""

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
from lessee.ops.audit.policy.from_config import Age
from lessee.ops.audit.policy.from_vault import Seen
from lessee.ops.audit.policy.rows import Placed
from lessee.ops.incident import logins
from lessee.ops.incident.discovery import find_affected_policies
from lessee.ops.rotate.targets import read_journal
from lessee.ops.rotate.targets import Project
from lessee.vault.admin import AdminClient

_T = TypeVar("_T")


def placed(trail: AuditTrailFiles, folder: Path, genuine: SignatureCheck | None = None) -> Iterator[Placed]:
    """The entries that can be read; what is wrong with the others is told by looking whether all is whole.

    With `genuine` none that was forged is among them.
    """
    for line in trail.lines():
        entry = decode_entry(line.text)
        if entry is not None and (genuine is None or genuine(signed_part(entry), entry.signature)):
            yield Placed(f"{folder / line.file}:{line.number}", entry)


class Gathering:
    """Asks one server. What cannot be looked at is noted in `problems`, and the rest is looked at."""

    def __init__(
        self, client: AdminClient, configs: Mapping[str, Config], path: Path, environ: Mapping[str, str]
    ) -> None:
        self._client = client
        self._configs = configs
        self._path = path
        self._environ = environ
        self.problems: list[tuple[str, str]] = []
        """What, and why."""
        self.policies: Mapping[str, str] = {}

    def seen(self) -> Iterator[Seen]:
        """Who reaches each environment. Raises VaultUnreachableError."""
        for name, config in self._configs.items():
            look = partial(find_affected_policies, self._client, config, name, None, ())
            findings = self._try(f"policies for {name}", look)
            if findings is None:
                continue
            self.policies = findings.policies
            none: logins.RolesWithProblems = (), ()
            roles, lost = self._try("AppRoles", partial(logins.find_roles, self._client, findings.affected_names)) or none
            self.problems += [("AppRoles", text) for text in lost]
            others = [self._try("other ways in", partial(ask, self._client, findings.affected_names)) for ask in logins.FIND_OTHERS]
            yield Seen(name, findings.affected_policies, roles, tuple(login for some in others for login in some or ()))

    def ages(self) -> Iterator[Age]:
        """Of what is rotated, and of what is not. Raises VaultUnreachableError."""
        for environment, config in self._configs.items():
            project = Project(config, self._path, self._environ, Redactor())
            rotated = {said.secret: name for name, said in config.rotation.items()}
            for secret in sorted({*rotated, *config.setup.secrets}):
                name = rotated.get(secret)
                source = f"{config.secrets.mount}/metadata/{config.secrets.prefix}{secret}"
                try:
                    changed_at = self._changed_at(source)
                    if name is not None:
                        target = project.target(name)
                        last = read_journal(project, target, self._client).rotated_at
                        if last:
                            changed_at, source = last, f"{config.secrets.mount}/data/{target.journal}"
                except VaultUnreachableError:
                    raise
                except LesseeError as exc:
                    yield Age(environment, secret, 0.0, source, name, missing=str(exc))
                else:
                    yield Age(environment, secret, changed_at, source, name)

    def _changed_at(self, path: str) -> float:
        """When the newest version was made; 0 where there is none."""
        data = self._client.read(path) or {}
        newest = (data.get("versions") or {}).get(str(data.get("current_version"))) or {}
        return parse_timestamp(str(newest.get("created_time"))) or 0.0

    def _try(self, what: str, question: Callable[[], _T]) -> _T | None:
        """Raises VaultUnreachableError: nothing more can be told."""
        try:
            return question()
        except VaultUnreachableError:
            raise
        except LesseeError as exc:
            self.problems.append((what, str(exc)))
            return None
