"""The service that runs the agent, as compose/README.md lays it out, for the apps of a configuration."""

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from posixpath import basename, dirname, join, normpath, relpath

from msgspec import to_builtins
from yaml.nodes import MappingNode, Node, ScalarNode

from lessee.config import App, CmdlineTarget, ContainerTarget, HttpProbe, NameTarget, PidFileTarget, TcpProbe, TlsProbe
from lessee.config.grammar.nodes import entries_of
from lessee.config.grammar.vault import TokenAuth
from lessee.ops.lint.policy.compose.model import Service
from lessee.ops.lint.policy.compose.stack import Stack
from lessee.ops.lint.policy.fixes.model import Data

IMAGE = "lessee"
CONFIGURATION = "/etc/lessee"
CONFINED: Mapping[str, Data] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "unless-stopped",
}
STATE = "/run/lessee"
"""Where the image's health check looks for the status socket."""
_STATUS: Mapping[str, Data] = {"test": ["CMD", "/opt/lessee/bin/lessee", "status"], "start_period": "60s"}
_OF_PERSON = re.compile(r"(?<!\$)\$\{(?:XDG_RUNTIME_DIR|HOME)\}")
_LOOPBACK = re.compile(r"[a-z]+://(?:localhost|127\.[\d.]+|\[::1\])(?:[:/]|$)")
_VARIABLE = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)")
_HOST = re.compile(r"^(?:[a-z]+://)?(?:[^/@]*@)?([\w.-]+)")


def agent_service(stack: Stack, apps: Iterable[tuple[App, Service | None]], mounts: Iterable[str]) -> dict[str, Data]:
    """The agent's service; `apps` come with their readers, and `mounts` are those of their directories."""
    apps = list(apps)
    gids = gids_of(apps)
    needs_kill = any(is_signaled(app) for app, _ in apps)
    capabilities = ["KILL"] * needs_kill + ["CHOWN"] * any(_changes_owner(app) for app, _ in apps)
    more = [str(gid) for gid in gids[1:]]
    variables = _variables(stack)
    return {
        "image": IMAGE,
        **CONFINED,
        "user": f"0:{gids[0]}",
        **({"group_add": more} if more else {}),
        **({"cap_add": capabilities} if capabilities else {}),
        "mem_limit": "256m",
        "pids_limit": 64,
        **({"environment": variables} if variables else {}),
        **({"networks": networks} if (networks := _networks(stack)) else {}),
        "volumes": [*_configuration(stack), *mounts],
        **({"secrets": credentials} if (credentials := _credentials(stack)) else {}),
        **({} if stack.config.status.socket == f"{STATE}/status.sock" else {"healthcheck": dict(_STATUS)}),
    }


def reason_against(stack: Stack) -> str | None:
    """Why the configuration is for a person's own machine, and no container can work with it; None if one can."""
    config = stack.config
    logins = (config.vault, *(app.vault for app in config.apps.values()))
    if any(isinstance(vault.auth, TokenAuth) and vault.auth.token_file is None for vault in logins):
        return "it logs in with $VAULT_TOKEN, which `docker inspect` would show"
    if variable := next((found[0] for text in _texts(stack.config_root) if (found := _OF_PERSON.search(text))), None):
        return f"it reads {variable}, a directory of one user of this machine"
    named = [address for vault in logins for address in (vault.addresses or (vault.address,))]
    servers = named if _names_server(stack) else []
    if address := next(filter(_LOOPBACK.match, servers), None):
        return f"no container reaches {address}"
    return None


def credential_files(stack: Stack) -> dict[str, str]:
    """The files that the agent logs in with and that no volume has, by the names of Compose's secrets."""
    config = stack.config
    logins = {id(vault): vault for vault in (config.vault, *(app.vault for app in config.apps.values()))}
    found: dict[str, str] = {}
    # A path of $VAULT_CACERT is one of this shell, and the container has no such variable.
    of_shell = None if _keys_of_vault(stack) & {"ca_file"} else config.vault.ca_file
    for vault in logins.values():
        named = to_builtins(vault.auth) | {key: getattr(vault, key) for key in _FILES_OF_VAULT}
        for key, path in named.items():
            if key == "ca_file" and path == of_shell:
                continue
            if (key.endswith("_file")) and isinstance(path, str) and path not in found.values():
                name = basename(path)
                found[name if name not in found else normpath(path).strip("/").replace("/", "-")] = path
    return found


_DEEP = "/1/2/3/4/5/6/7/8/"
_FILES_OF_VAULT = ("ca_file", "client_cert_file", "client_key_file")


def gids_of(apps: Iterable[tuple[App, Service | None]]) -> list[int]:
    """The groups of the apps' files: the owner's in lessee.yaml, else that of the reader."""
    return list(dict.fromkeys(gid_of(app, service) for app, service in apps))


def gid_of(app: App, service: Service | None) -> int:
    """The group of an app's files; 0 where neither lessee.yaml nor the Compose file names one."""
    for owner in (app.owner, *(file.owner for file in app.files)):
        if owner is not None and owner[1] is not None:
            return owner[1]
    group = (service.user or "").partition(":")[2] if service is not None else ""
    return int(group) if group.isdecimal() else 0


def is_signaled(app: App) -> bool:
    """Whether the agent signals its process in a shared PID namespace."""
    match app.notify and app.notify.target:
        case NameTarget() | CmdlineTarget() | PidFileTarget():
            return True
        case ContainerTarget(through_engine=False):
            return app.notify is not None and app.notify.action != "restart"
        case _:
            return False


def _changes_owner(app: App) -> bool:
    """Whether files get another uid than the agent's."""
    return any(owner is not None and owner[0] != 0 for owner in (app.owner, *(file.owner for file in app.files)))


def _configuration(stack: Stack) -> Iterator[str]:
    """The mounts of lessee.yaml and of its templates."""
    file = normpath(stack.files.configuration)
    folder = dirname(file)
    templates = stack.config.template_dir
    is_whole = bool(folder) and basename(file) == "lessee.yaml"
    if is_whole:
        yield f"{_on_host(folder)}:{CONFIGURATION}:ro"
    else:  # Next to the Compose file there may be anything, such as an .env file.
        yield f"{_on_host(file)}:{CONFIGURATION}/lessee.yaml:ro"
    named = [] if is_whole or stack.config.compose_file is None else [stack.config.compose_file]
    yield from (f"{_on_host(join(folder, name))}:{CONFIGURATION}/{name}:ro" for name in named)
    if templates is None:
        names = {file.template for app in stack.config.apps.values() for file in app.files}
        names -= stack.config.inline_templates.keys()
        for name in () if is_whole else sorted({name.split("/")[0] for name in names}):
            yield f"{_on_host(join(folder, name))}:{CONFIGURATION}/{name}:ro"
    elif not is_whole or templates.startswith((".", "/")):
        yield f"{_on_host(normpath(join(folder, templates)))}:{normpath(join(CONFIGURATION, templates))}:ro"


def host_path(stack: Stack, path: str) -> str:
    """A directory of the host as the Compose file writes it: relative to its own."""
    folder = dirname(stack.files.paths[0]) if stack.files.paths else ""
    # Both may lead out of the directory that they are relative to.
    return path if path.startswith("/") else _on_host(relpath(f"{_DEEP}{path}", f"{_DEEP}{folder}"))


def _on_host(path: str) -> str:
    return path if path.startswith(("/", "../")) or path == ".." else f"./{path}"


def _credentials(stack: Stack) -> list[Data]:
    return [{"source": name, "target": path} for name, path in credential_files(stack).items()]


def _variables(stack: Stack) -> list[str]:
    """The variables that lessee.yaml reads, which the agent gets from the environment of `docker compose`."""
    names = dict.fromkeys(name for text in _texts(stack.config_root) for name in _VARIABLE.findall(text))
    if not _names_server(stack):
        names["VAULT_ADDR"] = None
    return list(names)


def _names_server(stack: Stack) -> bool:
    """Whether lessee.yaml has Vault's address, which is $VAULT_ADDR otherwise."""
    return bool(_keys_of_vault(stack) & {"address", "addresses"})


def _keys_of_vault(stack: Stack) -> AbstractSet[str]:
    vault = entries_of(stack.config_root).nodes.get("vault")
    return entries_of(vault[1]).nodes.keys() if vault is not None and isinstance(vault[1], MappingNode) else frozenset()


def _texts(node: Node) -> Iterator[str]:
    if isinstance(node, ScalarNode):
        yield str(node.value)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            yield from (*_texts(key), *_texts(value))
    else:
        yield from (text for item in node.value for text in _texts(item))


def _networks(stack: Stack) -> list[str]:
    """The networks on which the agent reaches Vault, and the apps that it probes."""
    config = stack.config
    hosts = [*(config.vault.addresses or (config.vault.address,))]
    for app in config.apps.values():
        match app.ready and app.ready.probe:
            case HttpProbe(url):
                hosts.append(url)
            case TcpProbe(address) | TlsProbe(address):
                hosts.append(address)
            case _:
                pass
    services = [stack.services.get(found[1]) if (found := _HOST.match(host)) else None for host in hosts]
    # Vault outside of the project is reached on the default network.
    named = [network for service in services if service is not None for network in service.networks or ("default",)]
    networks = list(dict.fromkeys([*(["default"] if services[0] is None else []), *named]))
    return [] if networks == ["default"] else networks
