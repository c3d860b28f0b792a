"""`lessee scan`: finds secrets in files and in the git history, known to Vault or not, and prints where they are."""

import argparse
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError, UsageError, WriteError
from lessee.core.immutable import replace
from lessee.core.printable import counted, spelled_out
from lessee.core.sensitive.names import SecretField
from lessee.host.console import escape_unknown
from lessee.ops.scan import plugins
from lessee.ops.scan.policy.baseline import FILE, MAX_BYTES, Baseline, parse, text_of
from lessee.ops.scan.policy.findings import SALT, Finding, merged
from lessee.ops.scan.policy.mask import Mask
from lessee.ops.scan.policy.reports import REPORTS, Report
from lessee.ops.scan.repository import Repository
from lessee.ops.scan.scanner import Scanner
from lessee.process.hardening import harden

_FOUND = 1
_INCOMPLETE = 75
_PATIENCE = 60.0
"""Seconds to read the environment's secrets from Vault."""
_LISTED = 10
"""Unread files that the summary names."""


def run(arguments: argparse.Namespace) -> int:
    """0 if no secret was found that is not accepted, 1 if one was, and 75 if a part could not be searched."""
    harden()
    escape_unknown()
    environ = dict(os.environ)
    root = _root(arguments.path)
    folder = root if root.is_dir() else root.parent
    repository = None if arguments.no_history and not arguments.staged else Repository.find(folder, environ)
    if repository is None and (arguments.staged or arguments.commits is not None):
        todo = "run it in a git repository, or name one"
        raise UsageError("it belongs to no git repository", where=str(folder), todo=todo)
    base = repository.root if repository is not None else _top(folder)
    path = Path(arguments.baseline) if arguments.baseline else base / FILE
    baseline = _baseline(path, is_named=bool(arguments.baseline) and not arguments.accept, accepts=arguments.accept)
    known = _known(arguments.config, environ) if arguments.vault else {}
    began = time.time()
    scanner = Scanner(baseline.salt, known)
    found = merged(_findings(scanner, arguments, base, root, repository))
    mask = Mask(scanner.values)
    shown = tuple(map(mask.clean_finding, found))
    is_whole = root == base and not (arguments.staged or arguments.commits is not None or arguments.no_history)
    if arguments.accept:
        return _accept(path, baseline, shown, is_whole=is_whole)
    new = baseline.new(shown)
    sys.stdout.write(REPORTS[arguments.format](Report(new, began, time.time())))
    sys.stdout.flush()
    _print_summary(scanner, mask, baseline, shown, new, is_whole=is_whole)
    return _FOUND if new else _INCOMPLETE if scanner.unread else 0


def _findings(
    scanner: Scanner, arguments: argparse.Namespace, base: Path, root: Path, repository: Repository | None
) -> Iterator[Finding]:
    if arguments.staged:
        assert repository is not None
        yield from scanner.scan_staged(repository)
        return
    if arguments.commits is not None:
        assert repository is not None
        repository.check_revisions(arguments.commits)
        yield from scanner.scan_history(repository, arguments.commits)
        return
    yield from scanner.scan_tree(base, root)
    if repository is not None and not arguments.no_history:
        prefix = "" if root == base else str(root.relative_to(base))
        for finding in scanner.scan_history(repository):
            if finding.file == prefix or finding.file.startswith(f"{prefix}/" if prefix else ""):
                yield finding


def _top(folder: Path) -> Path:
    """The top directory of the repository that a directory belongs to, or the directory itself; git is not needed."""
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)


def _root(given: str) -> Path:
    root = Path(given).resolve()
    if not root.exists():
        raise UsageError("not found", where=given, todo="name a directory or a file")
    if (root / "HEAD").is_file() and (root / "objects").is_dir() and (root / "refs").is_dir():
        raise UsageError("it is a bare git repository", where=given, todo="clone it, and scan the clone")
    return root


def _baseline(path: Path, *, is_named: bool, accepts: bool) -> Baseline:
    """The accepted findings; without a file none. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if is_named:
            todo = "add --accept to create it"
            raise ConfigError([LesseeError("not found", where=str(path), todo=todo)]) from None
        return Baseline(secrets.token_bytes(32) if accepts else SALT)
    except OSError as exc:
        what, todo = f"cannot read the baseline: {exc.strerror}", "name another file with --baseline"
        raise ConfigError([LesseeError(what, where=str(path), todo=todo)]) from None
    return parse(content.decode(errors="replace"), str(path))


def _known(config: str | None, environ: Mapping[str, str]) -> dict[str, SecretField]:
    """The environment's secrets in Vault, by their values.

    Raises DeniedError, VaultUnreachableError or ConfigError if they cannot be read.
    """
    from lessee.host.project import find, read
    from lessee.ops.validate.context import ValidationContext

    path = find(config, environ)
    settings = read(path, environ, blocks=("validate", "rotation"))
    settings = replace(settings, validate=replace(settings.validate, timeout=_PATIENCE))
    with closing(ValidationContext(settings, path, environ, now=time.time())) as context:
        context.connect()
        found: dict[str, SecretField] = {}
        for field, value in context.values():
            found.setdefault(value.strip(), field)
    if not found:
        raise ConfigError(
            [LesseeError("the token may read no secret", where=str(path), todo="use another, or omit --vault")]
        )
    return found


def _accept(path: Path, baseline: Baseline, found: tuple[Finding, ...], *, is_whole: bool) -> int:
    """Write the baseline with all that was found; what a scan of a part has not found stays in it."""
    updated = baseline.updated(found, is_whole=is_whole)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            os.fchmod(descriptor, 0o644)
            file.write(text_of(updated))
        temporary.replace(path)
    except OSError as exc:
        todo = "name another file with --baseline"
        raise WriteError(f"cannot write the baseline: {exc.strerror}", where=str(path), todo=todo) from None
    new, stale = len(baseline.new(found)), len(baseline.stale(found)) if is_whole else 0
    print(
        spelled_out(f"{path}: {len(updated.accepted)} accepted ({new} new, {stale} removed); review it, and commit it")
    )
    return 0


def _print_summary(
    scanner: Scanner,
    mask: Mask,
    baseline: Baseline,
    found: tuple[Finding, ...],
    new: tuple[Finding, ...],
    *,
    is_whole: bool,
) -> None:
    """To stderr, since a report for programs is the only output to stdout."""
    commits = f", {counted(scanner.commits, 'commit')}" if scanner.commits else ""
    parts = [f"{counted(scanner.files, 'file')}{commits} searched", f"{counted(len(new), 'secret')} found"]
    if accepted := len(found) - len(new):
        parts.append(f"{accepted} accepted")
    if scanner.placeholders:
        parts.append(f"{counted(scanner.placeholders, 'placeholder')} ignored")
    if scanner.binary:
        parts.append(f"{counted(scanner.binary, 'binary file')} not searched")
    if not plugins.is_available():
        parts.append("without detect-secrets (pip install 'lessee[scan]')")
    print(f"lessee: {'; '.join(parts)}", file=sys.stderr)
    for name, reason in list(scanner.unread.items())[:_LISTED]:
        print(spelled_out(f"lessee: not searched: {mask.clean(name)}: {reason}"), file=sys.stderr)
    if len(scanner.unread) > _LISTED:
        print(f"lessee: not searched: {len(scanner.unread) - _LISTED} more", file=sys.stderr)
    if is_whole and (stale := baseline.stale(found)):
        print(
            f"lessee: {len(stale)} accepted, but no longer found: `lessee scan --accept` removes them", file=sys.stderr
        )
