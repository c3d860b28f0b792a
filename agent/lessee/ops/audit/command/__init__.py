"""`lessee audit`: verifies the audit trail, prints the public key, and reports on a period."""

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
from lessee.config.grammar.audit_trail import AuditTrail
from lessee.core.errors import ConfigError, LesseeError, UsageError
from lessee.host.console import escape_unknown, print_line
from lessee.host.project import find, read
from lessee.process.hardening import harden

_EMPTY = "there is no audit trail: it was never written, or was removed completely"
_MAX_FINDINGS = 100
"""The findings that the text output contains."""


def run(arguments: argparse.Namespace) -> int:
    """0 on success; `verify` returns 1 if the audit trail was altered."""
    harden()
    escape_unknown()
    environ = dict(os.environ)
    match arguments.action:
        case "verify":
            return _verify(arguments, environ)
        case "key":
            return _print_key(_required_trail(_read_config(arguments, environ)))
        case _:
            from lessee.ops.audit.command.report import report

            return report(arguments, find(arguments.config, environ), environ)


def _verify(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    needs_config = arguments.directory is None or not arguments.public_key
    configured = _configured_trail(arguments, environ) if needs_config else None
    folder = _trail_directory(arguments, configured)
    key, warning = _verification_key(arguments, configured, folder)
    copies = {name: _read_head_copy(Path(name)) for name in arguments.head}
    with open_audit_trail(folder) as trail:
        verdict = verify(trail.lines, trail.head, key.is_genuine, copies)
        if trail.is_empty:
            verdict = Verdict(0, (Finding(HEAD, 1, 0, _EMPTY),))
        unknown_files = [f"{name} is not a file of the audit trail" for name in trail.unknown_files]
    notes = [*verdict.notes, *unknown_files, *([warning] if warning else [])]
    _print_verdict(folder, verdict, notes, as_json=arguments.json)
    return 1 if verdict.findings else 0


def _print_verdict(folder: Path, verdict: Verdict, notes: list[str], *, as_json: bool) -> None:
    if as_json:
        findings = [
            {"file": finding.file, "line": finding.line, "entry": finding.n, "what": finding.what}
            for finding in verdict.findings
        ]
        result = {"trail": str(folder), "entries": verdict.entries, "findings": findings, "notes": notes}
        print_line(json.dumps(result, indent=2, ensure_ascii=False))
        return
    for finding in verdict.findings[:_MAX_FINDINGS]:
        print_line(f"{folder / finding.file}:{finding.line}: entry {finding.n}: {finding.what}")
    if len(verdict.findings) > _MAX_FINDINGS:
        print_line(f"… and {len(verdict.findings) - _MAX_FINDINGS} more (--json prints all)")
    for note in notes:
        print(f"lessee: note: {note}", file=sys.stderr)
    print_line(f"{folder}: {verdict.entries} entries, {'ALTERED' if verdict.findings else 'intact'}")


def _verification_key(
    arguments: argparse.Namespace, configured: AuditTrail | None, folder: Path
) -> tuple[PublicKey, str]:
    """The public key, and a warning if it may have been replaced together with the audit trail."""
    if arguments.public_key:
        return public_key(Path(arguments.public_key)), ""
    is_configured = configured is not None and Path(configured.directory) == folder.absolute()
    if configured is not None and is_configured and os.access(configured.key_file, os.R_OK):
        key = private_key(Path(configured.key_file))
        if key is not None:
            return key.public, ""
    warning = (
        f"{PUBLIC} is in the directory of the audit trail, and could be replaced with it: pass a copy with --public-key"
    )
    return public_key(folder / PUBLIC), warning


def _read_head_copy(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"the copy of head.json cannot be read: {exc.strerror}", where=str(path)) from None


def _print_key(trail: AuditTrail) -> int:
    path = Path(trail.key_file)
    key = private_key(path)
    if key is None:
        has_entries = Path(trail.directory).is_dir() and any(Path(trail.directory).glob("*.jsonl"))
        if has_entries:
            todo = "restore it from a backup, or start a new audit trail in another directory"
            raise ConfigError([LesseeError("the audit trail's key is missing", where=str(path), todo=todo)])
        key = make_key(path)
        print(f"lessee: note: created {path}; store a copy of the public key on another machine", file=sys.stderr)
    print_line(key.public.pem().decode().rstrip())
    return 0


def _read_config(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    return read(find(arguments.config, environ), environ)


def _configured_trail(arguments: argparse.Namespace, environ: Mapping[str, str]) -> AuditTrail | None:
    """The configured audit trail. With DIR, a default configuration may be missing, such as on an auditor's machine."""
    if arguments.directory is None:
        return _required_trail(_read_config(arguments, environ))
    try:
        return _read_config(arguments, environ).audit_trail
    except LesseeError:
        if arguments.config is not None:
            raise
        return None


def _trail_directory(arguments: argparse.Namespace, configured: AuditTrail | None) -> Path:
    if arguments.directory is not None:
        return Path(arguments.directory)
    assert configured is not None  # Without DIR, the configuration must have one.
    return Path(configured.directory)


def _required_trail(config: Config) -> AuditTrail:
    if config.audit_trail is None:
        todo = "write `audit_trail: {directory: …, key_file: …}`"
        raise ConfigError([LesseeError("no audit trail is configured", where="audit_trail", todo=todo)])
    return config.audit_trail
