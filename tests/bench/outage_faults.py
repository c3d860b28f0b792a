"""The outages that the benchmark `outages` causes, each with its own server and agent."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from database import template
from rig import Rig, report

from lessee.core.errors import LesseeError
from lessee.status.client import request_status
from support.servers.fault_proxy import Fault, Proxy, Status

SECRETS = {"files": "one/kv", "other": "two/kv"}
"""By app; the first also has a lease."""
ALL = frozenset(SECRETS)
_FAULTS = {
    "connection refused": Fault.REFUSE,
    "hanging": Fault.HANG,
    "answers cut": Fault.CUT,
    "connections dropped": Fault.DROP,
    "neither TLS nor HTTP": Fault.RUBBISH,
    "429": Status(429),
    "429 with Retry-After: 3": Status(429, {"Retry-After": "3"}),
    "500": Status(500),
    "503": Status(503),
}
_FORBIDDEN = Status(403, body=b'{"errors":["permission denied"]}')
_PATH_FAULTS = {
    "429": Status(429),
    "500": Status(500),
    "503": Status(503),
    "hanging": Fault.HANG,
    "cut": Fault.CUT,
    "dropped": Fault.DROP,
}
_DENIED = """
path "secret/data/production/two/*"     { capabilities = ["deny"] }
path "secret/metadata/production/two/*" { capabilities = ["deny"] }
"""
_HOSTS_FILE = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'


class Environment:
    """A server, a proxy in front of it, and lessee."""

    def __init__(self, bench: Rig, proxy: Proxy) -> None:
        self.bench = bench
        self.bao = bench.bao
        self.proxy = proxy
        templates = {app: {"kv.env": f'VALUE={{{{ secret("{secret}").value }}}}\n'} for app, secret in SECRETS.items()}
        templates["files"]["db.txt"] = template("simba")
        self.program = bench.lessee_for({app: (texts, None) for app, texts in templates.items()})
        self.set_address(proxy.address)

    def set_address(self, address: str) -> None:
        """Have lessee use this address."""
        config = json.loads(self.program.config.read_text())
        config["vault"]["address"] = address
        self.program.config.write_text(json.dumps(config))

    def write(self, app: str, value: str) -> bool:
        """Write an app's secret. Returns whether the server accepted it."""
        with suppress(RuntimeError):
            self.bench.write(SECRETS[app], value)
            return True
        return False

    def contains(self, app: str, value: str) -> bool:
        """Whether the file of the app's secret contains this value."""
        return value.encode() in self.content({app}).get(f"{app}/kv.env", b"")

    def content(self, apps: Collection[str]) -> Mapping[str, bytes]:
        """The contents of these apps' files, by path."""
        found = {}
        for name in [f"{app}/kv.env" for app in apps] + ["files/db.txt"] * ("files" in apps):
            with suppress(OSError):
                found[name] = (self.program.folder / name).read_bytes()
        return found

    def status(self) -> Mapping[str, Any]:
        with suppress(LesseeError):
            return request_status(self.program.socket, "GET", "/status.json")
        return {}

    def is_fresh(self) -> bool:
        status = self.status()
        return bool(status.get("fresh")) and status["vault"]["reachable"] and not status["problems"]

    def count_requests(self) -> int:
        """The number of requests, as lessee counts them."""
        return int(self.status().get("totals", {}).get("requests", 0))

    def is_running(self) -> bool:
        return self.program.process.poll() is None


Start = Callable[[Environment], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Outage:
    """A kind of outage. `affected`: the apps that it affects. `counts`: the text in the paths of counted requests.

    `recovery`: seconds, at most, from the end of a long one until all is fresh.
    """

    name: str
    start: Start
    affected: frozenset[str] = ALL
    counts: str | None = ""
    prepare: Start | None = None
    recovery: float = 60.0


def all_outages() -> Iterator[Outage]:
    """All outages; some need root."""
    for name, fault in _FAULTS.items():
        yield Outage(name, partial(_fault, fault=fault))
    yield Outage("403 for everything", partial(_fault, fault=_FORBIDDEN), recovery=30.0)
    yield Outage("sealed", _sealed)
    yield Outage("KV mount disabled, and enabled with data", _unmounted, counts="/secret/")
    for name, fault in _PATH_FAULTS.items():
        yield Outage(f"one path: {name}", partial(_fault, fault=fault, path="/two/"), frozenset({"other"}), "/two/")
    yield Outage("one path: denied by the policy (403)", _denied, frozenset({"other"}), "/two/")
    if os.geteuid() != 0:
        report("outages: an unresolved name and a full or read-only tmpfs are skipped, because they need root")
        return
    yield Outage("name not resolved", _unresolved, prepare=_with_hosts_file)
    yield Outage(
        "tmpfs of files and state full",
        _full,
        frozenset({"files"}),
        None,
        partial(_with_small_tmpfs, ("files", "state")),
    )
    yield Outage(
        "tmpfs of files read-only", _read_only, frozenset({"files"}), None, partial(_with_small_tmpfs, ("files",))
    )


@contextmanager
def _fault(environment: Environment, fault: Fault | Status, path: str = "") -> Iterator[None]:
    if path:
        environment.proxy.on_path(path, fault)
    else:
        environment.proxy.fault = fault
    yield
    environment.proxy.clear()


@contextmanager
def _sealed(environment: Environment) -> Iterator[None]:
    environment.bao.ask("PUT", "sys/seal")
    yield
    key = re.search(r"Unseal Key: (\S+)", environment.bao.log.read_text())[1]
    environment.bao.ask("PUT", "sys/unseal", {"key": key})


@contextmanager
def _unmounted(environment: Environment) -> Iterator[None]:
    environment.bao.ask("DELETE", "sys/mounts/secret")
    yield
    environment.bao.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})


@contextmanager
def _denied(environment: Environment) -> Iterator[None]:
    granted = environment.bao.ask("GET", "sys/policies/acl/bench")["data"]["policy"]
    environment.bao.ask("PUT", "sys/policies/acl/bench", {"policy": granted + _DENIED})
    yield
    environment.bao.ask("PUT", "sys/policies/acl/bench", {"policy": granted})


@contextmanager
def _with_hosts_file(environment: Environment) -> Iterator[None]:
    """Give lessee its own hosts file, and a name server that does not exist."""
    folder = environment.program.folder
    (folder / "hosts").write_text("127.0.0.1 vault.bench\n")
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    environment.set_address(f"http://vault.bench:{environment.proxy.port}")
    environment.program._command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        _HOSTS_FILE,
        folder,
        *environment.program._command,
    ]
    yield


@contextmanager
def _unresolved(environment: Environment) -> Iterator[None]:
    hosts = environment.program.folder / "hosts"
    before = hosts.read_text()
    hosts.write_text("")
    environment.proxy.fault = Fault.REFUSE  # closes connections, because a connected client resolves no name
    environment.proxy.fault = None
    yield
    hosts.write_text(before)


@contextmanager
def _with_small_tmpfs(names: tuple[str, ...], environment: Environment) -> Iterator[None]:
    folders = [environment.program.folder / name for name in names]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", folder)
    yield
    for folder in folders:
        _run("umount", folder)


@contextmanager
def _full(environment: Environment) -> Iterator[None]:
    fillers = [environment.program.folder / name / "filler" for name in ("files", "state")]
    for filler in fillers:
        with suppress(OSError):
            filler.write_bytes(bytes(2**20))
    yield
    for filler in fillers:
        filler.unlink()


@contextmanager
def _read_only(environment: Environment) -> Iterator[None]:
    _run("mount", "-o", "remount,ro", environment.program.directory)
    yield
    _run("mount", "-o", "remount,rw", environment.program.directory)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)
