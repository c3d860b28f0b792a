"""`lessee render`: renders once and exits, for builds and to inspect the files."""

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

from lessee.agent.effects import Effects, PublicationStore
from lessee.agent.effects import StateStore as AnyStateStore
from lessee.agent.loop import Agent
from lessee.agent.machine.status.one_shot import results, results_at_timeout
from lessee.cli.commands.run import REVOKE_TIMEOUT
from lessee.cli.dev_hint import dev_hint
from lessee.config import App
from lessee.core.errors import FormatError, LesseeError, UsageError, VaultUnreachableError
from lessee.core.generation import FallbackKind, File, Generation
from lessee.core.github_actions import assignment
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret
from lessee.core.redaction import Redactor
from lessee.core.tokens import Token
from lessee.host.clock import ClockPeriod
from lessee.host.directories import translate_write_errors
from lessee.host.job_masking import redactor_for
from lessee.host.project import Project, check_has_apps, find, load
from lessee.process.hardening import harden
from lessee.protocol.events import AppRecovered
from lessee.publishing.generations import list_files
from lessee.publishing.plain_files import OneShotPublicationStore, PlainPublicationStore
from lessee.publishing.publication_store import PublicationStore as LivePublicationStore
from lessee.publishing.state_store import StateStore
from lessee.rendering.formats import outline
from lessee.telemetry.logs import held_back, open_log


def run(arguments: argparse.Namespace) -> int:
    """Renders every app that it can. The exit code is that of the first failure."""
    harden()
    environ = dict(os.environ)
    project = load(
        find(arguments.config, environ),
        environ,
        only=arguments.app,
        prepare=False,
        for_child=arguments.export is not None,
    )
    check_has_apps(project)
    if arguments.export is not None:
        _check_export(arguments, project)
    else:
        _check_has_files(project)
    redactor = redactor_for(arguments.mask, environ)
    # The result matters here: progress is logged only on request.
    level = "warning" if arguments.log_level == "info" else arguments.log_level
    open_log(redactor, level=level, form=arguments.log_format)
    if arguments.output is not None:
        publication_store = PlainPublicationStore(Path(arguments.output).absolute(), by_app=arguments.app is None)
        return _render_once(arguments, project, publication_store, _NullStateStore(), redactor, environ, notifies=False)
    if arguments.diff:
        return _render_once(
            arguments, project, _DiffPublicationStore(redactor), _NullStateStore(), redactor, environ, notifies=False
        )
    config = project.config
    with closing(StateStore(Path(config.state_dir), allow_disk=config.allow_disk)) as state_store:
        if arguments.export is None:
            return _render_once(
                arguments, project, LivePublicationStore(state_store), state_store, redactor, environ, notifies=True
            )
        exporting = _ExportingPublicationStore(state_store)
        code = _render_once(arguments, project, exporting, state_store, redactor, environ, notifies=True)
        if code == 0:
            _export(exporting.environ, Path(arguments.export))
        return code


def _check_has_files(project: Project) -> None:
    """Name each app without files: its environment is nowhere. Raises UsageError if there is no other app."""
    apps = project.config.apps
    without = [name for name, app in apps.items() if not app.files]
    what = "it has only `env_template`, and its environment is written to no file"
    if len(without) == len(apps):
        name = without[0]
        todo = (
            f"start the app with `lessee exec --app {name} -- COMMAND`, or write variables with --app {name} --export"
        )
        raise UsageError(f"nothing to render: {what}", where=f"apps.{name}", todo=todo)
    for name in without:
        print(f"lessee: apps.{name}: not rendered: {what}", file=sys.stderr)


def _check_export(arguments: argparse.Namespace, project: Project) -> None:
    if arguments.app is None or arguments.output is not None or arguments.diff:
        todo = "add --app APP, and omit --output and --diff"
        raise UsageError("--export exports the environment of one published app", todo=todo)
    if project.config.apps[arguments.app].env_template is None:
        todo = "add `env_template` with a template of variables, or omit --export"
        raise UsageError("--export has no environment to export", where=f"apps.{arguments.app}", todo=todo)


def _render_once(
    arguments: argparse.Namespace,
    project: Project,
    publication_store: PublicationStore,
    state_store: AnyStateStore,
    redactor: Redactor,
    environ: Mapping[str, str],
    *,
    notifies: bool,
) -> int:
    agent = Agent(
        project,
        Effects(publication_store, state_store, redactor, environ),
        seed=int.from_bytes(os.urandom(8)),
        notifies=notifies,
        all_apps=arguments.app is None,
        stays=False,
    )
    with held_back() as release:
        ended = agent.run(results, arguments.timeout) or results_at_timeout(agent.states)
        ended = {app: with_address(project.config.apps[app], error) for app, error in ended.items()}
        release(str(error) for error in ended.values())
    if isinstance(state_store, _NullStateStore) and (
        isinstance(publication_store, _DiffPublicationStore) or not _reads_leases(project)
    ):
        # No agent remains to revoke it. With leases in the written files, the token must live as long as they do.
        agent.revoke(REVOKE_TIMEOUT)
    code, hints = 0, list[str]()
    for app, error in ended.items():
        if error is not None:
            print(f"lessee: {redactor.clean(str(error))}", file=sys.stderr)
            hints.append(dev_hint(str(error)))
            if "lessee.process.program_output" in sys.modules:
                from lessee.process.program_output import print_on_terminal

                print_on_terminal(app)
            code = code or error.exit_code
        elif notifies or isinstance(publication_store, PlainPublicationStore):
            folder = (
                publication_store.directory_of(app)
                if isinstance(publication_store, PlainPublicationStore)
                else project.config.apps[app].directory
            )
            for file in project.config.apps[app].files:
                print(f"{folder}/{file.name}")
    for hint in dict.fromkeys(filter(None, hints)):
        print(hint, file=sys.stderr)
    return code


def with_address(app: App, error: LesseeError | None) -> LesseeError | None:
    """The error of an app; of a server that does not answer with its address."""
    if not isinstance(error, VaultUnreachableError) or error.todo:
        return error
    return error.replace(todo=f"check that Vault answers at {', '.join(app.vault.addresses) or app.vault.address}")


def _reads_leases(project: Project) -> bool:
    return any(
        isinstance(need, DynamicSecret) and need.may_end
        for compiled_app in project.compiled_apps.values()
        for need in compiled_app.references
    )


def _export(environ: Iterable[tuple[str, str]], path: Path) -> None:
    """Append all variables or none. Raises UsageError or WriteError."""
    mark = f"lessee-{os.urandom(16).hex()}"
    lines = "".join(assignment(name, value, mark) for name, value in environ)
    with translate_write_errors(path), path.open("a", encoding="utf-8", newline="") as file:
        file.write(lines)


class _ExportingPublicationStore(LivePublicationStore):
    """A publication store that remembers the published environment."""

    environ: Sequence[tuple[str, str]] = ()

    def publish(
        self, generation: Generation, *, notify: bool, probe: bool, fallback: FallbackKind | None = None
    ) -> tuple[int, bool]:
        self.environ = generation.environ or ()
        return super().publish(generation, notify=notify, probe=probe, fallback=fallback)


class _NullStateStore:
    """A state store that saves nothing, for builds."""

    def listed(self) -> AbstractContextManager[None]:
        return nullcontext()

    def identities(self) -> Mapping[str, bytes]:
        return {}

    def tokens(self, identity: str) -> Sequence[tuple[Token, str]]:
        del identity
        return ()

    def leases(self, identity: str) -> Sequence[Lease]:
        del identity
        return ()

    def clock_periods(self) -> Sequence[ClockPeriod]:
        return ()

    def _nothing(self, *_: object) -> None:
        """The state ends with the process."""

    store_identity = forget_identity = store_token = forget_token = store_lease = forget_lease = _nothing
    store_clock_periods = _nothing


class _DiffPublicationStore(OneShotPublicationStore):
    """A publication store that writes no file, and prints how names and structure would change."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._apps: dict[str, App] = {}

    def open(self, apps: Iterable[App], *, strict: bool = True) -> Mapping[str, AppRecovered]:
        del strict
        self._apps = {app.name: app for app in apps}
        return {name: AppRecovered(name, None, notification_pending=False) for name in self._apps}

    def stage(self, generation: Generation) -> None:
        """No file is written, so there is nothing to check."""

    def discard(self, app: str) -> None:
        """There is nothing to discard."""

    def directory_of(self, app: str) -> Path:
        return Path(self._apps[app].directory)

    def publish(
        self, generation: Generation, *, notify: bool, probe: bool, fallback: FallbackKind | None = None
    ) -> tuple[int, bool]:
        del notify, probe, fallback
        app = self._apps[generation.app]
        folder = Path(app.directory)
        formats = {file.name: file.format for file in app.files}
        for file in generation.files:
            for line in _differences(folder / file.name, file, formats[file.name]):
                self._print(line)
        for name in sorted(_published_names(folder) - {file.name for file in generation.files}):
            self._print(f"- {folder / name} (would be removed)")
        return 0, False

    def _print(self, line: str) -> None:
        # A name may contain a value, terminal control characters, or characters that stdout cannot encode.
        clean = self._redactor.clean(line)
        printable = "".join(char if char.isprintable() else repr(char)[1:-1] for char in clean)
        encoding = sys.stdout.encoding or "utf-8"
        print(printable.encode(encoding, "backslashreplace").decode(encoding))


def _published_names(folder: Path) -> frozenset[str]:
    """The names of the live files in an app's directory."""
    try:
        fd = os.open(folder / "..data", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return frozenset()
    try:
        return list_files(fd)
    except OSError:
        return frozenset()
    finally:
        os.close(fd)


def _differences(path: Path, file: File, form: str) -> Iterable[str]:
    try:
        before = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        yield f"+ {path} (new)"
        before = b""
    except OSError as exc:
        yield f"? {path} (unreadable: {exc.strerror})"
        return
    if before == file.content:
        yield f"  {path} (unchanged)"
        return
    if before:
        yield f"~ {path} (changed)"
    old, new = _outline(before, form), _outline(file.content, form)
    yield from (f"    - {entry}" for entry in old if entry not in new)
    yield from (f"    + {entry}" for entry in new if entry not in old)
    if before and old == new:
        yield "    only values changed"


def _outline(content: bytes, form: str) -> tuple[str, ...]:
    try:
        return outline(content.decode(), form) if content else ()
    except (FormatError, UnicodeDecodeError):
        return ("(not readable in this format)",)
