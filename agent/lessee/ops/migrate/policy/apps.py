"""Groups rendered files into apps, each with one directory and one notification."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from posixpath import basename, dirname

from lessee.config.grammar import scalars
from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.migrate.policy.commands import Command, run_all
from lessee.ops.migrate.policy.findings import TODO_MARKER, Report


class RenderedFile(ImmutableStruct, frozen=True):
    """A file with its Jinja template."""

    destination: str
    text: str
    mode: str
    owner: str
    command: Command | None
    where: str
    comments: tuple[str, ...] = ()
    name: str = ""
    """Its path in the app's directory, if it is in a subdirectory."""


class App(ImmutableStruct, frozen=True):
    """The files of one directory."""

    name: str
    directory: str
    files: tuple[RenderedFile, ...]
    command: Command | None
    comments: tuple[str, ...] = ()


def group_into_apps(files: Sequence[RenderedFile], exclusive: Iterable[str], name: str, report: Report) -> list[App]:
    """Group the files by directory, with those of its subdirectories. `name`: the name of a single app.

    lessee needs a directory that it alone writes to, on tmpfs: an `exclusive` one, or one below /run. The files of
    any other directory move, which is reported.
    """
    suitable = _suitable_directories({dirname(file.destination) for file in files}, frozenset(exclusive))
    groups: dict[str, list[RenderedFile]] = {}
    for file in _named_in_subdirectories(files, suitable):
        directory = file.destination.removesuffix(f"/{file.name}") if file.name else dirname(file.destination)
        groups.setdefault(directory, []).append(file)
    names = NameAllocator(name if len(groups) == 1 else "")
    apps: list[App] = []
    for directory, members in groups.items():
        if directory in suitable:
            apps.append(_app_in_place(directory, members, names, report))
        else:
            apps += _moved_apps(directory, members, names, report)
    return apps


def app_name(preferred: str) -> str:
    """A valid name of an app."""
    name = "".join(char if char.isascii() and (char.isalnum() or char in "_.-") else "-" for char in preferred)
    return name.strip(".-")[:_MAX_LENGTH] or "app"


_MAX_LENGTH = 200
_TMPFS = ("/run", "/var/run", "/dev/shm")  # noqa: S108  # Directories below these are most likely on tmpfs.
_STATE_DIR = "/run/lessee"
_NONE_AND_ONE = 2
_NEW_DIRECTORIES = "/run/secrets"
_GENERIC_NAMES = frozenset(
    "app apps certs conf conf.d config configs dev etc home lib local mnt opt private run secrets share shm srv ssl tls"  # noqa: SIM905
    " tmp usr var vault".split()
)


def _suitable_directories(directories: Iterable[str], exclusive: frozenset[str]) -> set[str]:
    """The directories that can be those of apps; none is inside another one."""
    suitable: set[str] = set()
    # An exclusive directory may have files in subdirectories alone.
    for directory in (*sorted(directories, key=len), *sorted(exclusive, key=len)):
        on_tmpfs = any(_is_inside(directory, place) for place in _TMPFS) and directory not in _TMPFS
        is_nested = any(
            _is_inside(directory, other) or _is_inside(other, directory) for other in (*suitable, _STATE_DIR)
        )
        if (on_tmpfs or (directory in exclusive and directory.startswith("/"))) and not is_nested:
            suitable.add(directory)
    return suitable


def _named_in_subdirectories(files: Sequence[RenderedFile], suitable: Collection[str]) -> Iterator[RenderedFile]:
    """The files; one in a subdirectory of a suitable directory has its name there. An app has one command at most."""
    directories = {file.destination: _suitable_parent(file.destination, suitable) for file in files}
    commands: dict[str, set[Command | None]] = {}
    for file in files:
        commands.setdefault(directories[file.destination], {None}).add(file.command)
    for file in files:
        directory = directories[file.destination]
        name = file.destination.removeprefix(f"{directory}/")
        stays = directory and len(commands[directory]) <= _NONE_AND_ONE and "/" in name and _is_file_name(name)
        yield replace(file, name=name) if stays else file


def _suitable_parent(path: str, suitable: Collection[str]) -> str:
    """The nearest directory above that is suitable; empty without one."""
    while (path := dirname(path)) not in {"", "/"}:
        if path in suitable:
            return path
    return ""


def _is_file_name(name: str) -> bool:
    try:
        return scalars.scalar_of(scalars.FileName).read(name) == name
    except ValueError:
        return False


def _is_inside(directory: str, other: str) -> bool:
    return f"{directory}/".startswith(f"{other}/")


def _app_in_place(directory: str, files: Sequence[RenderedFile], names: "NameAllocator", report: Report) -> App:
    commands = _commands(files)
    comments: list[str] = []
    if len(commands) > 1:
        what = f"the files of {directory} have {len(commands)} commands, and a change of any file runs all of them"
        report.add_loss(files[0].where, what, "give each reader its own directory and app", comments=comments)
    elif commands and any(file.command is None for file in files):
        what = f"a change of any file of {directory} runs the command"
        report.add_note(files[0].where, what, "give the other files their own directory and app")
    command = run_all(commands) if len(commands) > 1 else next(iter(commands), None)
    return App(names.allocate_for(directory, files), directory, tuple(files), command, tuple(comments))


def _moved_apps(directory: str, files: Sequence[RenderedFile], names: "NameAllocator", report: Report) -> list[App]:
    """An app for each command; the paths change anyway."""
    apps = []
    for command in dict.fromkeys(file.command for file in files):
        members = [file for file in files if file.command == command]
        name = names.allocate_for(directory, members)
        new_directory = f"{_NEW_DIRECTORIES}/{name}"
        comments = [f"{TODO_MARKER}: these files were in {directory or '.'}"]
        for file in members:
            what = f"{file.destination} moves to {new_directory}/{basename(file.destination)}"
            todo = "configure its reader accordingly: lessee needs a directory of its own on tmpfs"
            report.add_loss(file.where, what, todo)
        apps.append(App(name, new_directory, tuple(members), command, tuple(comments)))
    return apps


def _commands(files: Sequence[RenderedFile]) -> list[Command]:
    return [command for command in dict.fromkeys(file.command for file in files) if command is not None]


class NameAllocator:
    """Allocates unique names of apps and folders."""

    def __init__(self, preferred: str = "") -> None:
        self._preferred = preferred
        self._names = {"lessee.yaml"}  # The file in the same directory as the folders.

    def allocate_for(self, directory: str, files: Sequence[RenderedFile]) -> str:
        """A name after the last specific element of the directory's path, or after the first file."""
        specific = [element for element in directory.split("/") if element and element not in _GENERIC_NAMES]
        first_file = basename(files[0].destination).lstrip(".").partition(".")[0]
        return self.allocate(self._preferred or (specific[-1] if specific else first_file), first_file)

    def allocate(self, preferred: str, more: str = "") -> str:
        """A unique name: the preferred one; if it is in use, with `more` after it, and then with a number."""
        base = app_name(preferred)
        if base in self._names and more and more != base:
            base = app_name(f"{base}-{more}")
        name, number = base, 1
        while name in self._names:
            number += 1
            name = f"{base}-{number}"
        self._names.add(name)
        return name
