"""`lessee check`: validates the configuration, and lists the secrets it reads, without contacting Vault."""

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from lessee.core.errors import ConfigError, UsageError
from lessee.core.immutable import replace
from lessee.host.project import (
    configuration_files,
    credential_files,
    file_ids,
    find,
    model_loader,
    read,
    template_of,
    text_of,
)
from lessee.ops.lint.command.app_summary import print_app
from lessee.ops.lint.policy.findings import Finding, exit_code, of_configuration, sorted_findings
from lessee.ops.lint.policy.project import CheckResult, check_project
from lessee.ops.lint.policy.reports import REPORTS


def run(arguments: argparse.Namespace) -> int:
    """0 without errors, otherwise 78 or 65. A report for programs is the only output to stdout."""
    if arguments.schema:
        from lessee.config.schema import schema_text

        sys.stdout.write(schema_text())
        return 0
    if arguments.sandbox:
        return _print_sandbox(arguments.config, dict(os.environ))
    if arguments.policy:
        from lessee.ops.access import command

        return command.run(arguments)
    if arguments.online:
        raise UsageError("--online has no effect without --policy", todo="add --policy, or omit --online")
    if arguments.rotator:
        raise UsageError("--rotator has no effect without --policy", todo="add --policy, or omit --rotator")
    checked = _check(arguments.config, dict(os.environ))
    found = [*checked.findings, *_public_secrets(checked)]
    if arguments.compose:
        found += _check_compose(arguments.compose, checked)
    summary = ""
    if arguments.dist and checked.valid is not None:
        from lessee.ops.lint.command.dist import check_dist

        searched = check_dist(arguments.dist, arguments.config, dict(os.environ))
        found += searched.findings
        summary = searched.summary
    findings = sorted_findings(replace(finding, file=_relative(finding.file)) for finding in found)
    code = exit_code(findings)
    report = REPORTS[arguments.format](findings)
    if arguments.format != "text":
        sys.stdout.write(report)
        if summary:
            print(summary, file=sys.stderr)
        return code
    sys.stderr.write(report)
    if summary:
        print(summary, file=sys.stdout if code == 0 else sys.stderr)
    elif code == 0:
        _print_summary(checked)
    return code


def _print_sandbox(config: str | None, environ: Mapping[str, str]) -> int:
    """Confine this process as `lessee run` would confine itself, and print what the kernel has obeyed."""
    from lessee.agent.sandbox import confine, describe
    from lessee.host.project import load

    print(describe(confine(load(find(config, environ), environ, prepare=False), make=False).as_status()))
    return 0


def _check(config: str | None, environ: Mapping[str, str]) -> CheckResult:
    try:
        path = find(config, environ)
        text = text_of(path)
    except ConfigError as exc:
        return CheckResult(str(config), tuple(of_configuration(problem, problem.where) for problem in exc.problems))
    credentials = _credentials(Path(path), environ)
    return check_project(
        PurePosixPath(path),
        text,
        environ,
        lambda folder, name: template_of(Path(folder), name, None, credentials),
        model_loader(Path(path)),
    )


def _credentials(path: Path, environ: Mapping[str, str]) -> frozenset[tuple[int, int]]:
    try:
        config = read(path, environ)
        return file_ids((*configuration_files(path, config), *credential_files(config, environ)))
    except ConfigError:
        return file_ids([str(path)])  # The check reports its errors.


def _public_secrets(checked: CheckResult) -> Iterable[Finding]:
    """Warnings for public variables with a value whose name looks like a secret."""
    if not any(compiled_app.app.public_variables for compiled_app in checked.compiled_apps.values()):
        return
    from lessee.core.sensitive.names import is_sensitive
    from lessee.ops.validate.policy.exposure import public_fields

    for compiled_app in checked.compiled_apps.values():
        for template, variable, place in public_fields(compiled_app, dict(os.environ)):
            if is_sensitive(place.key):
                what = f"{variable} is listed as public and has {place}, which every visitor of the site can read"
                todo = "check that it is not a secret, or remove it"
                yield Finding("public-secret", "warning", what, todo, checked.file, 0, compiled_app.app.name, template)


def _check_compose(paths: Iterable[str], checked: CheckResult) -> Iterable[Finding]:
    from lessee.ops.lint.policy.compose.rules import check_compose

    return check_compose(paths, checked, lambda path: text_of(Path(path)), _env_file)


def _env_file(path: str) -> str | None:
    """The text of an `env_file`, if it exists; it may be written later."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _relative(file: str) -> str:
    """The path relative to the current directory, if it is below it."""
    path, here = os.path.normpath(Path(file).absolute()), Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _print_summary(checked: CheckResult) -> None:
    for compiled_app in checked.compiled_apps.values():
        print_app(compiled_app)
    count = len(checked.compiled_apps)
    name = Path(checked.file).name
    print(f"{name} is valid: {count} app{'s' * (count != 1)}" if count else f"{name} is valid, without apps")
