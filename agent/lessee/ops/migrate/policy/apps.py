"""Files into apps: a directory each, and one way of telling whoever reads it."""

from collections.abc import Iterable, Sequence
from posixpath import basename, dirname

from lessee.core.immutable import Record
from lessee.ops.migrate.policy.commands import Command, run_all
from lessee.ops.migrate.policy.findings import MARK, Report


class Rendered(Record, frozen=True):
    """A file whose template is one of Jinja now."""

    destination: str
    text: str
    mode: str
    owner: str
    command: Command | None
    where: str
    notes: tuple[str, ...] = ()


class App(Record, frozen=True):
    """Files of one directory, which need not be where they were."""

    name: str
    directory: str
    files: tuple[Rendered, ...]
    command: Command | None
    notes: tuple[str, ...] = ()


def arrange(files: Sequence[Rendered], own: Iterable[str], name: str, report: Report) -> list[App]:
    """`own`: directories that are the agent's alone, besides those on tmpfs. `name`: of the app, if there is one only.

    A directory that is not can be shared with others, and lies on a disk: its files move, and that is told.
    """
    groups: dict[str, list[Rendered]] = {}
    for file in files:
        groups.setdefault(dirname(file.destination), []).append(file)
    kept = _kept(groups, frozenset(own))
    naming = Naming(name if len(groups) == 1 else "")
    apps: list[App] = []
    for directory, members in groups.items():
        if directory in kept:
            apps.append(_kept_app(directory, members, naming, report))
        else:
            apps += _moved(directory, members, naming, report)
    return apps


def app_name(wanted: str) -> str:
    """A name that an app may have."""
    name = "".join(char if char.isascii() and (char.isalnum() or char in "_.-") else "-" for char in wanted)
    return name.strip(".-")[:_LONGEST] or "app"


_LONGEST = 200
_TMPFS = ("/run", "/var/run", "/dev/shm")  # noqa: S108  # Where a directory of its own is likely to be on tmpfs.
_STATE = "/run/lessee"
_NEW = "/run/secrets"
_SAY_NOTHING = frozenset(
    "app apps certs conf conf.d config configs dev etc home lib local mnt opt private run secrets share shm srv ssl tls"  # noqa: SIM905
    " tmp usr var vault".split()
)


def _kept(directories: Iterable[str], own: frozenset[str]) -> set[str]:
    """Those that may stay: the agent's alone, and none inside another."""
    kept: set[str] = set()
    for directory in sorted(directories, key=len):
        on_tmpfs = any(_lies_in(directory, place) for place in _TMPFS) and directory not in _TMPFS
        inside = any(_lies_in(directory, other) for other in (*kept, _STATE))
        if (on_tmpfs or (directory in own and directory.startswith("/"))) and not inside:
            kept.add(directory)
    return kept


def _lies_in(directory: str, other: str) -> bool:
    return f"{directory}/".startswith(f"{other}/")


def _kept_app(directory: str, files: Sequence[Rendered], naming: "Naming", report: Report) -> App:
    commands = _commands(files)
    notes: list[str] = []
    if len(commands) > 1:
        what = f"the files of {directory} have {len(commands)} commands, and all of them run when any file changes"
        todo = "give each reader a directory of its own, which is an app of its own"
        report.lose(files[0].where, what, todo, notes=notes)
    elif commands and any(file.command is None for file in files):
        what = f"the command runs when any file of {directory} changes"
        report.remark(files[0].where, what, "give the others a directory, and an app, of their own")
    command = run_all(commands) if len(commands) > 1 else next(iter(commands), None)
    return App(naming.take(directory, files), directory, tuple(files), command, tuple(notes))


def _moved(directory: str, files: Sequence[Rendered], naming: "Naming", report: Report) -> list[App]:
    """An app for each command, since the paths change anyway."""
    apps = []
    for command in dict.fromkeys(file.command for file in files):
        members = [file for file in files if file.command == command]
        name = naming.take(directory, members)
        moved = f"{_NEW}/{name}"
        notes = [f"{MARK}: these files were in {directory or '.'}"]
        for file in members:
            what = f"{file.destination} is {moved}/{basename(file.destination)} now"
            todo = "name that path to its reader: a directory of lessee's is its alone, and on tmpfs"
            report.lose(file.where, what, todo)
        apps.append(App(name, moved, tuple(members), command, tuple(notes)))
    return apps


def _commands(files: Sequence[Rendered]) -> list[Command]:
    return [command for command in dict.fromkeys(file.command for file in files) if command is not None]


class Naming:
    """Names for apps and folders, each once."""

    def __init__(self, wanted: str = "") -> None:
        self._wanted = wanted
        self._taken = {"lessee.yaml"}  # which lies beside the folders of this name

    def take(self, directory: str, files: Sequence[Rendered]) -> str:
        """After the last folder that says something, else after the first file."""
        said = [element for element in directory.split("/") if element and element not in _SAY_NOTHING]
        base = self._wanted or (said[-1] if said else basename(files[0].destination).lstrip(".").partition(".")[0])
        return self.unique(base)

    def unique(self, wanted: str) -> str:
        """A name like the wanted one."""
        base = app_name(wanted)
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}-{number}"
        self._taken.add(name)
        return name
