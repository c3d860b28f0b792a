"""What is wrong with a sound configuration all the same: apps in each other's way, and signals to who is deaf."""

from collections.abc import Iterator, Mapping
from itertools import combinations

from yaml.nodes import MappingNode, Node

from lessee.config import App, CmdlineTarget, Config, NameTarget
from lessee.config.grammar.nodes import entries_of, line_of
from lessee.config.grammar.problems import spell
from lessee.ops.lint.policy.findings import Finding, Level
from lessee.ops.lint.policy.signals import SighupIssue, by_name, by_pattern

_LINKS: Mapping[str, str] = {"/var/run/": "/run/"}
"""What is one place on every Linux, by two names."""


def check_apps(config: Config, root: MappingNode, file: str) -> Iterator[Finding]:
    """`root` is the file as YAML, and `file` what it is called."""
    yield from _directories(config, root, file)
    for app in config.apps.values():
        deaf = by_notify(app) if relies_on_sighup(app) else None
        if deaf is not None:
            yield sighup_not_handled(app, deaf, root, file)


def relies_on_sighup(app: App) -> bool:
    """Whether it is to be told by SIGHUP, and is not restarted where it would die of it."""
    return app.notify is not None and app.notify.action == "SIGHUP" and app.notify.on_unhandled_signal == "report"


def by_notify(app: App) -> SighupIssue | None:
    """Of the process that its configuration names."""
    match app.notify and app.notify.target:
        case NameTarget(name):
            return by_name(name)
        case CmdlineTarget(pattern):
            return by_pattern(pattern)
        case _:
            return None


def sighup_not_handled(app: App, deaf: SighupIssue, root: MappingNode, file: str, whose: str = "") -> Finding:
    """`whose` says where it stands that the program is this one, if not here."""
    level: Level = "error" if deaf.always else "warning"
    message = f"{deaf.program}{whose} takes up no new file at SIGHUP: {deaf.why}"
    line = line_of_key(root, ("apps", app.name, "notify", "action"))
    return Finding("deaf-to-sighup", level, message, deaf.todo, file, line, app.name)


def line_of_key(root: Node, path: tuple[str, ...]) -> int:
    """Where a key stands, or the nearest above it that does."""
    line = 1
    for key in path:
        entry = entries_of(root).nodes.get(key) if isinstance(root, MappingNode) else None
        if entry is None:
            break
        line, root = line_of(entry[0]), entry[1]
    return line


def _directories(config: Config, root: MappingNode, file: str) -> Iterator[Finding]:
    places = [("state", _real(config.state_dir)), *((app.name, _real(app.directory)) for app in config.apps.values())]
    for (at, (first, outer)), (_, (second, inner)) in combinations(enumerate(places), 2):
        path = ("apps", second, "directory")
        other = spell(("apps", first, "directory")) if at else first
        line = line_of_key(root, path)
        if outer == inner:
            what = f"{spell(path)}: {other} is the same directory by another name"
            yield Finding("two-writers", "error", what, "give each its own", file, line, second)
        elif _holds(outer, inner) or _holds(inner, outer):
            what = (
                f"{spell(path)}: it lies in {other}" if _holds(outer, inner) else f"{spell(path)}: {other} lies in it"
            )
            yield Finding("nested-directories", "error", what, "put them side by side", file, line, second)


def _real(directory: str) -> str:
    for link, place in _LINKS.items():
        if directory.startswith(link):
            return place + directory.removeprefix(link)
    return directory


def _holds(outer: str, inner: str) -> bool:
    return inner.startswith(outer.removesuffix("/") + "/")
