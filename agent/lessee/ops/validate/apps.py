"""An app of the configuration: what its templates read, make and have published, and whether it would be told."""

import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import assert_never
from urllib.parse import urlsplit

from msgspec.structs import replace

from lessee.config import (
    App,
    Child,
    CmdlineTarget,
    CommandTarget,
    ContainerTarget,
    HttpTarget,
    NameTarget,
    PidFileTarget,
    Target,
)
from lessee.core.errors import DeniedError, LesseeError
from lessee.host.clock import boot_time
from lessee.host.project import load
from lessee.notification import process_finder
from lessee.notification.probes import wait_until_ready
from lessee.ops.validate.app_reads import Read, read, try_out
from lessee.ops.validate.checks import Check, NotLookedError
from lessee.ops.validate.context import Subject
from lessee.ops.validate.network import reach
from lessee.ops.validate.once import Once
from lessee.ops.validate.policy.results import Result, Teller
from lessee.ops.validate.policy.trial_files import Tried
from lessee.publishing.reader import read_whole
from lessee.rendering.app_templates import Recipe

_SHARE = 0.6
_LONGEST_WAIT = 1.5
"""Seconds in which an agent may take up what has changed just now."""


def checks(app: App, subject: Subject) -> Iterator[Check]:
    """What is read and rendered for one check is not for another again."""
    tell = Teller(app.name)
    # Alone: what is wrong with another app is told there.
    recipe = Once(lambda: load(subject.path, subject.environ, only=app.name, for_child=True).recipes[app.name])
    reading = Once(lambda: read(subject, recipe()))
    trying = Once(lambda: try_out(subject, recipe(), reading()))
    yield Check(app.name, ("templates-right",), partial(_templates, tell, recipe))
    yield Check(app.name, ("secrets-readable",), partial(_readable, tell, recipe, reading))
    yield Check(app.name, ("files-rendered",), partial(_rendered, tell, recipe, reading, trying))
    yield Check(app.name, ("files-published",), partial(_published, tell, app, trying))
    yield Check(app.name, ("app-ready",), partial(_ready, tell, app, subject))
    yield Check(app.name, ("notify-target",), partial(_target, tell, app, subject))


def _templates(tell: Teller, recipe: Once[Recipe]) -> Iterator[Result]:
    try:
        count = len(recipe().templates)
    except LesseeError as exc:
        todo = "see `lessee check`, which tells all that is wrong"
        yield tell.critical("templates-right", _first_line(exc), todo)
    else:
        yield tell.passed("templates-right", f"{count} templates are right")


def _readable(tell: Teller, recipe: Once[Recipe], reading: Once[Read]) -> Iterator[Result]:
    made = _made(recipe)
    found = reading()
    if found.faults:
        todo = "write what is missing, and grant what is refused: `lessee check --policy` prints the smallest policy"
        yield tell.critical("secrets-readable", "; ".join(sorted(found.faults)), todo)
    elif made.needs:
        yield tell.passed(
            "secrets-readable", f"the app's login may read all that its templates name ({len(made.needs)})"
        )
    else:
        raise NotLookedError("the templates read nothing")


def _rendered(tell: Teller, recipe: Once[Recipe], reading: Once[Read], trying: Once[Tried]) -> Iterator[Result]:
    _made(recipe)
    try:
        unread = reading().faults
    except LesseeError:
        unread = ("the login",)
    if unread:
        raise NotLookedError("secrets-readable failed")
    tried = trying()
    if tried.faults:
        todo = "see `lessee render --diff`, and what is wrong with the secret"
        yield tell.critical("files-rendered", "; ".join(tried.faults), todo)
    else:
        made_up = f", {', '.join(tried.made_up)} with made-up credentials" if tried.made_up else ""
        yield tell.passed("files-rendered", f"{len(tried.files) + len(tried.made_up)} files can be rendered{made_up}")


def _published(tell: Teller, app: App, trying: Once[Tried]) -> Iterator[Result]:
    check, tried = "files-published", _tried(trying)
    if not tried.files:
        raise NotLookedError("what the files hold cannot be known without asking for credentials anew")
    old = _differing(app, tried)
    if old:
        time.sleep(min(2 * app.refresh_interval, _LONGEST_WAIT))
        old = _differing(app, tried)
    rest = f"; not compared: {', '.join(sorted(tried.made_up))}" if tried.made_up else ""
    if old:
        text = f"not what would be rendered now: {', '.join(old)}"
        yield tell.critical(check, text, "see `lessee status`: does an agent run, and is it fresh?")
    else:
        yield tell.passed(check, f"the published files are what would be rendered now ({len(tried.files)}){rest}")


def _differing(app: App, tried: Tried) -> list[str]:
    try:
        there = read_whole(Path(app.directory), sorted(tried.files), timeout=0)
    except DeniedError as exc:
        raise NotLookedError(f"{exc.where}: {exc.what}") from None
    return [name for name, content in sorted(there.items()) if not tried.is_same(name, content)]


def _ready(tell: Teller, app: App, subject: Subject) -> Iterator[Result]:
    if app.ready is None:
        raise NotLookedError("the app has no `ready`")
    seen = wait_until_ready(
        replace(app.ready, initial_delay=0.0, timeout=min(app.ready.timeout, subject.timeout * _SHARE)),
        directory=Path(app.directory),
        notified_at=boot_time(),
        published_wall=_published_at(app),
        extra={"LESSEE_APP": app.name, "LESSEE_DIRECTORY": app.directory},
        canceled=threading.Event(),
    )
    if seen is None:
        yield tell.passed("app-ready", "the app is ready")
    else:
        yield tell.critical("app-ready", f"the app is not ready: {seen}", "start it, and see its own log")


def _published_at(app: App) -> float:
    """When the generation that is there was published, in seconds since 1970."""
    try:
        return Path(app.directory, "..data").lstat().st_mtime
    except OSError:
        return 0.0


def _target(tell: Teller, app: App, subject: Subject) -> Iterator[Result]:
    if app.notify is None:
        raise NotLookedError("nobody is to be told")
    absent = _absent(app.notify.target, subject.timeout * _SHARE)
    if absent:
        yield tell.critical("notify-target", f"nobody would be told: {absent}", "start the app, or mend its `notify`")
    else:
        yield tell.passed("notify-target", "there is somebody to be told")


def _absent(target: Target, timeout: float) -> str:
    """Why nobody would be told; empty where somebody would be. Raises NotLookedError where that is not to be seen."""
    match target:
        case NameTarget() | CmdlineTarget() | PidFileTarget():
            found = process_finder.find(target)
            if isinstance(found, process_finder.AmbiguousProcess):
                return f"several processes match ({', '.join(map(str, found.candidates))})"
            return found.reason if isinstance(found, process_finder.ProcessNotFound) else ""
        case CommandTarget(command):
            return "" if shutil.which(command[0]) else f"there is no program {command[0]}"
        case HttpTarget(url=url):
            return _unserved(url, timeout)
        case Child():
            raise NotLookedError("it is the child of `lessee exec`")
        case ContainerTarget():
            raise NotLookedError("containers are not looked at")
        case _:
            assert_never(target)


def _unserved(url: str, timeout: float) -> str:
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "the URL has no valid port"
    why = reach(parts.hostname or "", port, timeout)
    return f"{parts.hostname}:{port}: {why}" if why else ""


def _made(recipe: Once[Recipe]) -> Recipe:
    try:
        return recipe()
    except LesseeError:
        raise NotLookedError("templates-right failed") from None


def _tried(trying: Once[Tried]) -> Tried:
    """Raises NotLookedError where nothing could be rendered."""
    try:
        tried = trying()
    except LesseeError:
        raise NotLookedError("nothing could be rendered") from None
    if tried.faults:
        raise NotLookedError("files-rendered failed")
    return tried


def _first_line(exc: LesseeError) -> str:
    first, *rest = exc.problems
    return f"{first}, and {len(rest)} more" if rest else str(first)
