"""`lessee check --fix`: shows the fixes of all findings as a diff, and applies them."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lessee.host.console import confirm, escape_unknown
from lessee.ops.lint.command.compose_config import verify
from lessee.ops.lint.command.text_files import TextFiles
from lessee.ops.lint.policy.findings import Finding, exit_code
from lessee.ops.lint.policy.fixes.diff import diff
from lessee.ops.lint.policy.fixes.model import RemoveVariable
from lessee.ops.lint.policy.fixes.session import Session, Texts, fix_all
from lessee.ops.lint.policy.reports import as_text

Check = Callable[[Texts], tuple[Sequence[Finding], Iterable[str]]]
"""Returns the findings with other texts of some files, and the names of variables that apps set."""


def fix(arguments: argparse.Namespace, files: TextFiles, check: Check) -> int:
    """Apply the fixes. The exit code is that of a check of what the files have then."""
    escape_unknown()
    session = fix_all(lambda texts: check(texts)[0], files.text)
    _, names = check({})
    if session.texts:
        _print_diff(session, files, frozenset(names))
        changes = [change for finding in session.fixed if finding.fix is not None for change in finding.fix.changes]
        if not arguments.dry_run:
            verified = verify(arguments.compose or (), session.texts, changes)
            confirm("apply these changes?", yes=arguments.yes, todo="add --yes, or --dry-run")
            files.replace(session.texts)
            accepted = "; `docker compose config` accepts them" if verified else ""
            print(f"{', '.join(map(_shown, session.texts))}: {len(session.fixed)} fixed{accepted}", file=sys.stderr)
    else:
        print("nothing to fix", file=sys.stderr)
    for message, why in session.refused.items():
        print(f"not fixed: {message}: {why}", file=sys.stderr)
    remaining = check({})[0] if arguments.dry_run else session.remaining
    sys.stderr.write(as_text(remaining))
    return exit_code(remaining)


def _print_diff(session: Session, files: TextFiles, names: frozenset[str]) -> None:
    for finding in session.fixed:
        assert finding.fix is not None
        print(f"{finding.rule}: {finding.fix.title}", file=sys.stderr)
    sys.stderr.flush()
    env_files = {
        change.file
        for finding in session.fixed
        if finding.fix is not None
        for change in finding.fix.changes
        if isinstance(change, RemoveVariable)
    }
    for file, text in session.texts.items():
        for line in diff(_shown(file), files.text(file), text, names, is_env_file=file in env_files):
            print(line)
    sys.stdout.flush()


def _shown(file: str) -> str:
    here = Path.cwd()
    return str(Path(file).relative_to(here)) if Path(file).is_relative_to(here) else file
