"""Chooses the KV mount and prefix of lessee.yaml from the paths in the templates."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from lessee.config.grammar.setup import Setup
from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.migrate.policy.jinja.expressions import UnsupportedError, quote
from lessee.ops.migrate.policy.jinja.vault_paths import KvPath

_T = TypeVar("_T")

ENVIRONMENTS = frozenset(Setup().environments)
"""A path that begins with one of these names belongs to that environment."""


class PathCollector:
    """Accepts and collects every path, so that a layout can be chosen."""

    def __init__(self) -> None:
        self.paths: list[KvPath] = []

    def path(self, kv: KvPath, *, is_folder: bool = False) -> str:
        """The path below the mount."""
        del is_folder
        self.paths.append(kv)
        return "/".join(kv.elements)

    def mount_argument(self, kv: KvPath) -> str:
        """No argument: a later pass has the mount."""
        del kv
        return ""

    def check_dynamic(self, path: str) -> None:
        """Accept any path."""


class Layout(ImmutableStruct, frozen=True):
    """The KV mount and prefix of a configuration."""

    mount: str = "secret"
    base: tuple[str, ...] = ()
    """The path elements before the environment's name."""
    environment: str = ""
    """The environment's name, or a variable `${NAME}`; empty if no path contains it."""
    has_prefix: bool = False
    """Whether `prefix` contains `{environment}`; else templates contain full paths."""
    shared: tuple[str, ...] = ()
    others: tuple["Layout", ...] = ()
    """The layouts of the other KV mounts."""

    @property
    def prefix(self) -> str:
        """The value of `secrets.prefix`."""
        return "".join(f"{element}/" for element in (*self.base, "{environment}")) if self.has_prefix else ""

    def path(self, kv: KvPath, *, is_folder: bool = False) -> str:
        """The argument of `secret(…)`. Raises UnsupportedError for a path that this layout excludes."""
        for other in self.others:
            if other.mount == kv.mount:
                return other.path(kv, is_folder=is_folder)
        elements = kv.elements
        start = (*self.base, self.environment)
        if self.has_prefix and elements[: len(start)] == start:
            elements = elements[len(start) :]
        elif self.has_prefix and f"{elements[0]}/" not in self.shared:
            what = f"{'/'.join(elements)!r} is outside the prefix {self.prefix!r}"
            raise UnsupportedError(what, "move it into a folder, which can be a shared prefix")
        if any("${" in element for element in elements):
            todo = (
                "write the path as a literal; only the environment's name can be a variable, always in the same place"
            )
            raise UnsupportedError(f"the path {'/'.join(elements)!r} is computed", todo)
        if not elements and not is_folder:
            raise UnsupportedError(
                f"the secret {self.environment!r} has the name of the environment itself", "move it into a folder"
            )
        self._check_environment("/".join(elements))
        return "/".join(elements)

    def mount_argument(self, kv: KvPath) -> str:
        """The argument that names a mount other than that of the configuration."""
        return f", mount={quote(kv.mount)}" if kv.mount != self.mount else ""

    def check_dynamic(self, path: str) -> None:
        """Raises UnsupportedError for a dynamic secret below a KV mount or of another environment."""
        for mount in (self.mount, *(other.mount for other in self.others)):
            if f"{path}/".startswith(f"{mount}/"):
                what = f"{path!r} is written with each rendering, and it is below {mount!r}, a mount of KV secrets"
                raise UnsupportedError(what, "write it once, and let the template read it")
        self._check_environment(path)

    def _check_environment(self, path: str) -> None:
        first = path.split("/", maxsplit=1)[0]
        if first in ENVIRONMENTS and first != self.environment:
            raise UnsupportedError(
                f"{path!r} belongs to another environment",
                "an agent reads one environment: write a lessee.yaml for each",
            )


def choose_layout(found: Sequence[KvPath]) -> Layout:
    """The layout that supports most of these paths."""
    if not found:
        return Layout()
    by_mount: dict[str, list[tuple[str, ...]]] = {}
    for kv in found:
        by_mount.setdefault(kv.mount, []).append(kv.elements)
    mount = _most_common(kv.mount for kv in found)
    names = (mount, *sorted(by_mount.keys() - {mount}))
    main, *others = [_layout_of(name, by_mount[name]) for name in names]
    environment = next((layout.environment for layout in (main, *others) if layout.environment), "")
    fitting = [other if other.environment in {environment, ""} else Layout(other.mount) for other in others]
    return replace(
        main, environment=environment, others=tuple(replace(other, environment=environment) for other in fitting)
    )


def _layout_of(mount: str, paths: Sequence[tuple[str, ...]]) -> Layout:
    """The layout of one mount, by the paths below it."""
    prefixes = [prefix for elements in paths if (prefix := _environment_prefix(elements)) is not None]
    if not prefixes:
        return Layout(mount)
    base, environment = _most_common(prefixes)
    start = (*base, environment)
    others = [elements for elements in paths if elements[: len(start)] != start]
    if "${" not in environment and (others or start in paths):
        return Layout(mount, environment=environment)
    shared = {f"{elements[0]}/": None for elements in others if len(elements) > 1 and "${" not in elements[0]}
    return Layout(mount, base, environment, has_prefix=True, shared=tuple(shared))


def _most_common(items: Iterable[_T]) -> _T:
    return Counter(items).most_common(1)[0][0]


def _environment_prefix(elements: Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """The elements before the environment's name, and the name."""
    for at, element in enumerate(elements):
        if element.startswith("${") and element.endswith("}") and element.count("${") == 1:
            return tuple(elements[:at]), element
    return ((), elements[0]) if elements and elements[0] in ENVIRONMENTS else None
