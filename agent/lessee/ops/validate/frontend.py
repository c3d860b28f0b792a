"""What every visitor of a web site gets: no secret is among it."""

import time
from collections.abc import Iterator
from functools import partial

from lessee.config.grammar.validate import CheckedFrontend
from lessee.core.errors import LesseeError
from lessee.core.sensitive.names import Place, is_secretive
from lessee.core.sensitive.traces import Traces, makes, public_variables
from lessee.ops.validate.checks import Check, NotLookedError
from lessee.ops.validate.context import Subject
from lessee.ops.validate.dist import UnreadError, files, in_name, parts, printable
from lessee.ops.validate.policy.exposure import Trial
from lessee.ops.validate.policy.results import Result, Teller, several

_TELL = Teller("frontend")
_SHARE = 0.8
"""Of a check's time, after which files are no longer opened."""
_MAKE = 256
"""Bytes of what looks like a key, which may lie across the parts that a file is read in."""


def checks(subject: Subject) -> Iterator[Check]:
    """Those of the variables that a build reads, and of what it wrote."""
    yield Check("frontend", ("public-variables",), partial(_variables, subject))
    yield Check("frontend", ("dist-present", "dist-without-secrets", "dist-without-keys"), partial(_dist, subject))


def _said(subject: Subject) -> CheckedFrontend:
    said = subject.config.validate.frontend
    if said is None:
        raise NotLookedError("validate.frontend names nothing")
    return said


def _variables(subject: Subject) -> Iterator[Result]:
    said, check = _said(subject), "public-variables"
    traces, why = _traces(subject)
    found, looked = [], 0
    for name in said.env_files:
        path = subject.path.parent / name
        try:
            text = path.read_text(errors="replace")
        except OSError as exc:
            yield _TELL.critical(check, f"{path} cannot be read: {exc.strerror}", "mend validate.frontend.env_files")
            return
        looked += 1
        for variable, value in public_variables(text, said.public):
            found += [f"{variable} in {name} holds {place}" for place in traces.find(value.encode())]
    for template, exposed in _templates(subject, said.public):
        looked += 1
        found += [f"{variable} in {template} takes {place}" for variable, place in sorted(exposed)]
    if found:
        todo = "every visitor reads it: take it out, rotate it, and let a server of yours use it in the browser's place"
        yield _TELL.critical(check, f"a public variable holds a secret: {several(found)}", todo)
    elif looked and why:
        raise NotLookedError(why)
    elif looked:
        yield _TELL.passed(check, "Frontend environment variables hold no secret")
    else:
        raise NotLookedError("there is no env file, and no template of one")


def _templates(subject: Subject, prefixes: tuple[str, ...]) -> Iterator[tuple[str, set[tuple[str, Place]]]]:
    """Of each template of a dotenv file the public variables with the secrets that they take."""
    traces, why = _traces(subject)
    try:
        secrets = {} if why else subject.inventory().secrets
        recipes = subject.project().recipes.values()
    except LesseeError:
        return  # Each app's own checks tell of it.
    for recipe in recipes:
        for file, compiled in recipe.files:
            if file.format.startswith("dotenv"):
                trial = Trial(compiled, file.format, recipe.space, subject.environ)
                taken = (one for one in trial.takes(prefixes) if one[0] not in recipe.app.public)
                by_name = {one for one in taken if is_secretive(one[1].key)}
                yield file.template, by_name | set(trial.holds(prefixes, secrets, traces))


def _dist(subject: Subject) -> Iterator[Result]:
    said, deadline = _said(subject), time.monotonic() + subject.timeout * _SHARE
    if said.dist is None:
        raise NotLookedError("validate.frontend names no dist")
    folder = subject.path.parent / said.dist
    closed: list[OSError] = []
    found = list(files(folder, closed))
    if not found:
        todo = "build it first, or mend validate.frontend.dist"
        yield _TELL.critical("dist-present", f"there are no files in {folder}", todo)
        return
    yield _TELL.passed("dist-present", f"{len(found)} files are in {folder}")
    values: list[str] = []
    keys: list[str] = []
    unread, (traces, why) = len(closed), _traces(subject)
    for path in found:
        there = {trace.place for trace in in_name(path, folder, traces)}
        name = "a file that cannot be named" if there else printable(path.relative_to(folder))
        looks: set[str] = set()
        missed = time.monotonic() > deadline
        try:
            for part in () if missed else parts(path, max(traces.longest, _MAKE)):
                there |= traces.find(part.content)
                looks.update(makes(part.content))
        except (OSError, UnreadError):
            missed = True
        unread += missed
        values += [f"{name} holds {place}" for place in sorted(there)]
        keys += [f"{name} holds {kind}" for kind in sorted(looks)]
    rest = f"{unread} files or folders could not be read as a whole, or the time did not suffice for them"
    if why:
        yield _TELL.unlooked("dist-without-secrets", why)
    else:
        yield _found("dist-without-secrets", "a secret is in what visitors get", values, unread, rest)
    yield _found("dist-without-keys", "what looks like a key is in what visitors get", keys, unread, rest)


def _found(check: str, what: str, found: list[str], unread: int, rest: str) -> Result:
    if found:
        todo = "rotate it at once, take it out of the build, and let a server of yours use it in the browser's place"
        tell = _TELL.critical if check == "dist-without-secrets" else _TELL.warning
        return tell(check, f"{what}: {several(found)}", todo)
    if unread:
        return _TELL.warning(check, rest, "raise validate.timeout, or see who may read them")
    return _TELL.passed(check, _SOUND[check])


_SOUND = {
    "dist-without-secrets": "no value of the secrets that were looked at is in what visitors get",
    "dist-without-keys": "nothing in what visitors get looks like a key",
}


def _traces(subject: Subject) -> tuple[Traces, str]:
    """What finds the environment's values, and why it knows none."""
    try:
        why = "" if subject.inventory().secrets else "there is no secret to be read"
        return subject.traces(), why
    except (LesseeError, NotLookedError) as exc:
        return Traces(()), f"the environment's values are not known: {exc}"
