"""The fixes of findings in Compose files, where the right change is known."""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from posixpath import normpath

from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from lessee.config import App
from lessee.core.immutable import ImmutableStruct
from lessee.ops.lint.policy.compose.additions import shared_pid, tmpfs
from lessee.ops.lint.policy.compose.agent_service import gid_of, host_path
from lessee.ops.lint.policy.compose.model import COLON, Mount, Place, Service, Volume
from lessee.ops.lint.policy.compose.stack import Stack
from lessee.ops.lint.policy.fixes.model import (
    Change,
    Data,
    Fix,
    Merge,
    Path,
    Remove,
    RemoveVariable,
    SetScalar,
    Verbatim,
)
from lessee.ops.lint.policy.fixes.yaml_places import node_at, paths_at

_RESET = Verbatim("!reset null")


class Remedy(ImmutableStruct, frozen=True):
    """A fix if there is one, and the lines that do the same in another Compose file."""

    fix: Fix | None = None
    lines: Mapping[str, Data] = {}


NO_REMEDY = Remedy()


def adding(stack: Stack, title: str, document: Mapping[str, Data], *, is_certain: bool = True) -> Remedy:
    """Add a document to the last file, which overrides the others."""
    changes = (Merge(stack.files.paths[-1], document),) if stack.files.paths else ()
    return Remedy(Fix(title, changes) if is_certain and changes else None, document)


def read_only(stack: Stack, service: Service, mount: Mount) -> Remedy:
    """Mount the directory read-only."""
    title = f"mount {mount.target} in {service.name} read-only"
    lines: Mapping[str, Data] = {"services": {service.name: {"volumes": [_mount(mount, stack)]}}}
    path = _path_of(stack, mount.place, "volumes", mount.target)
    if path is None:
        return adding(stack, title, lines)
    file = mount.place.file
    old = _own_text(stack, file, path)
    if old is None:
        return Remedy(Fix(title, (Merge(file, {"read_only": True}, path),)), lines)
    return Remedy(Fix(title, (SetScalar(file, path, old, _as_read_only(old)),)), lines)


def whole_directory(stack: Stack, app: App, mount: Mount) -> Remedy:
    """Mount the app's directory instead of a part of it, if the program finds the part at the same path."""
    folder = stack.shared_folder(app)
    path = _path_of(stack, mount.place, "volumes", mount.target)
    part = mount.source.removeprefix(normpath((folder or ("", ""))[1])).strip("/")
    target = mount.target.removesuffix(f"/{part}")
    if folder is None or path is None or target == mount.target or target != normpath(app.directory):
        return NO_REMEDY
    old = _own_text(stack, mount.place.file, path)
    if old is None:
        below: Change = Remove(mount.place.file, (*path, "volume", "subpath"))
        whole: Change = Merge(mount.place.file, {"target": target}, path)
        return Remedy(Fix(f"mount {target} as a whole", (below, whole)))
    source, _, rest = old.partition(f"/{part}:")
    new = f"{source}:{target}{rest.removeprefix(mount.target)}"
    return Remedy(Fix(f"mount {target} as a whole", (SetScalar(mount.place.file, path, old, new),)))


def namespace(stack: Stack, agent: Service, reader: Service) -> Remedy:
    """Let the agent and the app share the PID namespace of a holder."""
    return adding(stack, f"let {agent.name} and {reader.name} share a PID namespace", shared_pid(stack, agent, reader))


def other_user(stack: Stack, app: App, agent: Service, reader: Service) -> Remedy:
    """Run the agent as root with CAP_KILL alone; an app that runs as root stays a guess."""
    if agent.uid == "0":
        return NO_REMEDY
    gid = gid_of(app, reader)
    owners = [owner for owner in (app.owner, *(file.owner for file in app.files)) if owner is not None]
    mounted = [stack.files.volumes.get(mount.volume) for mount in agent.mounts if not mount.read_only and mount.volume]
    known = all(volume is not None and volume.is_tmpfs for volume in mounted)
    user: dict[str, Data] = {"user": f"0:{gid}", "cap_drop": ["ALL"], "cap_add": ["KILL"]}
    folders = {mount.volume: mount.target for mount in agent.mounts}
    options = {
        volume.name: {"driver_opts": {"o": _options(volume, gid if folders[volume.name] == app.directory else 0)}}
        for volume in mounted
        if volume is not None and volume.is_tmpfs
    }
    document: Mapping[str, Data] = {"services": {agent.name: user}} | ({"volumes": options} if options else {})
    certain = known and all(uid == 0 for uid, _ in owners)
    return adding(stack, f"give {agent.name} another user than {reader.name}", document, is_certain=certain)


def stop_signal(stack: Stack, service: Service, *, always: bool) -> Remedy:
    """Set what keeps the restart policy after a signal through the Engine."""
    parts: Mapping[str, Data] = {"stop_signal": "SIGTERM", **({"restart": "always"} if always else {})}
    return adding(stack, f"keep the restart policy of {service.name}", {"services": {service.name: parts}})


def restart_policy(stack: Stack, service: Service) -> Remedy:
    """Let the Engine start the app again."""
    document: Mapping[str, Data] = {"services": {service.name: {"restart": "unless-stopped"}}}
    return adding(stack, f"let the Engine start {service.name} again", document)


def condition(stack: Stack, service: Service, agent: Service) -> Remedy:
    """Wait for the files."""
    waits: Mapping[str, Data] = {agent.name: {"condition": "service_healthy"}}
    return adding(stack, f"let {service.name} wait for its files", {"services": {service.name: {"depends_on": waits}}})


def in_memory(stack: Stack, volume: Volume, gid: int, mode: str) -> Remedy:
    """Make the volume a tmpfs, unless something else makes it."""
    is_certain = not volume.is_external and not volume.options
    return adding(
        stack, f"keep {volume.name} in memory", {"volumes": {volume.name: tmpfs(gid, mode)}}, is_certain=is_certain
    )


def group(stack: Stack, volume: Volume, gid: int) -> Remedy:
    """Give the volume's directory the group of the files."""
    document: Mapping[str, Data] = {"volumes": {volume.name: {"driver_opts": {"o": _options(volume, gid)}}}}
    return adding(stack, f"give {volume.name} the group {gid}", document)


def worker_patience(stack: Stack, service: Service) -> Remedy:
    """Let uvicorn wait for its workers, if the program is started by the service's own command."""
    words, option = service.command, "--timeout-worker-healthcheck=60"
    root = stack.files.root(words.place.file) if words is not None else None
    if words is None or root is None or "-c" in words.words or words.place.file not in stack.files.paths:
        return NO_REMEDY
    path: Path = next(path for path in paths_at(root, words.place.line, "command") if path[-1] == "command")
    old, file = _text_at(root, path), words.place.file
    change = (
        Merge(file, {"command": [option]}, path[:-1]) if old is None else SetScalar(file, path, old, f"{old} {option}")
    )
    return Remedy(Fix("let uvicorn wait for its workers", (change,)))


def nearest_app(stack: Stack, service: Service, name: str) -> Remedy:
    """Correct the name of an app in a command or an entrypoint."""
    match = _nearest(name, stack.config.apps)
    if match is None:
        return NO_REMEDY
    for file, path, old in _words_of(stack, service):
        if name in old.replace("=", " ").split():
            new = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", match, old)
            return Remedy(Fix(f"write {match}", (SetScalar(file, path, old, new),)))
    return NO_REMEDY


def _words_of(stack: Stack, service: Service) -> Iterator[tuple[str, Path, str]]:
    """The words of the entrypoint and the command, as they are in the file, with their places."""
    for words in (service.entrypoint, service.command):
        root = stack.files.root(words.place.file) if words is not None else None
        if words is None or root is None:
            continue
        for key in ("command", "entrypoint"):
            for path in paths_at(root, words.place.line, key):
                node = node_at(root, path)
                own = ((*path, at) for at in range(len(node.value))) if isinstance(node, SequenceNode) else (path,)
                yield from ((words.place.file, each, _text_at(root, each) or "") for each in own)


def nearest_service(stack: Stack, app: App, name: str, file: str) -> Remedy:
    """Correct the name of a service in lessee.yaml."""
    match = _nearest(name, stack.services)
    path: Path = ("apps", app.name, "notify", "container", "service")
    return Remedy(Fix(f"write {match}", (SetScalar(file, path, name, match),)) if match else None)


def without_variable(stack: Stack, service: Service, name: str, place: Place) -> Remedy:
    """Remove a variable of `environment`; in an override if others own or use the file that sets it."""
    title = f"remove {name} from {service.name}"
    own: Path = ("services", service.name, "environment", name)
    path = _path_of(stack, place, "environment", name)
    is_list = path is not None and isinstance(path[-1], int)
    reset: Mapping[str, Data] = {"services": {service.name: {"environment": {name: _RESET}}}}
    lines: Mapping[str, Data] = {} if is_list else reset  # Compose resets nothing in a list.
    is_last = bool(stack.files.paths) and place.file == stack.files.paths[-1]
    if not is_list and not is_last:
        return adding(stack, title, reset)
    is_own = path is not None and path[:-1] == own[:-1]
    return Remedy(Fix(title, (Remove(place.file, own),)) if is_own else None, lines)


def without_line(stack: Stack, service: Service, name: str, file: str, *, is_interpolated: bool) -> Remedy:
    """Remove a variable of an `env_file` that no other service and no `${…}` uses."""
    users = [other.name for other in stack.services.values() if any(each.path == file for each in other.env_files)]
    if is_interpolated or users != [service.name]:
        return NO_REMEDY
    return Remedy(Fix(f"remove {name} from {file}", (RemoveVariable(file, name),)))


def _path_of(stack: Stack, place: Place, word: str, name: str) -> Path | None:
    """The path of a mount by its target, or of a variable by its name, in a file that the project itself names."""
    root = stack.files.root(place.file)
    if root is None or place.file not in stack.files.paths:
        return None
    return next((path for path in paths_at(root, place.line, word) if name in _names_of(root, path)), None)


def _names_of(root: MappingNode, path: Path) -> Iterator[str]:
    """What an item or a key may be called: a variable's name, or a mount's target."""
    text = _text_at(root, path)
    if isinstance(path[-1], str):
        yield path[-1]
    elif text is not None:
        yield text.partition("=")[0]
        yield from map(normpath, COLON.split(text)[1:2])
    else:
        yield normpath(_text_at(root, (*path, "target")) or "")


def _own_text(stack: Stack, file: str, path: Path) -> str | None:
    root = stack.files.root(file)
    return _text_at(root, path) if root is not None else None


def _text_at(root: MappingNode, path: Path) -> str | None:
    node = node_at(root, path)
    return str(node.value) if isinstance(node, ScalarNode) else None


def _as_read_only(mount: str) -> str:
    """A mount in the short form, with the option `ro`."""
    source, target, *options = COLON.split(mount)
    kept = [option for option in ",".join(options).split(",") if option not in {"", "rw"}]
    return ":".join((source, target, ",".join([*kept, "ro"])))


def _mount(mount: Mount, stack: Stack) -> Data:
    """A mount of the same directory, read-only."""
    below = mount.source.strip("/")
    if not mount.volume:
        return f"{host_path(stack, mount.source)}:{mount.target}:ro"
    if not below:
        return f"{mount.volume}:{mount.target}:ro"
    return {
        "type": "volume",
        "source": mount.volume,
        "target": mount.target,
        "read_only": True,
        "volume": {"subpath": below},
    }


def _options(volume: Volume, gid: int) -> str:
    """The options of a tmpfs that belongs to root and this group."""
    own = {"uid": "uid=0", "gid": f"gid={gid}"}
    options = [each for each in volume.options.get("o", "").split(",") if each]
    named = {each.partition("=")[0] for each in options}
    return ",".join(
        [*(own.get(each.partition("=")[0], each) for each in options), *(own[key] for key in own if key not in named)]
    )


def _nearest(name: str, names: Iterable[str]) -> str | None:
    """The only name that is like it."""
    similar = get_close_matches(name, names, n=2, cutoff=0.6)
    return similar[0] if len(similar) == 1 else None
