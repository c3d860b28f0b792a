"""`lessee drill`: plays an outage, a leak, a rotation and a restore, and measures them against objectives."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

from lessee.audit_trail.operator_actions import OperatorAction, recorded_action
from lessee.audit_trail.policy.actions import rfc3339
from lessee.core.errors import LesseeError, NotNotifiedError, UsageError, WriteError
from lessee.core.generation import File, Generation
from lessee.core.printable import counted
from lessee.host.clock import boot_time
from lessee.host.console import escape_unknown, print_line
from lessee.host.private_folder import private_folder
from lessee.host.progress import Progress, progress
from lessee.host.project import Project, check_has_apps, find, load, read
from lessee.ops.backup import server
from lessee.ops.backup.catalog import LATEST, Cluster, open_archive
from lessee.ops.backup.keys import keys, require_keys
from lessee.ops.backup.policy.archive_format import ArchiveError
from lessee.ops.drill.gateway import Gateway
from lessee.ops.drill.logins import remove_logins
from lessee.ops.drill.metrics import record
from lessee.ops.drill.policy.configuration import environment_of
from lessee.ops.drill.policy.report import as_json, as_markdown, as_text, step_line
from lessee.ops.drill.policy.results import Result, Scene, Step
from lessee.ops.drill.policy.schedule import RETRY_DELAY, next_due, report_name
from lessee.ops.drill.scenes import Director
from lessee.ops.drill.site import Opener, PrivateSite, TestEnvironment
from lessee.ops.drill.stage import Stage, without_credentials
from lessee.process.hardening import harden
from lessee.publishing.plain_files import write_plain_files
from lessee.vault.admin import admin_client

_MISSED = 1
_INCOMPLETE = NotNotifiedError.exit_code
_SHORTEST, _LONGEST = 60.0, 366 * 86400.0
_LONGEST_SLEEP = 60.0
"""Seconds: a sleep does not count the time of a suspension, and the clock may be set."""
_PREFIX = "lessee-drill-"


def run(arguments: argparse.Namespace) -> int:
    """0 if all objectives were met, 1 if one was missed, 75 if an app could not be played."""
    harden()
    escape_unknown("utf-8" if arguments.json else None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    if arguments.every is not None:
        return _repeat(arguments, path, environ)
    return _drill(arguments, path, environ)


def _repeat(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    """Run until SIGTERM. A drill is due when the newest report is old enough, also after a restart."""
    if not _SHORTEST <= arguments.every <= _LONGEST:
        raise UsageError("--every must be from 1m to 366d", todo="use 30d, for example")
    project = _load(arguments, path, environ)
    folder, environment = _folder(arguments, project), environment_of(project.config)
    retry_at = said = 0.0
    try:
        while True:
            now = time.time()
            names = (file.name for file in folder.iterdir())
            due = max(next_due(names, environment, now, arguments.every), retry_at)
            if due <= now:
                try:
                    _drill(arguments, path, environ)
                except LesseeError as exc:
                    print(f"lessee: {exc}", file=sys.stderr, flush=True)
                    retry_at = now + RETRY_DELAY
                continue
            if due != said:
                said = due
                print(f"next drill at {rfc3339(due)}", flush=True)
            time.sleep(max(0.0, min(due, now + _LONGEST_SLEEP) - now))
    except KeyboardInterrupt:
        return 0  # Stopping it is not an error.


def _load(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> Project:
    blocks = ("drill", "backup", "rotation", "setup")
    if arguments.against is not None:
        named = read(path, environ, environment=arguments.against, blocks=blocks).drill.test_environments
        if arguments.against not in named:
            what = f"{arguments.against} is not named as a test environment; a drill ends its logins"
            todo = "add it to `drill.test_environments` if it is one, or omit --against for a private server"
            raise UsageError(what, where=path.name, todo=todo)
    project = load(path, environ, for_child=True, environment=arguments.against, blocks=blocks)
    check_has_apps(project)
    return project


def _folder(arguments: argparse.Namespace, project: Project) -> Path:
    """Where reports are written. Raises WriteError before the drill begins."""
    folder = Path(arguments.output or project.config.drill.directory or ".").absolute()
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        what = "cannot write reports: not a directory that this user can write"
        raise WriteError(what, where=str(folder), todo="create it, or name another with --output")
    return folder


def _drill(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    project = _load(arguments, path, environ)
    config, folder = project.config, _folder(arguments, project)
    period = arguments.every or config.drill.period
    if arguments.against is not None and not arguments.yes:
        _confirm(arguments.against)
    about = {"scenes": ", ".join(_scenes(arguments)), "archive": arguments.archive, "against": arguments.against or ""}
    with recorded_action(config.audit_trail, environ, "drill", config.environment, **about) as action:
        try:
            result = _play(arguments, project, environ, folder)
        except LesseeError:
            with suppress(WriteError):  # The error of the drill itself is the one to report.
                record(config, None, period)
            raise
        for one in result.missed:
            action.fail(f"{one.name}: {one.seconds:.1f} s of at most {one.objective:.1f} s")
        if result.problems:
            action.fail(result.problems[0])
        written = _write(result, folder, action)
        record(config, result, period)
    if arguments.json:
        print_line(as_json(result).rstrip("\n"))
    else:
        print_line(as_text(result))
        print_line(f"\nreport: {written}")
    if result.missed or result.problems:
        return _MISSED
    return _INCOMPLETE if result.not_played else 0


def _confirm(environment: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():  # None: stdin was closed.
        raise UsageError("no terminal to ask for confirmation", todo="add --yes, or omit --against")
    question = f"This ends all logins of {environment}, and rotates its credentials. Type {environment} to continue: "
    print(question, end="", flush=True)
    if sys.stdin.readline().strip() != environment:
        raise UsageError("not confirmed, and nothing was changed", todo=f"type {environment} to continue")


def _scenes(arguments: argparse.Namespace) -> list[Scene]:
    return [scene for scene in Scene if scene in (arguments.scene or list(Scene))]


def _write(result: Result, folder: Path, action: OperatorAction) -> Path:
    """Write both forms of the report. The audit trail gets their hashes, so that a later change is found."""
    name = report_name(result.environment, _seconds(result.started))
    texts = {f"{name}.md": as_markdown(result), f"{name}.json": as_json(result)}
    files = tuple(File(file, text.encode(), 0o600) for file, text in texts.items())
    write_plain_files(folder, Generation("report", files))
    for file in files:
        action.step(f"wrote {folder / file.name}, sha256 {sha256(file.content).hexdigest()}")
    return folder / f"{name}.md"


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def _play(arguments: argparse.Namespace, project: Project, environ: Mapping[str, str], folder: Path) -> Result:
    """`folder`: of the reports."""
    identities = require_keys(keys(arguments.key_file, environ))
    config, started = project.config, time.time()
    with (
        ExitStack() as stack,
        progress(quiet=arguments.quiet or arguments.every is not None) as shown,
        private_folder(_PREFIX, in_memory=True) as private,
    ):

        def opener(cluster: Callable[[], Cluster]) -> Opener:
            return lambda: open_archive(arguments.archive, config.backup, environ, identities, _report, cluster, shown)

        if arguments.against is None:
            own = without_credentials(environ)
            site = stack.enter_context(closing(PrivateSite(opener(_unknown_cluster), identities, shown, private, own)))
            site.start()
            site.restore()
            return _perform(arguments, project, site, private, shown, started)
        client = stack.enter_context(admin_client(config.vault, environ, boot_time))

        def cluster() -> Cluster:
            found = server.describe(client, config.vault.namespace)
            return found.cluster_id, found.namespace

        record_file = folder / f"{report_name(environment_of(config), started)}-emergency.json"
        tested = TestEnvironment(opener(cluster), identities, shown, client, project, environ, record_file)
        tested.inspect()
        return _perform(arguments, project, tested, private, shown, started)


def _perform(
    arguments: argparse.Namespace,
    project: Project,
    site: PrivateSite | TestEnvironment,
    private: Path,
    shown: Progress,
    started: float,
) -> Result:
    """Play the scenes. `private`: the folder of everything that the drill writes. `started`: seconds since 1970."""
    config, say = project.config, partial(_say, shown, as_json=arguments.json)
    began = time.monotonic() - (time.time() - started)
    where = "a private server" if site.is_private else f"the test environment at {config.vault.address}"
    with Gateway(site.upstream) as gateway, ExitStack() as stack:
        stage = Stage(project, without_credentials(os.environ), private, site.agents_vault(gateway.port))
        if not site.is_private:
            stack.callback(remove_logins, site.client)
        stack.enter_context(closing(stage))
        stage.furnish(site.client, is_private=site.is_private)
        stage.start(site.client)
        say(
            "stage",
            Step(0.0, time.monotonic() - began, f"an agent and {counted(len(stage.stand_ins), 'app')} run in {where}"),
        )
        director = Director(stage, site, gateway, config.drill, say, began)
        scenes = tuple(director.play(scene) for scene in _scenes(arguments))
    notes = [*stage.notes, *(f"{mount}: an engine that a private server lacks" for mount in site.unsupported)]
    if not site.is_private and Scene.LEAK in _scenes(arguments):
        setup = f"lessee setup --only environment={environment_of(config)} --output NEW-DIR"
        notes.append(f"the real apps of {environment_of(config)} have no login any more: `{setup}` makes new ones")
    return Result(
        environment=environment_of(config),
        where=where,
        archive=site.archive,
        archive_created=site.manifest.created,
        started=rfc3339(started),
        seconds=time.monotonic() - began,
        scenes=scenes,
        not_played=tuple(stage.not_played.items()),
        substitutes=tuple(notes),
    )


def _say(shown: Progress, scene: str, step: Step, *, as_json: bool) -> None:
    shown.done()
    if not as_json:
        shown.print(step_line(scene, step))


def _report(others: object) -> None:
    """Files that are no archives of this key are the subject of `lessee backup list`."""
    del others


def _unknown_cluster() -> Cluster:
    """A drill in a private server does not ask the real one which of several clusters it is."""
    todo = "name one with --archive; `lessee backup list` lists them"
    raise ArchiveError("the stores have archives of several clusters", where=LATEST, todo=todo)
