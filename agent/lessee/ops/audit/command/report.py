"""`lessee audit report`: prints the audit report."""

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
from lessee.ops.audit.collector import VaultCollector, valid_entries
from lessee.ops.audit.policy import from_audit_trail, from_config, from_vault, report_format
from lessee.ops.audit.policy.from_monitor import rows_of_status
from lessee.ops.audit.policy.rows import LocatedEntry, Row, Section
from lessee.vault.admin import admin_client

_NO_END = 253402300800.0
"""The year 10000."""


def report(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    """0 if the report is complete; else 75, and what could not be checked is listed among the exceptions."""
    if arguments.every is not None:
        from lessee.ops.audit.command import schedule

        return schedule.run(arguments, path, environ)
    if arguments.output is not None or arguments.mail:
        option = "--output" if arguments.output is not None else "--mail"
        raise UsageError(f"{option} has no effect without --every", todo="add --every 7d, or omit it")
    begins, ends = arguments.begins or 0.0, _NO_END if arguments.ends is None else arguments.ends
    if begins >= ends:
        raise UsageError("--from is not before --to")
    text, is_complete = compose(arguments, path, environ, begins, ends)
    print_line(text)
    return 0 if is_complete else 75


def compose(
    arguments: argparse.Namespace, path: Path, environ: Mapping[str, str], begins: float, ends: float
) -> tuple[str, bool]:
    """The report in the format of the arguments, and whether everything could be checked."""
    now = time.time()
    configs = {
        name: read(path, environ, environment=name, blocks=("setup", "rotation"))
        for name in environments_of(path, environ)
    }
    config = next(iter(configs.values()))
    rows = list(_from_trail(config, begins, ends))
    if arguments.accesses:
        rows += rows_of_status(_content(Path(arguments.accesses)), arguments.accesses)
    rows += from_config.weak_settings(config, str(path))
    problems: list[tuple[str, str]] = []
    if not arguments.offline:
        try:
            with admin_client(config.vault, environ, boot_time) as client:
                collector = VaultCollector(client, configs, path, environ)
                problems = collector.problems
                accesses = tuple(collector.accesses())
                rows += from_vault.access_rows(collector.policies, accesses)
                rows += from_vault.separation_rows(accesses)
                rows += from_config.rotation_rows(config, collector.ages(), now)
        except LesseeError as exc:
            problems = [*problems, ("Vault", str(exc))]
    rows += [
        Row(Section.EXCEPTIONS, "", "", f"not checked: {what}", why, "", config.vault.address) for what, why in problems
    ]
    header = {
        "report": f"lessee {__version__}",
        "generated": rfc3339(now),
        "from": rfc3339(begins) if begins else "the first entry",
        "to": rfc3339(ends) if ends != _NO_END else "now",
        "configuration": str(path),
        "vault": "not contacted (--offline)" if arguments.offline else config.vault.address,
    }
    match arguments.format:
        case "csv":
            text = report_format.as_csv(rows)
        case "json":
            text = report_format.as_json(header, rows)
        case _:
            text = report_format.as_text(header, rows)
    return text, not problems


def _from_trail(config: Config, begins: float, ends: float) -> Iterator[Row]:
    if config.audit_trail is None:
        return
    folder, key_file = Path(config.audit_trail.directory), Path(config.audit_trail.key_file)
    key = None
    with suppress(LesseeError):
        key = private_key(key_file)
    is_genuine = key.public.is_genuine if key is not None else None
    try:
        with open_audit_trail(folder) as trail:
            findings = verify(trail.lines, trail.head, is_genuine).findings if is_genuine is not None else ()

            def entries() -> Iterator[LocatedEntry]:
                # Without findings, the head's signature covers every entry.
                valid = valid_entries(trail, folder, is_genuine if findings else None)
                return from_audit_trail.in_period(valid, begins, ends)

            yield from from_audit_trail.action_rows(entries())
            yield from from_audit_trail.read_rows(entries())
            yield from from_audit_trail.exception_rows(entries(), findings, str(folder))
    except UsageError as exc:
        yield Row(Section.EXCEPTIONS, "", "", "the audit trail cannot be read", exc.what, "", str(folder))
        return
    if key is None:
        item = "the audit trail was not verified, because its key cannot be read on this machine"
        todo = "run `lessee audit verify --public-key FILE`"
        yield Row(Section.EXCEPTIONS, "", "", item, todo, "", str(key_file))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"the status file cannot be read: {exc.strerror}", where=str(path)) from None
