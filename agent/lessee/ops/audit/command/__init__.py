"""`lessee audit`: is the trail whole, what does it say, and by which key is it signed."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from lessee.audit_trail.keys import PublicKey, make_key, private_key, public_key
from lessee.audit_trail.policy.file_names import HEAD, PUBLIC
from lessee.audit_trail.policy.verification import Finding, Verdict, verify
from lessee.audit_trail.reader import open_audit_trail
from lessee.config import Config
from lessee.config.grammar.audit_trail import AuditTrail as Said
from lessee.core.errors import ConfigError, LesseeError, UsageError
from lessee.host.console import escape_unknown, print_line
from lessee.host.project import find, read
from lessee.process.hardening import harden

_NOTHING = "there is no audit trail: it was never written, or was removed completely"
_MOST = 100
"""Findings that people are shown."""


def run(arguments: argparse.Namespace) -> int:
    """0 where all is well; `verify` ends with 1 where the trail was altered."""
    harden()
    escape_unknown()
    environ = dict(os.environ)
    match arguments.action:
        case "verify":
            return _verify(arguments, environ)
        case "key":
            return _key(_trail_of(_config(arguments, environ)))
        case _:
            from lessee.ops.audit.command.report import report

            return report(arguments, find(arguments.config, environ), environ)


def _verify(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    said = None if arguments.directory is not None and arguments.public_key else _config_or_none(arguments, environ)
    folder = Path(arguments.directory) if arguments.directory is not None else Path(_needed(said).directory)
    key, doubt = _public(arguments, said, folder)
    copies = {name: _copy(Path(name)) for name in arguments.head}
    with open_audit_trail(folder) as trail:
        verdict = verify(trail.lines, trail.head, key.is_genuine, copies)
        if trail.is_empty:
            verdict = Verdict(0, (Finding(HEAD, 1, 0, _NOTHING),))
        unknown_files = [f"{name} is none of the trail's files" for name in trail.unknown_files]
    notes = [*verdict.notes, *unknown_files, *([doubt] if doubt else [])]
    _tell(folder, verdict, notes, as_json=arguments.json)
    return 1 if verdict.findings else 0


def _tell(folder: Path, verdict: Verdict, notes: list[str], *, as_json: bool) -> None:
    if as_json:
        findings = [{"file": one.file, "line": one.line, "entry": one.n, "what": one.what} for one in verdict.findings]
        said = {"trail": str(folder), "entries": verdict.entries, "findings": findings, "notes": notes}
        print_line(json.dumps(said, indent=2, ensure_ascii=False))
        return
    for finding in verdict.findings[:_MOST]:
        print_line(f"{folder / finding.file}:{finding.line}: entry {finding.n}: {finding.what}")
    if len(verdict.findings) > _MOST:
        print_line(f"… and {len(verdict.findings) - _MOST} more (--json has all)")
    for note in notes:
        print(f"lessee: note: {note}", file=sys.stderr)
    print_line(f"{folder}: {verdict.entries} entries, {'ALTERED' if verdict.findings else 'whole'}")


def _public(arguments: argparse.Namespace, said: Said | None, folder: Path) -> tuple[PublicKey, str]:
    """By what to judge, and why that may not be enough."""
    if arguments.public_key:
        return public_key(Path(arguments.public_key)), ""
    if said is not None and Path(said.directory) == folder.absolute() and os.access(said.key_file, os.R_OK):
        own = private_key(Path(said.key_file))
        if own is not None:
            return own.public, ""
    doubt = f"{PUBLIC} lies beside the trail, and could be replaced with it: name a copy with --public-key"
    return public_key(folder / PUBLIC), doubt


def _copy(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"the copy of a head cannot be read: {exc.strerror}", where=str(path)) from None


def _key(said: Said) -> int:
    path = Path(said.key_file)
    key = private_key(path)
    if key is None:
        with_entries = Path(said.directory).is_dir() and any(Path(said.directory).glob("*.jsonl"))
        if with_entries:
            todo = "restore it from a backup, or start a new audit trail in another directory"
            raise ConfigError([LesseeError("the audit trail's key is missing", where=str(path), todo=todo)])
        key = make_key(path)
        print(f"lessee: note: made {path}; keep a copy of the public key elsewhere", file=sys.stderr)
    print_line(key.public.pem().decode().rstrip())
    return 0


def _config(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    return read(find(arguments.config, environ), environ)


def _config_or_none(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Said | None:
    """A trail can be verified where there is no configuration, such as at the auditor's."""
    if arguments.directory is None:
        return _trail_of(_config(arguments, environ))
    try:
        return _config(arguments, environ).audit_trail
    except LesseeError:
        if arguments.config is not None:
            raise
        return None


def _needed(said: Said | None) -> Said:
    assert said is not None  # Without a DIR it comes from the configuration.
    return said


def _trail_of(config: Config) -> Said:
    if config.audit_trail is None:
        todo = "write `audit_trail: {directory: …, key_file: …}`"
        raise ConfigError([LesseeError("no audit trail is configured", where="audit_trail", todo=todo)])
    return config.audit_trail
