"""Identifies the services of a Compose file: the agents, and the readers of each app."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from posixpath import dirname

from yaml.nodes import MappingNode

from lessee.config import App, Config, ContainerTarget, ReadSocket
from lessee.core.immutable import ImmutableStruct
from lessee.ops.lint.policy.compose.model import Mount, Service, Volume
from lessee.ops.lint.policy.signals import names_in

_CONFIGURATION = "/etc/lessee"
_PROGRAM = "lessee"

_Folder = tuple[str, str]
"""A volume's name and a directory in it, or "" and a directory on the host."""


class ExecCommand(ImmutableStruct, frozen=True):
    """A `lessee exec` command: its app and its child, as far as they are literal."""

    hidden = ("child",)

    app: str
    child: tuple[str, ...]


class View(ImmutableStruct, frozen=True):
    """A mount through which a service sees an app's directory, and its path, with a slash at the end."""

    mount: Mount
    path: str


class ComposeFiles(ImmutableStruct, frozen=True):
    """The files of a Compose project, and where lessee.yaml is."""

    paths: tuple[str, ...] = ()
    """As for `docker compose -f`; a later one overrides the earlier ones."""
    volumes: Mapping[str, Volume] = {}
    root: Callable[[str], MappingNode | None] = lambda _: None
    """The YAML of a file that was read."""
    interpolated: Collection[str] = frozenset()
    """The variables that the files read as `${NAME}`, from the shell or from `.env`."""
    configuration: str = "lessee/lessee.yaml"
    """The path of lessee.yaml, relative to the first file's directory."""


class Stack:
    """The services of a Compose project together with the apps of a configuration."""

    def __init__(
        self,
        services: Mapping[str, Service],
        config: Config,
        files: ComposeFiles,
        variables: Mapping[str, Collection[str]],
        config_root: MappingNode,
    ) -> None:
        """`variables` are those that the files of each app set. `config_root` is the YAML of lessee.yaml."""
        self.services = services
        self.config = config
        self.files = files
        self.variables = {app: frozenset(names) for app, names in variables.items()}
        self.config_root = config_root
        self.agents = tuple(service for service in services.values() if _is_agent(service, config))
        self.execs = {name: found for name, item in services.items() if (found := exec_command_of(item)) is not None}
        self._folders = {app.name: self._folder(app.directory) for app in config.apps.values()}

    def readers(self, app: App) -> Iterator[Service]:
        """The services that run the app."""
        for name, service in self.services.items():
            is_exec = name in self.execs and self.execs[name].app == app.name
            is_notified = app.notify is not None and _names(app, name)
            if is_exec or is_notified or self._is_of(name, app) or self._mounts_alone(service, app):
                yield service

    def viewers(self, app: App) -> Iterator[Service]:
        """The services that read the app's directory, besides agents and holders."""
        readers = tuple(self.readers(app))
        for service in self.services.values():
            if service in self.agents or service.name in self.execs or is_holder(service):
                continue
            if service in readers or any(self.views(service, app)):
                yield service

    def possible_readers(self, app: App) -> Iterator[Service]:
        """The services that may read an app without a known reader; none for an app in another project."""
        target = app.notify.target if app.notify is not None else None
        if isinstance(target, ContainerTarget) and target.project is not None:
            return
        for name, service in self.services.items():
            if service not in self.agents and name not in self.execs and not is_holder(service):
                yield service

    def views(self, service: Service, app: App) -> Iterator[View]:
        """The mounts through which a service sees the app's directory."""
        yield from _views(service, self._folders[app.name])

    def socket_folder(self, socket: ReadSocket) -> tuple[str, str] | None:
        """The volume and the directory in it that hold a read socket; None where only the agent sees it."""
        return self._folder(dirname(socket.path))

    def socket_views(self, service: Service, socket: ReadSocket) -> Iterator[View]:
        """The mounts through which a service sees the directory of a read socket."""
        yield from _views(service, self.socket_folder(socket))

    def stale_mounts(self, service: Service, app: App) -> Iterator[Mount]:
        """The mounts of single files and subdirectories of the app: a container keeps what their links led to."""
        volume, folder = self._folders[app.name] or ("?", "")
        for mount in service.mounts:
            if mount.volume == volume and _is_below(mount.source, folder) and not _is_below(folder, mount.source):
                yield mount

    def shared_folder(self, app: App) -> tuple[str, str] | None:
        """The volume and the directory in it that hold the app's files; None where only the agent sees them."""
        return self._folders[app.name]

    def is_ours(self, path: str, app: App) -> bool:
        """Whether a file of the host belongs to the app."""
        volume, folder = self._folders[app.name] or ("?", "")
        return not volume and _is_below(path, folder)

    def _is_of(self, service: str, app: App) -> bool:
        """Whether the app has the service's labels, or its name."""
        labels = self.config.labeled_apps.get(app.name)
        return service == (app.name if labels is None else labels.service)

    def _mounts_alone(self, service: Service, app: App) -> bool:
        """Whether it mounts only this app's directory. A service that mounts several may be any of the apps."""
        seen = [other.name for other in self.config.apps.values() if any(self.views(service, other))]
        return seen == [app.name] and service not in self.agents and not is_holder(service)

    def _folder(self, directory: str) -> _Folder | None:
        """A directory outside of the agent's container; None where no other service can see it."""
        if not self.agents:
            return "", directory
        mounts = [mount for agent in self.agents for mount in agent.mounts if _is_below(directory, mount.target)]
        if not mounts:
            return None
        mount = max(mounts, key=lambda item: len(item.target))
        return mount.volume, _join(mount.source, directory.removeprefix(mount.target))


def _views(service: Service, folder: _Folder | None) -> Iterator[View]:
    for mount in service.mounts:
        if folder is not None and folder[0] == mount.volume and _is_below(folder[1], mount.source):
            yield View(mount, _join(mount.target, folder[1].removeprefix(mount.source)))


def exec_command_of(service: Service) -> ExecCommand | None:
    """The `lessee exec` command of a service, if any; the image's entrypoint may be lessee itself."""
    names = names_in(service.words)
    begin = names.index(_PROGRAM) + 1 if _PROGRAM in names else 0
    if names[begin : begin + 1] != ["exec"]:
        return None
    ours, child = _split_at_dashes(names[begin + 1 :])
    options = [word for option in ours for word in option.split("=", 1)]
    app = options[options.index("--app") + 1 :][:1] if "--app" in options else []
    return ExecCommand("".join(app), child)


def is_holder(service: Service) -> bool:
    """Whether it only sleeps, to hold a namespace or volumes."""
    names = names_in(service.words)
    return names[:1] == ["pause"] or ("sleep" in names and not {"infinity", "inf"}.isdisjoint(names))


def _is_agent(service: Service, config: Config) -> bool:
    names = names_in(service.words)
    if _PROGRAM in names:
        return bool({"run", "exec"} & set(names[names.index(_PROGRAM) :]))
    if service.entrypoint is not None or names[:1] not in ([], ["run"], ["exec"]):
        return False
    image = (service.image or "").rpartition("/")[2].partition(":")[0]
    return image == _PROGRAM or any(mount.target in {_CONFIGURATION, config.state_dir} for mount in service.mounts)


def _names(app: App, service: str) -> bool:
    target = app.notify.target if app.notify is not None else None
    return isinstance(target, ContainerTarget) and target.service == service and target.project is None


def _is_below(inner: str, outer: str) -> bool:
    return _join(inner, "").startswith(_join(outer, ""))


def _join(folder: str, below: str) -> str:
    return f"{folder.rstrip('/')}/{below.strip('/')}".rstrip("/") + "/"


def _split_at_dashes(words: Sequence[str]) -> tuple[Sequence[str], tuple[str, ...]]:
    """The words before and after `--`."""
    index = words.index("--") if "--" in words else len(words)
    return words[:index], tuple(words[index + 1 :])
