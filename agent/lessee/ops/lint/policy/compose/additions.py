"""The parts of a Compose file that its apps need, as compose/README.md lays them out, as far as they are missing."""

from collections.abc import Mapping
from posixpath import normpath

from lessee.config import App, Child
from lessee.ops.lint.policy.compose.agent_service import (
    CONFINED,
    IMAGE,
    agent_service,
    credential_files,
    gid_of,
    host_path,
    is_signaled,
)
from lessee.ops.lint.policy.compose.likely_readers import likely_reader
from lessee.ops.lint.policy.compose.model import Service
from lessee.ops.lint.policy.compose.stack import Stack, is_holder
from lessee.ops.lint.policy.fixes.model import Data, merged

Document = Mapping[str, Data]


def tmpfs(gid: int, mode: str = "0750") -> dict[str, Data]:
    """A volume in memory, whose directory belongs to root and this group."""
    options = f"size=1m,mode={mode},uid=0,gid={gid},noexec,nosuid,nodev"
    return {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": options}}


def in_containers(stack: Stack) -> list[App]:
    """The apps whose files an agent in its own container renders; `lessee exec` needs no other container."""
    execs = {found.app for found in stack.execs.values()}
    return [
        app
        for app in stack.config.apps.values()
        if app.files
        and app.name not in execs
        and app.env_template is None
        and not (app.notify is not None and isinstance(app.notify.target, Child))
    ]


def missing_agent(stack: Stack) -> Document:
    """All parts for the apps of a stack without an agent."""
    readers = [(app, likely_reader(stack, app)) for app in in_containers(stack)]
    holder, agent = holder_name(stack), _free(stack.services, "agent")
    volumes = {app.name: _free(stack.files.volumes, app.name) for app, _ in readers}
    state = _free({*stack.files.volumes, *volumes.values()}, "state")
    directories = [f"{volumes[app.name]}:{app.directory}" for app, _ in readers]
    service = agent_service(stack, readers, [*directories, f"{state}:{stack.config.state_dir}"])
    is_shared = any(is_signaled(app) for app, _ in readers)
    held = [*volumes.values(), state]
    document: Document = {
        "services": {
            holder: _mounting(held) if holder in stack.services else holder_service(IMAGE, held),
            agent: service
            | ({"pid": f"service:{holder}"} if is_shared else {})
            | {"depends_on": {holder: {"condition": "service_started"}} | _vault(stack)},
        },
        "volumes": {volumes[app.name]: tmpfs(gid_of(app, reader)) for app, reader in readers}
        | {state: tmpfs(0, "0700")},
    }
    if files := credential_files(stack):
        document = merged(document, {"secrets": {name: {"file": f"./identity/{name}"} for name in files}})
    for app, reader in readers:
        if reader is not None:
            share = f"{volumes[app.name]}:{app.directory}:ro"
            document = merged(document, reader_parts(app, reader, share, agent, holder))
    return document


def reader_parts(app: App, reader: Service, mount: Data, agent: str, holder: str | None) -> Document:
    """What the service of an app needs. `holder` has the PID namespace that it shares with the agent."""
    parts: dict[str, Data] = {"volumes": [mount], "depends_on": {agent: {"condition": "service_healthy"}}}
    if holder is not None and is_signaled(app):
        parts["pid"] = f"service:{holder}"
    return {"services": {reader.name: parts}}


def missing_mounts(stack: Stack, app: App) -> Document:
    """The mounts of an app's directory in the agent and in its reader, and its volume."""
    reader, agent = likely_reader(stack, app), stack.agents[0]
    folder = stack.shared_folder(app)
    document: Document = {}
    if folder is None:
        volume, subpath = _free(stack.files.volumes, app.name), ""
        held = {name: {"volumes": [f"{volume}:/hold/{volume}"]} for name in _holders(stack)[:1]}
        document = {
            "services": {agent.name: {"volumes": [f"{volume}:{app.directory}"]}, **held},
            "volumes": {volume: tmpfs(gid_of(app, reader))},
        }
    else:
        volume, subpath = folder[0], folder[1].strip("/")
    if reader is None or any(stack.views(reader, app)):
        return document
    if not volume and folder is not None:
        mount: Data = f"{host_path(stack, normpath(folder[1]))}:{app.directory}:ro"
    elif not subpath:
        mount = f"{volume}:{app.directory}:ro"
    else:
        mount = {
            "type": "volume",
            "source": volume,
            "target": app.directory,
            "read_only": True,
            "volume": {"subpath": subpath},
        }
    return merged(document, reader_parts(app, reader, mount, agent.name, None))


def shared_pid(stack: Stack, agent: Service, reader: Service) -> Document:
    """A PID namespace that the agent and the service share, and that neither of them owns."""
    used = [pid for pid in (agent.pid, reader.pid) if pid is not None and pid.startswith("service:")]
    names = [pid.removeprefix("service:") for pid in used]
    held = [name for name in names if name not in stack.services or is_holder(stack.services[name])]
    holder = held[0] if held else holder_name(stack)
    both: dict[str, Data] = {name: {"pid": f"service:{holder}"} for name in (agent.name, reader.name)}
    if holder in stack.services:
        return {"services": both}
    volumes = [mount.volume for mount in agent.mounts if mount.volume]
    return {"services": {holder: holder_service(agent.image or IMAGE, volumes), **both}}


def holder_name(stack: Stack) -> str:
    """The service that holds the PID namespace, or a free name for it."""
    return _holders(stack)[0] if _holders(stack) else _free(stack.services, "holder")


def holder_service(image: str, volumes: list[str]) -> dict[str, Data]:
    """A service that only sleeps, to hold the PID namespace and the volumes."""
    return {
        "image": image,
        **CONFINED,
        "init": True,
        "user": "65534:65534",
        "network_mode": "none",
        "entrypoint": ["sleep", "infinity"],
        **_mounting(volumes),
        "healthcheck": {"test": ["CMD", "true"], "interval": "24h"},
    }


def _mounting(volumes: list[str]) -> dict[str, Data]:
    return {"volumes": [f"{name}:/hold/{name}" for name in dict.fromkeys(volumes)]}


def _holders(stack: Stack) -> list[str]:
    return [service.name for service in stack.services.values() if is_holder(service)]


def _vault(stack: Stack) -> dict[str, Data]:
    """The wait for a server of the same project."""
    for name, service in stack.services.items():
        if f"//{name}:" in f"{stack.config.vault.address}:":
            return {name: {"condition": "service_healthy" if service.has_healthcheck else "service_started"}}
    return {}


def _free(taken: "Mapping[str, object] | set[str]", name: str) -> str:
    """A name that nothing has yet."""
    return next(
        each for each in (name, f"lessee-{name}", *(f"lessee-{name}-{at}" for at in range(2, 99))) if each not in taken
    )
