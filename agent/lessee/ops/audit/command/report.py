"""Writes the report for an auditor."""

import argparse
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from lessee import __version__
from lessee.audit_trail.keys import private_key
from lessee.audit_trail.policy.actions import rfc3339
from lessee.audit_trail.policy.verification import verify
from lessee.audit_trail.reader import open_audit_trail
from lessee.config import Config
from lessee.core.errors import LesseeError, UsageError
from lessee.host.clock import boot_time
from lessee.host.console import print_line
from lessee.host.project import environments_of, read
from lessee.ops.audit.collector import Gathering, placed
from lessee.ops.audit.policy import from_audit_trail, from_config, from_vault, report_format
from lessee.ops.audit.policy.from_monitor import reads_of
from lessee.ops.audit.policy.rows import Placed, Row, Section
from lessee.vault.admin import admin_client

_NEVER = 253402300800.0
"""The year 10000."""


def report(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    """0 where all could be looked at; else 75, and what could not is among the exceptions."""
    now = time.time()
    begins, ends = arguments.begins or 0.0, _NEVER if arguments.ends is None else arguments.ends
    if begins >= ends:
        raise UsageError("--from is not before --to")
    configs = {
        name: read(path, environ, environment=name, blocks=("setup", "rotation"))
        for name in environments_of(path, environ)
    }
    config = next(iter(configs.values()))
    rows = list(_from_trail(config, begins, ends))
    if arguments.accesses:
        rows += reads_of(_content(Path(arguments.accesses)), arguments.accesses)
    rows += from_config.weaknesses(config, str(path))
    lost: list[tuple[str, str]] = []
    if not arguments.offline:
        try:
            with admin_client(config.vault, environ, boot_time) as client:
                gathering = Gathering(client, configs, path, environ)
                lost = gathering.problems
                seen = tuple(gathering.seen())
                rows += from_vault.access(gathering.policies, seen)
                rows += from_vault.separation(seen)
                rows += from_config.ages(config, gathering.ages(), now)
        except LesseeError as exc:
            lost = [*lost, ("Vault", str(exc))]
    rows += [
        Row(Section.EXCEPTIONS, "", "", f"not looked at: {what}", why, "", config.vault.address) for what, why in lost
    ]
    head = {
        "report": f"lessee {__version__}",
        "made": rfc3339(now),
        "from": rfc3339(begins) if begins else "the beginning",
        "to": rfc3339(ends) if ends != _NEVER else "now",
        "configuration": str(path),
        "server": "not asked" if arguments.offline else config.vault.address,
    }
    match arguments.format:
        case "csv":
            print_line(report_format.as_csv(rows))
        case "json":
            print_line(report_format.as_json(head, rows))
        case _:
            print_line(report_format.as_text(head, rows))
    return 75 if lost else 0


def _from_trail(config: Config, begins: float, ends: float) -> Iterator[Row]:
    if config.audit_trail is None:
        return
    folder, key_file = Path(config.audit_trail.directory), Path(config.audit_trail.key_file)
    key = None
    with suppress(LesseeError):
        key = private_key(key_file)
    genuine = key.public.is_genuine if key is not None else None
    try:
        with open_audit_trail(folder) as trail:
            findings = verify(trail.lines, trail.head, genuine).findings if genuine is not None else ()

            def entries() -> Iterator[Placed]:
                # Where all is whole, each is signed already by those that follow it.
                return from_audit_trail.within(placed(trail, folder, genuine if findings else None), begins, ends)

            yield from from_audit_trail.acts(entries())
            yield from from_audit_trail.reads(entries())
            yield from from_audit_trail.oddities(entries(), findings, str(folder))
    except UsageError as exc:
        yield Row(Section.EXCEPTIONS, "", "", "the audit trail cannot be read", exc.what, "", str(folder))
        return
    if key is None:
        what = "the trail was not verified: its key cannot be read here"
        todo = "`lessee audit verify --public-key FILE`"
        yield Row(Section.EXCEPTIONS, "", "", what, todo, "", str(key_file))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"it cannot be read: {exc.strerror}", where=str(path)) from None
