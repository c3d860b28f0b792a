"""`lessee check`: validates the configuration, and lists the secrets it reads, without contacting Vault."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath

from lessee.core.errors import ConfigError, UsageError
from lessee.core.immutable import replace
from lessee.host.project import (
    configuration_files,
    credential_files,
    file_ids,
    find,
    find_id,
    model_loader,
    read,
    template_of,
    text_of,
)
from lessee.ops.lint.command.app_summary import print_app
from lessee.ops.lint.policy.compose.shadowed_variables import rendered_variables
from lessee.ops.lint.policy.findings import Finding, exit_code, of_configuration, sorted_findings
from lessee.ops.lint.policy.fixes.application import applied
from lessee.ops.lint.policy.fixes.diff import Edit, edits
from lessee.ops.lint.policy.fixes.model import Data
from lessee.ops.lint.policy.fixes.session import lines_to_add
from lessee.ops.lint.policy.fixes.yaml_text import block
from lessee.ops.lint.policy.fixes.yaml_values import NotEditableError
from lessee.ops.lint.policy.project import CheckResult, check_project
from lessee.ops.lint.policy.reports import REPORTS, pasted

Load = Callable[[str], str]
"""Returns the text of a file, or raises ConfigError."""
_ADDED = "compose.override.yaml"
_OTHER = "compose.lessee.yaml"
_DEFAULTS = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""The files that `docker compose` reads by itself, and then also their override."""


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
    if arguments.issuer:
        raise UsageError("--issuer has no effect without --policy", todo="add --policy, or omit --issuer")
    if arguments.fix:
        return _fix(arguments)
    if arguments.dry_run or arguments.yes:
        raise UsageError("--dry-run, --diff and --yes have no effect without --fix", todo="add --fix")
    checked = _check(arguments.config, dict(os.environ))
    found = [*checked.findings, *_public_secrets(checked), *_on_disk(checked), *_exposed(checked)]
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
    report = REPORTS[arguments.format](findings, _edits_of)
    if arguments.format != "text":
        sys.stdout.write(report)
        if summary:
            print(summary, file=sys.stderr)
        return code
    sys.stderr.write(report)
    lines = _lines_to_add(arguments.compose, checked) if arguments.compose else ""
    # The lines are a whole Compose file, which a shell may write to another one.
    with redirect_stdout(sys.stderr if lines else sys.stdout):
        if summary:
            print(summary, file=sys.stdout if code == 0 else sys.stderr)
        elif code == 0:
            _print_summary(checked)
    sys.stderr.flush()
    sys.stdout.write(lines)
    return code


def findings_of(config: str | None, environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """What `lessee check` finds in the configuration and its templates."""
    checked = _check(config, environ)
    return sorted_findings([*checked.findings, *_on_disk(checked), *_exposed(checked)])


def _fix(arguments: argparse.Namespace) -> int:
    from lessee.ops.lint.command.fixing import fix
    from lessee.ops.lint.command.text_files import TextFiles

    if arguments.format != "text" or arguments.dist:
        raise UsageError("--fix prints a diff", todo="omit --format and --dist")
    files, environ = TextFiles(), dict(os.environ)

    def check(texts: Mapping[str, str]) -> tuple[Sequence[Finding], Iterable[str]]:
        load = lambda path: texts[path] if path in texts else files.text(path)  # noqa: E731  # As short as its use.
        checked = _check(arguments.config, environ, load)
        found = [*checked.findings, *_public_secrets(checked)]
        if arguments.compose:
            found += _check_compose(arguments.compose, checked, load)
        names = {name for app in checked.compiled_apps for name in rendered_variables(app, checked.texts)}
        return sorted_findings(replace(finding, file=_relative(finding.file)) for finding in found), names

    return fix(arguments, files, check)


def _edits_of(finding: Finding) -> tuple[Edit, ...]:
    """The edits of a finding's fix, on its own; empty if it cannot be applied as it is."""
    from lessee.ops.lint.command.text_files import TextFiles

    if finding.fix is None:
        return ()
    files = TextFiles()
    try:
        new = applied(finding.fix, files.text)
    except (NotEditableError, ConfigError):
        return ()
    return tuple(edit for file, text in new.items() for edit in edits(_relative(file), files.text(file), text))


def _has_content(path: Path) -> bool:
    """Whether the file is there; a shell that redirects the output to it has emptied it already."""
    return path.exists() and path.stat().st_size > 0


def _lines_to_add(paths: Sequence[str], checked: CheckResult) -> str:
    """The Compose file that adds what is missing; empty if nothing is."""
    first = Path(paths[0])
    is_default = first.name in _DEFAULTS and len(paths) == 1 and not _has_content(first.with_name(_ADDED))
    name = str(first.with_name(_ADDED if is_default else _OTHER))

    def check(document: Mapping[str, Data]) -> Iterable[Finding]:
        texts = {name: block(document) if document else "services: {}"}
        load = lambda path: texts[path] if path in texts else text_of(Path(path))  # noqa: E731  # As short as its use.
        return _check_compose([*paths, name] if document else paths, checked, load)

    is_fixable = any(finding.lines and _edits_of(finding) for finding in check({}))
    return pasted(lines_to_add(check), paths, name, is_default=is_default, is_fixable=is_fixable)


def _print_sandbox(config: str | None, environ: Mapping[str, str]) -> int:
    """Confine this process as `lessee run` would confine itself, and print what the kernel has obeyed."""
    from lessee.agent.sandbox import confine, describe
    from lessee.host.project import load

    print(describe(confine(load(find(config, environ), environ, prepare=False), make=False).as_status()))
    return 0


def _read_file(path: str) -> str:
    return text_of(Path(path))


def _check(config: str | None, environ: Mapping[str, str], load: Load = _read_file) -> CheckResult:
    try:
        path = find(config, environ)
        text = load(str(path))
    except ConfigError as exc:
        return CheckResult(str(config), tuple(of_configuration(problem, problem.where) for problem in exc.problems))
    credentials = _credentials(Path(path), environ)
    return check_project(
        PurePosixPath(path),
        text,
        environ,
        lambda folder, name: template_of(Path(folder), name, None, credentials),
        model_loader(Path(path)),
        find_id,
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


def _on_disk(checked: CheckResult) -> Iterable[Finding]:
    """Warnings for directories that the agent refuses on this machine; below /run, a tmpfs may be mounted later."""
    if checked.valid is None or checked.valid.config.allow_disk:
        return
    from lessee.config.grammar.nodes import line_of_key
    from lessee.host.mounts import is_memory_at

    config = checked.valid.config
    keys: set[tuple[tuple[str, ...], str]] = {(("state_dir",), config.state_dir)}
    keys |= {(("apps", app.name, "directory"), app.directory) for app in config.apps.values() if not app.allow_disk}
    for key, directory in sorted(keys):
        path = Path(directory)
        if (path.is_relative_to("/run") and not path.exists()) or is_memory_at(path) is not False:
            continue
        what = (
            f"{'.'.join(key)}: {directory} is not in memory (tmpfs or ramfs) on this machine, so the agent refuses it"
        )
        todo = (
            "name a directory in /dev/shm, which is in memory on any Linux, or mount a tmpfs there (Compose: a volume"
        )
        todo += " with `type: tmpfs`), or set `allow_disk: true`"
        line = line_of_key(checked.valid.root, key)
        app = key[1] if key[0] == "apps" else ""
        yield Finding("not-in-memory", "warning", what, todo, checked.file, line, app)


def _exposed(checked: CheckResult) -> Iterable[Finding]:
    """Warnings for files on this machine with credentials of the agent that every user may read."""
    if checked.valid is None:
        return
    from lessee.host.exposed_credentials import exposed_credentials

    for found in exposed_credentials(checked.valid.config):
        what = f"{found.path} holds a credential of the agent, and every user can read it (mode {found.mode:04o})"
        yield Finding("exposed-credential", "warning", what, found.todo, checked.file)


def _check_compose(paths: Sequence[str], checked: CheckResult, load: Load = _read_file) -> Iterable[Finding]:
    from lessee.ops.lint.policy.compose.rules import check_compose

    def env_file(path: str) -> str | None:
        """The text of an `env_file`, if it exists; it may be written later."""
        try:
            return load(path)
        except ConfigError:
            return None

    configuration = os.path.relpath(checked.file, Path(paths[0]).parent)
    return check_compose(paths, checked, load, env_file, configuration)


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
