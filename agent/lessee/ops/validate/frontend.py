"""Checks that visitors of a website get no secrets: in public variables, and in the output of the build."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lessee.config.grammar.validate import FrontendCheck
from lessee.core.errors import LesseeError
from lessee.core.sensitive.leaks import LeakDetector, find_public_variables, known_key_formats
from lessee.core.sensitive.names import SecretField, is_sensitive
from lessee.ops.validate.checks import Check, CheckSkippedError
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.dist import IncompleteReadError, files, leaks_in_name, parts, printable
from lessee.ops.validate.policy.exposure import TemplateProbe
from lessee.ops.validate.policy.results import Reporter, Result, listed

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


def _block(context: ValidationContext) -> FrontendCheck:
    block = context.config.validate.frontend
    if block is None:
        raise CheckSkippedError("validate.frontend is not configured")
    return block


def _check_variables(context: ValidationContext) -> Iterator[Result]:
    block, check = _block(context), "public-variables"
    detector, reason = _detector(context)
    found, count = [], 0
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
            found += [f"{variable} in {name} has the value of {field}" for field in detector.find(value.encode())]
    for template, fields in _templates(context, block.public_prefixes):
        count += 1
        found += [f"{variable} in {template} contains {field}" for variable, field in sorted(fields)]
    if found:
        todo = f"every visitor can read it: {_REMEDY}"
        yield _REPORTER.critical(check, f"public variables contain secrets: {listed(found)}", todo)
    elif count and reason:
        raise CheckSkippedError(reason)
    elif count:
        yield _REPORTER.passed(check, "Frontend environment variables hold no secret")
    else:
        raise CheckSkippedError("no env file, and no template of one")


def _templates(
    context: ValidationContext, prefixes: tuple[str, ...]
) -> Iterator[tuple[str, set[tuple[str, SecretField]]]]:
    """The templates of dotenv files, with their public variables that contain secrets."""
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
                yield file.template, by_name | set(probe.leaked_fields(prefixes, secrets, detector))


def _check_dist(context: ValidationContext) -> Iterator[Result]:
    block, deadline = _block(context), time.monotonic() + context.timeout * _SHARE
    if block.dist is None:
        raise CheckSkippedError("validate.frontend.dist is not set")
    folder = context.path.parent / block.dist
    errors: list[OSError] = []
    paths = list(files(folder, errors))
    if not paths:
        todo = "run the build first, or correct validate.frontend.dist"
        yield _REPORTER.critical("dist-present", f"{folder} has no files", todo)
        return
    yield _REPORTER.passed("dist-present", f"{folder} has {len(paths)} files")
    detector, reason = _detector(context)
    search = _DistSearch(folder, detector, deadline)
    for path in paths:
        search.add(path)
    unread = len(errors) + search.unread
    if reason:
        yield _REPORTER.skipped("dist-without-secrets", reason)
    else:
        yield _search_result("dist-without-secrets", "the build's output contains secrets", search.values, unread)
    yield _search_result("dist-without-keys", "the build's output contains what looks like a key", search.keys, unread)


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
