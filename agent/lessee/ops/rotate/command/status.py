"""How all targets stand, for people and for programs."""

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
from lessee.host.console import say
from lessee.ops.rotate.command.context import Patience
from lessee.ops.rotate.confirmations import confirmations
from lessee.ops.rotate.journals import read_journal
from lessee.ops.rotate.lock_owner import has_left
from lessee.ops.rotate.policy.journal import Step
from lessee.ops.rotate.policy.report import Problem, Row, as_data, table
from lessee.ops.rotate.targets import Project
from lessee.vault.admin import AdminClient

_T = TypeVar("_T")


class Looking:
    """Reads journals, the metadata of secrets, and who has confirmed them."""

    def __init__(self, project: Project, client: AdminClient, patience: Patience) -> None:
        self._project = project
        self._client = client
        self._patience = patience
        self._problems: list[Problem] = []
        self._code = 0

    def show(self, arguments: argparse.Namespace, names: Iterable[str]) -> int:
        """Print it. The worst exit code of what could not be read."""
        consumers = self._try("consumers", self._consumers)
        rows = [row for name in names if (row := self._row(name, consumers)) is not None]
        environment = self._project.config.environment
        if arguments.json:
            data = as_data(environment, rows, self._problems, time.time())
            text = json.dumps(data, indent=2, ensure_ascii=False)
        else:
            text = table(rows, self._problems, time.time()).removesuffix("\n")
        say(self._project.redactor.clean(text))
        return self._code

    def _row(self, name: str, consumers: tuple[Consumer, ...] | None) -> Row | None:
        target = self._project.target(name)
        journal = self._try(name, partial(read_journal, self._project, target, self._client))
        if journal is None:
            return None
        row = Row(name, self._project.said(name), journal, holder_left=has_left(journal.holder))
        found = self._try(name, partial(self._version, target.path))
        version, changed_at = found or (0, 0.0)
        seen = None
        if consumers is not None:
            wanted = journal.published_version if journal.step is Step.PUBLISHED else version
            seen = confirmation_status(consumers, target.secret, wanted, target.consumers)
        return replace(row, version=version, changed_at=changed_at, confirmation=seen)

    def _consumers(self) -> tuple[Consumer, ...]:
        secrets = self._project.config.secrets
        return confirmations(self._client, secrets.mount, secrets.prefix)()

    def _version(self, path: str) -> tuple[int, float]:
        found = self._client.read(f"{self._project.config.secrets.mount}/metadata/{path}") or {}
        newest = found.get("current_version") or 0
        said = (found.get("versions") or {}).get(str(newest)) or {}
        return newest, parse_timestamp(str(said.get("created_time"))) or 0.0

    def _try(self, what: str, question: Callable[[], _T]) -> _T | None:
        try:
            return self._patience.ask(question)
        except LesseeError as exc:
            if isinstance(exc, VaultUnreachableError):
                raise  # Nothing more can be told.
            self._code = max(self._code, exc.exit_code)
            self._problems.append(Problem(what, str(exc)))
            return None
