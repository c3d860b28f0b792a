"""Prints the status of all targets, as a table or as JSON."""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from lessee.core.consumers import Consumer, confirmation_status
from lessee.core.errors import LesseeError, VaultUnreachableError
from lessee.core.immutable import replace
from lessee.core.timestamps import parse_timestamp
from lessee.host.console import print_line
from lessee.ops.rotate.command.context import OutageRetry
from lessee.ops.rotate.documents import ConsumerStore
from lessee.ops.rotate.lock_owner import has_exited
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.policy.report import Problem, Row, as_data, table
from lessee.ops.rotate.targets import Project, read_journal
from lessee.vault.admin import AdminClient

_T = TypeVar("_T")


class StatusReport:
    """Reads journals, the metadata of secrets, and confirmations."""

    def __init__(self, project: Project, client: AdminClient, retry: OutageRetry) -> None:
        self._project = project
        self._client = client
        self._retry = retry
        self._problems: list[Problem] = []
        self._exit_code = 0

    def print(self, arguments: argparse.Namespace, names: Iterable[str]) -> int:
        """Print the status. Returns the highest exit code of what could not be read."""
        consumers = self._try("consumers", self._consumers)
        rows = [row for name in names if (row := self._row(name, consumers)) is not None]
        environment = self._project.config.environment
        redactor = self._project.redactor
        if arguments.json:
            data = as_data(environment, rows, self._problems, time.time())
            print_line(json.dumps(redactor.clean_data(data), indent=2, ensure_ascii=False))
        else:
            print_line(redactor.clean(table(rows, self._problems, time.time()).removesuffix("\n")))
        return self._exit_code

    def _row(self, name: str, consumers: tuple[Consumer, ...] | None) -> Row | None:
        target = self._project.target(name)
        journal = self._try(name, partial(read_journal, self._project, target, self._client))
        if journal is None:
            return None
        row = Row(name, self._project.config_of(name), journal, lock_owner_exited=has_exited(journal.lock_owner))
        version, changed_at = self._try(name, partial(self._version, target.path)) or (0, 0.0)
        confirmation = None
        if consumers is not None:
            wanted = journal.published_version if journal.step is Step.PUBLISHED else version
            confirmation = confirmation_status(consumers, target.secret, wanted, target.consumers)
        return replace(row, version=version, changed_at=changed_at, confirmation=confirmation)

    def _consumers(self) -> tuple[Consumer, ...]:
        secrets = self._project.config.secrets
        return ConsumerStore(self._client, secrets.mount, secrets.prefix).read()

    def _version(self, path: str) -> tuple[int, float]:
        """A secret's newest version, and when it was written."""
        metadata = self._client.read(f"{self._project.config.secrets.mount}/metadata/{path}") or {}
        newest = metadata.get("current_version") or 0
        version = (metadata.get("versions") or {}).get(str(newest)) or {}
        return newest, parse_timestamp(str(version.get("created_time"))) or 0.0

    def _try(self, what: str, read: Callable[[], _T]) -> _T | None:
        try:
            return self._retry.call(read)
        except LesseeError as exc:
            if isinstance(exc, VaultUnreachableError):
                raise  # Nothing else can be read either.
            self._exit_code = max(self._exit_code, exc.exit_code)
            self._problems.append(Problem(what, str(exc)))
            return None
