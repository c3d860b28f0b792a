"""Checks an app: its templates, its files, whether it is ready, and whether it can be notified."""

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
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
    Notify,
    PidFileTarget,
)
from lessee.core.errors import DeniedError, LesseeError
from lessee.core.paths import Need, Ref
from lessee.core.sensitive.names import SecretField
from lessee.core.severity import Level
from lessee.host.clock import boot_time, boot_times
from lessee.host.project import load
from lessee.notification import process_finder
from lessee.notification.app_users import users_of
from lessee.notification.probes import wait_until_ready
from lessee.ops.validate.app_reads import References, read_references, render
from lessee.ops.validate.checks import (
    CachedCall,
    Check,
    CheckSkippedError,
    IncompleteCheckError,
    NotConfiguredError,
)
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.network import connection_error
from lessee.ops.validate.policy import agent_status
from lessee.ops.validate.policy.results import Finding, Reporter, Result
from lessee.ops.validate.policy.trial_files import RenderedFiles
from lessee.publishing.reader import read_generation
from lessee.rendering.app_templates import CompiledApp

_SHARE = 0.6
_MAX_WAIT = 1.5
"""Seconds in which an agent may publish what has changed just before."""


def checks(app: App, context: ValidationContext) -> Iterator[Check]:
    """The app's checks, which share what they read and render."""
    reporter = Reporter(app.name)
    # Only this app: problems of other apps are reported there.
    compiled = CachedCall(
        lambda: load(context.path, context.environ, only=app.name, for_child=True).compiled_apps[app.name]
    )
    references = CachedCall(lambda: read_references(context, compiled()))
    rendered = CachedCall(lambda: render(context, compiled(), references()))
    yield Check(app.name, ("templates-valid",), partial(_check_templates, reporter, compiled))
    yield Check(app.name, ("secrets-readable",), partial(_check_secrets, reporter, compiled, references))
    yield Check(app.name, ("files-rendered",), partial(_check_rendering, reporter, compiled, references, rendered))
    yield Check(app.name, ("files-published",), partial(_check_published, reporter, app, rendered))
    yield Check(app.name, agent_status.APP_NAMES, partial(_check_agent, reporter, app, context))
    yield Check(app.name, ("app-ready",), partial(_check_ready, reporter, app, context))
    yield Check(app.name, ("notify-target",), partial(_check_notify_target, reporter, app, context))


def _check_templates(reporter: Reporter, compiled: CachedCall[CompiledApp]) -> Iterator[Result]:
    try:
        count = len(compiled().templates)
    except LesseeError as exc:
        todo = "run `lessee check` for all problems"
        yield reporter.critical("templates-valid", _first_line(exc), todo)
    else:
        yield reporter.passed("templates-valid", f"all templates are valid ({count})")


def _check_secrets(
    reporter: Reporter, compiled: CachedCall[CompiledApp], references: CachedCall[References]
) -> Iterator[Result]:
    compiled_app = _compiled(compiled)
    found = references()
    if found.errors:
        todo = "write missing secrets, and grant missing capabilities: `lessee check --policy` prints the least policy"
        findings = [Finding(f"{need}: {error}", _subjects([need])) for need, error in found.errors.items()]
        yield reporter.found("secrets-readable", Level.CRITICAL, "", findings, todo)
    elif compiled_app.references:
        text = f"the app's login may read everything that its templates use ({len(compiled_app.references)})"
        yield reporter.passed("secrets-readable", text)
    else:
        raise NotConfiguredError("the templates read nothing")


def _check_rendering(
    reporter: Reporter,
    compiled: CachedCall[CompiledApp],
    references: CachedCall[References],
    rendered: CachedCall[RenderedFiles],
) -> Iterator[Result]:
    _compiled(compiled)
    try:
        is_readable = not references().errors
    except LesseeError:
        is_readable = False
    if not is_readable:
        raise CheckSkippedError("secrets-readable failed")
    files = rendered()
    if files.errors:
        todo = "see `lessee render --diff`, and correct the secret or the template"
        # What a template needs may be missing from any secret that the app reads.
        subjects = _subjects(compiled().references)
        findings = [Finding(error, subjects) for error in files.errors]
        yield reporter.found("files-rendered", Level.CRITICAL, "", findings, todo)
    else:
        count = len(files.fingerprints) + len(files.uncompared)
        samples = f", {', '.join(files.uncompared)} with sample values" if files.uncompared else ""
        yield reporter.passed("files-rendered", f"all files can be rendered ({count}){samples}")


def _check_published(reporter: Reporter, app: App, rendered: CachedCall[RenderedFiles]) -> Iterator[Result]:
    check, files = "files-published", _rendered(rendered)
    if not files.fingerprints:
        what = "all files have dynamic credentials or variables of the agent"
        raise IncompleteCheckError(f"{what}, and cannot be compared with the published ones")
    outdated = _outdated(app, files)
    if outdated:
        time.sleep(min(2 * app.refresh_interval, _MAX_WAIT))
        outdated = _outdated(app, files)
    if outdated:
        text = f"published files differ from what would be rendered now: {', '.join(outdated)}"
        yield reporter.critical(check, text, "see `lessee status`: check that an agent runs, and is fresh")
    elif files.uncompared:
        count = len(files.fingerprints) + len(files.uncompared)
        rest = f"with dynamic credentials or variables of the agent: {', '.join(sorted(files.uncompared))}"
        what = f"{len(files.fingerprints)} of {count} published files are up to date"
        raise IncompleteCheckError(f"{what}; those cannot be compared that are made {rest}")
    else:
        yield reporter.passed(check, f"all published files are up to date ({len(files.fingerprints)})")


def _check_agent(reporter: Reporter, app: App, context: ValidationContext) -> Iterator[Result]:
    yield from context.agent_results(partial(agent_status.check_app, reporter, app.name))


def _outdated(app: App, files: RenderedFiles) -> list[str]:
    try:
        published = read_generation(Path(app.directory), sorted(files.fingerprints), timeout=0)
    except DeniedError as exc:
        raise CheckSkippedError(f"{exc.where}: {exc.what}") from None
    return [name for name, content in sorted(published.items()) if not files.matches(name, content)]


def _check_ready(reporter: Reporter, app: App, context: ValidationContext) -> Iterator[Result]:
    if app.ready is None:
        raise NotConfiguredError("the app has no `ready`")
    error = wait_until_ready(
        replace(app.ready, initial_delay=0.0, timeout=min(app.ready.timeout, context.timeout * _SHARE)),
        directory=Path(app.directory),
        notified_at=boot_time(),
        published_at=_published_at(app),
        extra={"LESSEE_APP": app.name, "LESSEE_DIRECTORY": app.directory},
        canceled=threading.Event(),
    )
    if error is None:
        yield reporter.passed("app-ready", "the app is ready")
    else:
        yield reporter.critical("app-ready", f"the app is not ready: {error}", "start it, and see its own log")


def _published_at(app: App) -> float:
    """When the current generation was published, on the boot clock."""
    try:
        return boot_times(Path(app.directory, "..data").lstat().st_mtime)[0]
    except OSError:
        return float("-inf")


def _check_notify_target(reporter: Reporter, app: App, context: ValidationContext) -> Iterator[Result]:
    if app.notify is None:
        raise NotConfiguredError("the app has no `notify`")
    error = _target_error(app.notify, context.timeout * _SHARE)
    if error:
        todo = "start the app, or correct its `notify`"
        yield reporter.critical("notify-target", f"the app cannot be notified: {error}", todo)
    else:
        yield reporter.passed("notify-target", "the app can be notified")


def _target_error(notify: Notify, timeout: float) -> str:
    """Why the target cannot be notified; empty where it can. Raises CheckSkippedError where that is not visible."""
    match notify.target:
        case NameTarget() | CmdlineTarget() | PidFileTarget() as target:
            found = process_finder.find(target, users_of(notify))
            if isinstance(found, process_finder.AmbiguousProcess):
                return f"several processes match ({', '.join(map(str, found.candidates))})"
            missing = process_finder.ProcessNotFound | process_finder.ForeignProcess
            return found.reason if isinstance(found, missing) else ""
        case CommandTarget(command):
            return "" if shutil.which(command[0]) else f"the program {command[0]} does not exist"
        case HttpTarget(url=url):
            return _url_error(url, timeout)
        case Child():
            raise CheckSkippedError("the app is the child of `lessee exec`")
        case ContainerTarget():
            raise CheckSkippedError("containers are not checked")
        case _:
            assert_never(notify.target)


def _url_error(url: str, timeout: float) -> str:
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "the URL has no valid port"
    error = connection_error(parts.hostname or "", port, timeout)
    return f"{parts.hostname}:{port}: {error}" if error else ""


def _compiled(compiled: CachedCall[CompiledApp]) -> CompiledApp:
    try:
        return compiled()
    except LesseeError:
        raise CheckSkippedError("templates-valid failed") from None


def _rendered(rendered: CachedCall[RenderedFiles]) -> RenderedFiles:
    """Raises CheckSkippedError where the files cannot be rendered."""
    try:
        files = rendered()
    except LesseeError:
        raise CheckSkippedError("the files cannot be rendered") from None
    if files.errors:
        raise CheckSkippedError("files-rendered failed")
    return files


def _subjects(needs: Iterable[Need]) -> frozenset[SecretField]:
    """The secrets among what templates read."""
    return frozenset(SecretField(f"{need.mount}/{need.path}", "") for need in needs if isinstance(need, Ref))


def _first_line(exc: LesseeError) -> str:
    first, *rest = exc.problems
    return f"{first}, and {len(rest)} more" if rest else str(first)
