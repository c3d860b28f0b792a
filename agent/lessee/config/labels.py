"""Adds the apps of a Compose model's labels to those of lessee.yaml, and refuses what labels may not set."""

from collections.abc import Iterator, Mapping

from msgspec import to_builtins
from msgspec.structs import replace

from lessee.config.grammar import Compose, Lessee, scalars
from lessee.config.grammar.app import AppBlock, HttpBlock, OnExpiry
from lessee.config.grammar.labels import Fault, LabeledApp, labeled_apps, printable
from lessee.config.grammar.nodes import compose
from lessee.config.grammar.problems import Path, Problems
from lessee.config.grammar.reader import Reader
from lessee.core.errors import ConfigError, LesseeError


def with_labeled_apps(
    file: Lessee, settings: Compose, text: str, reader: Reader, problems: Problems
) -> tuple[Lessee, Mapping[str, LabeledApp]]:
    """The file with the apps of labels, and where these come from. Raises ConfigError if the text is no model.

    An app that cannot be added has a problem in `problems`.
    """
    root = compose(text, settings.file)
    if not any(key.value == "services" for key, _ in root.value):
        what = "it has no `services`, so it is no Compose model"
        todo = "write it with `docker compose config --no-interpolate --format json`"
        raise ConfigError([LesseeError(what, where=settings.file, todo=todo)])
    apps, found = dict(file.apps), dict[str, LabeledApp]()
    directories = _Directories(settings.directory, dict(_own_paths(to_builtins(replace(file, apps={})))))
    for taken, other in apps.items():
        directories.add(taken, other.directory)
    for app in labeled_apps(root, settings.file):
        name = _name(app)
        # Its own problems must not be those of an app that has the name already: no app has a name with a space.
        is_free = name is not None and name not in apps and name not in found
        key = name if name is not None and is_free else f"service {printable(app.service)}"
        problems.origins[key] = app
        problems.lines["apps", key] = app.line
        block = _read(app, key, name, settings, reader, problems)
        if key != name:
            _report_name(key, name, found, problems)
        elif block is not None:
            _check(block, key, settings, problems)
            for what, todo in directories.faults(block.directory):
                problems.add_dependent(("apps", key, "directory"), what, todo=todo)
            directories.add(key, block.directory)
            apps[name] = block
        if key == name:
            found[name] = app
    return replace(file, apps=apps), found


def _name(app: LabeledApp) -> str | None:
    """The app's name; None if it is not valid."""
    try:
        return str(scalars.scalar_of(scalars.Name).read(str(app.name.value)))
    except ValueError:
        return None


def _read(
    app: LabeledApp, key: str, name: str | None, settings: Compose, reader: Reader, problems: Problems
) -> AppBlock | None:
    """The block of the app, with the directory that it has by default. Reports problems."""
    for fault in app.faults:
        _report(key, fault, problems)
    default = f"{settings.directory.rstrip('/')}/{name}"
    return reader.read_labels(AppBlock, app.with_default("directory", default), ("apps", key))


def _report(key: str, fault: Fault, problems: Problems) -> None:
    at: Path = ("apps", key, fault.key)
    problems.add(at, fault.what, todo=fault.todo, line=fault.line)


def _report_name(key: str, name: str | None, found: Mapping[str, LabeledApp], problems: Problems) -> None:
    at: Path = ("apps", key, "app")
    if name is None:
        problems.add(at, f"expected {scalars.scalar_of(scalars.Name).expected}")
    else:
        where = f"service {found[name].service}" if name in found else "lessee.yaml"
        problems.add(at, f"{where} has an app of this name", todo="write another name in the label lessee.app")


def _check(block: AppBlock, key: str, settings: Compose, problems: Problems) -> None:
    for guarded, path in _guarded(block):
        if guarded not in settings.allow:
            what = "labels may not set it, as it uses what only the agent may"
            todo = f"write the app in lessee.yaml, or `compose: {{allow: [{guarded}]}}` there"
            problems.add(("apps", key, *path), what, todo=todo)


def _guarded(block: AppBlock) -> Iterator[tuple[str, Path]]:
    """The keys of `Guarded` that the app sets."""
    notify, ready = block.notify, block.ready
    is_set = {
        "allow_disk": block.allow_disk,
        "check": block.check is not None,
        "fallback": block.fallback is not None,
        "notify.command": notify is not None and notify.command is not None,
        "notify.container.project": notify is not None
        and notify.container is not None
        and notify.container.project is not None,
        "notify.http.header_files": notify is not None
        and isinstance(notify.http, HttpBlock)
        and bool(notify.http.header_files),
        "on_expiry": isinstance(block.on_expiry, OnExpiry),
        "ready.command": ready is not None and ready.command is not None,
        "vault": block.vault is not None,
    }
    return ((name, tuple(name.split("."))) for name, found in is_set.items() if found)


class _Directories:
    """The directories of apps. That of a label is apart from all others, so that only this app can be wrong."""

    def __init__(self, parent: str, own: Mapping[str, str]) -> None:
        """`own`: the keys of the agent's own files and directories, by their paths."""
        self._own = own
        self._parent = parent.rstrip("/") + "/"
        self._apps: dict[str, str] = {}
        """The app of each directory."""
        self._inside: dict[str, str] = {}
        """A directory of an app, by the directories that contain it."""

    def add(self, app: str, directory: str) -> None:
        self._apps.setdefault(directory, app)
        for outer in _containing(directory):
            self._inside.setdefault(outer, directory)

    def faults(self, directory: str) -> Iterator[tuple[str, str]]:
        if not directory.startswith(self._parent):
            todo = "name one below it, or set `compose: {directory: …}` in lessee.yaml"
            yield f"it is not below {self._parent}", todo
        for path, key in self._own.items():
            if f"{path}/".startswith(f"{directory}/") or f"{directory}/".startswith(f"{path}/"):
                yield f"{key} is {path}, which only the agent may use", "name a directory that contains nothing of it"
                return
        other = next((outer for outer in _containing(directory) if outer in self._apps), self._inside.get(directory))
        if other is not None:
            what = f"app {self._apps[other]} has the directory {other}"
            yield what, "name a directory that is neither inside of it nor contains it"


def _own_paths(block: object, key: str = "") -> Iterator[tuple[str, str]]:
    """The absolute paths in the blocks besides `apps`, with their keys."""
    if isinstance(block, Mapping):
        for name, value in block.items():
            at = f"{key}.{name}" if key else str(name)
            if at != "compose.directory":
                yield from _own_paths(value, at)
    elif isinstance(block, str) and block.startswith("/") and block != "/":
        yield block.rstrip("/"), key


def _containing(directory: str) -> Iterator[str]:
    """The directory, and those that contain it."""
    while directory:
        yield directory
        directory = directory.rpartition("/")[0]
