"""Checks that visitors of a website get no secrets: in public variables, and in the output of the build."""

import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from lessee.config.grammar.validate import FrontendCheck
from lessee.core.errors import LesseeError
from lessee.core.sensitive.leaks import LeakDetector, find_public_variables, known_key_formats
from lessee.core.sensitive.names import SecretField, fields, has_password, is_sensitive
from lessee.core.sensitive.weakness import Weakness, weakness
from lessee.core.severity import Level
from lessee.ops.validate.checks import Check, CheckSkippedError, IncompleteCheckError, NotConfiguredError
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.dist import IncompleteReadError, files, leaks_in_name, parts, printable
from lessee.ops.validate.policy.exposure import TemplateProbe
from lessee.ops.validate.policy.layout import component_of
from lessee.ops.validate.policy.results import Finding, Reporter, Result, Skip, listed
from lessee.ops.validate.policy.variables import is_credential, may_be_public

_REPORTER = Reporter("frontend")
_SHARE = 0.8
"""Of a check's time, after which no more files are read."""
_MAX_KEY = 256
"""Bytes of a key in a known format, which may cross the border of two parts."""
_PASSED = {
    "dist-without-secrets": "no value of the secrets that were read is in the build's output",
    "dist-without-keys": "nothing in the build's output looks like a key",
}
_REMEDY = "remove it, rotate it, and let a server use it instead of the browser"


def checks(context: ValidationContext) -> Iterator[Check]:
    """The checks of the variables that a build reads, and of its output."""
    yield Check("frontend", ("public-variables",), partial(_check_variables, context))
    names = ("dist-present", "dist-without-secrets", "dist-without-keys")
    yield Check("frontend", names, partial(_check_dist, context))


def _check_variables(context: ValidationContext) -> Iterator[Result]:
    block, check = context.config.validate.frontend or FrontendCheck(), "public-variables"
    detector, reason = _detector(context)
    found: list[Finding] = []
    count = 0
    for name in block.env_files:
        path = context.path.parent / name
        try:
            text = path.read_text(errors="replace")
        except OSError as exc:
            todo = "correct validate.frontend.env_files"
            yield _REPORTER.critical(check, f"cannot read {path}: {exc.strerror}", todo)
            return
        count += 1
        for variable, value in find_public_variables(text, block.public_prefixes):
            found += [
                Finding(f"{variable} in {name} has the value of {field}") for field in detector.find(value.encode())
            ]
    for template, leaks in _templates(context, block.public_prefixes):
        count += 1
        found += [Finding(f"{variable} in {template} contains {field}") for variable, field in sorted(leaks)]
    variables = [] if reason else list(_variables_in_vault(context, block.public_prefixes))
    problems = {field: text for field, value in variables if (text := _problem(context, field, value))}
    found += [Finding(f"{field} {text}") for field, text in problems.items()]
    yield from _variables_result(context, found, problems, count=count + len(variables), reason=reason)


def _variables_result(
    context: ValidationContext, found: list[Finding], problems: Iterable[SecretField], *, count: int, reason: str
) -> Iterator[Result]:
    check = "public-variables"
    if found:
        todo = f"every visitor can read it: {_REMEDY}; what may be public belongs in `public_variables` of its app"
        summary = "public variables contain secrets, or no values: "
        yield _REPORTER.found(check, Level.CRITICAL, summary, found, todo, explains=problems)
    elif reason and (count or context.config.validate.frontend is not None):
        raise CheckSkippedError(reason)
    elif not count:
        if overlooked := context.overlooked("frontend"):
            raise CheckSkippedError(overlooked)
        raise NotConfiguredError("no secret, no template and no env file has a public variable such as VITE_…")
    elif short := context.short_credentials():
        raise IncompleteCheckError(f"public variables hold no secret, but {_too_short(context, short)}")
    else:
        yield _REPORTER.passed(check, f"Frontend environment variables hold no secret ({count} looked at)")


def _variables_in_vault(context: ValidationContext, prefixes: tuple[str, ...]) -> Iterator[tuple[SecretField, str]]:
    """The fields of secrets that are public variables, and all those of the frontend's secrets."""
    for path, data in context.secrets().items():
        ref = str(context.scope.secret(path))
        for key, value in fields(data):
            if key.startswith(prefixes) or component_of(path) == "frontend":
                yield SecretField(ref, key), value


def _problem(context: ValidationContext, field: SecretField, value: str) -> str:
    """Why visitors must not get a variable, or cannot use it; empty where they may."""
    found = weakness(field.key, value)
    if found in {Weakness.EMPTY, Weakness.PLACEHOLDER}:
        return str(found)
    prefixes = (context.config.validate.frontend or FrontendCheck()).public_prefixes
    if not field.key.startswith(prefixes) or field in context.listed_fields():
        return ""
    encoded = value.encode(errors="surrogateescape")
    others = sorted(other for other in context.detector().find(encoded) if other != field)
    if others:
        return f"has the value of {others[0]}"
    if kinds := list(known_key_formats(encoded)):
        return f"contains {kinds[0]}"
    if has_password(value):
        return "contains a password"
    return "is named like a credential" if is_credential(field.key) and not may_be_public(value) else ""


def _too_short(context: ValidationContext, short: list[SecretField]) -> str:
    count = sum(1 for _ in context.values())
    verb = "is" if len(short) == 1 else "are"
    return f"{len(short)} of {count} values {verb} too short to be searched for: {listed(short)}"


def _templates(
    context: ValidationContext, prefixes: tuple[str, ...]
) -> Iterator[tuple[str, set[tuple[str, SecretField]]]]:
    """The templates of dotenv files that have public variables, with those that contain secrets."""
    detector, reason = _detector(context)
    try:
        secrets = {} if reason else context.inventory().secrets
        compiled_apps = context.project().compiled_apps.values()
    except LesseeError:
        return  # Each app's own checks report it.
    for compiled_app in compiled_apps:
        for file, compiled in compiled_app.files:
            if file.format.startswith("dotenv"):
                probe = TemplateProbe(compiled, file.format, compiled_app.scope, context.environ)
                allowed = compiled_app.app.public_variables
                by_name = {
                    (variable, field)
                    for variable, field in probe.referenced_fields(prefixes)
                    if variable not in allowed and is_sensitive(field.key)
                }
                leaks = by_name | set(probe.leaked_fields(prefixes, secrets, detector))
                if leaks or probe.has_variables(prefixes):
                    yield file.template, leaks


def _check_dist(context: ValidationContext) -> Iterator[Result]:
    block, deadline = context.config.validate.frontend, time.monotonic() + context.timeout * _SHARE
    if block is None or block.dist is None:
        raise NotConfiguredError("validate.frontend.dist is not set")
    folder = context.path.parent / block.dist
    errors: list[OSError] = []
    paths = list(files(folder, errors))
    if not paths:
        todo = "run the build first, or correct validate.frontend.dist"
        yield _REPORTER.critical("dist-present", f"{folder} has no files", todo)
        return
    yield _REPORTER.passed("dist-present", f"{folder} has files ({len(paths)})")
    detector, reason = _detector(context)
    search = _DistSearch(folder, detector, deadline)
    for path in paths:
        search.add(path)
    unread = len(errors) + search.unread
    if reason:
        yield _REPORTER.skipped("dist-without-secrets", reason)
    else:
        yield _values_result(context, search.values, unread)
    yield _search_result("dist-without-keys", "the build's output contains what looks like a key", search.keys, unread)


def _values_result(context: ValidationContext, found: list[str], unread: int) -> Result:
    check, short = "dist-without-secrets", context.short_credentials()
    result = _search_result(check, "the build's output contains secrets", found, unread)
    if result.passed and short:
        return _REPORTER.skipped(check, f"{result.text}, but {_too_short(context, short)}", Skip.INCOMPLETE)
    return result


class _DistSearch:
    """What was found in files until the deadline."""

    def __init__(self, folder: Path, detector: LeakDetector, deadline: float) -> None:
        self._folder = folder
        self._detector = detector
        self._deadline = deadline
        self.values: list[str] = []
        self.keys: list[str] = []
        self.unread = 0

    def add(self, path: Path) -> None:
        """Search a file and its name."""
        fields = {leak.field for leak in leaks_in_name(path, self._folder, self._detector)}
        name = "a file with a secret in its name" if fields else printable(path.relative_to(self._folder))
        formats: set[str] = set()
        incomplete = time.monotonic() > self._deadline
        try:
            for part in () if incomplete else parts(path, max(self._detector.longest, _MAX_KEY)):
                fields |= self._detector.find(part.content)
                formats.update(known_key_formats(part.content))
        except (OSError, IncompleteReadError):
            incomplete = True
        self.unread += incomplete
        self.values += [f"{name} contains {field}" for field in sorted(fields)]
        self.keys += [f"{name} contains {kind}" for kind in sorted(formats)]


def _search_result(check: str, problem: str, found: list[str], unread: int) -> Result:
    if found:
        report = _REPORTER.critical if check == "dist-without-secrets" else _REPORTER.warning
        return report(check, f"{problem}: {listed(found)}", _REMEDY)
    if unread:
        text = f"{unread} files or directories could not be read completely, or in time"
        return _REPORTER.warning(check, text, "increase validate.timeout, or run it as a user that may read them")
    return _REPORTER.passed(check, _PASSED[check])


def _detector(context: ValidationContext) -> tuple[LeakDetector, str]:
    """A detector of the environment's values, and why it knows none."""
    try:
        reason = "" if context.inventory().secrets else "no secret could be read"
        return context.detector(), reason
    except (LesseeError, CheckSkippedError) as exc:
        return LeakDetector(()), f"the environment's secrets could not be read: {exc}"
