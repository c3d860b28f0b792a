"""Kinds of weather, each over a server and a lessee of its own: how it comes, and how it goes."""

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
from lessee.status.server import request_status
from support.servers.fault_proxy import Fault, Proxy, Status

SECRETS = {"files": "one/kv", "other": "two/kv"}
"""By app; the first has a lease beside it."""
ALL = frozenset(SECRETS)
_SKIES = {
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
_SKIES_OF_A_PATH = {
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
_NAMED = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'


class Place:
    """A server, the way to it, and lessee."""

    def __init__(self, bench: Rig, proxy: Proxy) -> None:
        self.bench = bench
        self.bao = bench.bao
        self.proxy = proxy
        templates = {app: {"kv.env": f'VALUE={{{{ secret("{secret}").value }}}}\n'} for app, secret in SECRETS.items()}
        templates["files"]["db.txt"] = template("simba")
        self.program = bench.lessee_for({app: (texts, None) for app, texts in templates.items()})
        self.go_to(proxy.address)

    def go_to(self, address: str) -> None:
        """Have lessee ask there."""
        config = json.loads(self.program.config.read_text())
        config["vault"]["address"] = address
        self.program.config.write_text(json.dumps(config))

    def write(self, app: str, value: str) -> bool:
        """Write an app's secret; whether the server took it."""
        with suppress(RuntimeError):
            self.bench.write(SECRETS[app], value)
            return True
        return False

    def shows(self, app: str, value: str) -> bool:
        """Whether the file of its secret holds this value."""
        return value.encode() in self.content({app}).get(f"{app}/kv.env", b"")

    def content(self, apps: Collection[str]) -> Mapping[str, bytes]:
        """What the readers of these apps see, by path."""
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
        """By lessee's own count."""
        return int(self.status().get("totals", {}).get("requests", 0))

    def lives(self) -> bool:
        return self.program.process.poll() is None


Over = Callable[[Place], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Outage:
    """A kind of weather. `stuck`: apps that it holds up; the others go on. `counts`: the words of paths that count."""

    name: str
    over: Over
    stuck: frozenset[str] = ALL
    counts: str | None = ""
    prepare: Over | None = None


def all_outages() -> Iterator[Outage]:
    """All of them; some need root."""
    for name, fault in _SKIES.items():
        yield Outage(name, partial(_sky, fault=fault))
    yield Outage("sealed", _sealed)
    yield Outage("KV mount disabled, and enabled with data", _unmounted, counts="/secret/")
    for name, fault in _SKIES_OF_A_PATH.items():
        yield Outage(f"one path: {name}", partial(_sky, fault=fault, words="/two/"), frozenset({"other"}), "/two/")
    yield Outage("one path: denied by the policy (403)", _denied, frozenset({"other"}), "/two/")
    if os.geteuid() != 0:
        report("weather: names that do not resolve and a full or read-only tmpfs need root; they are left out")
        return
    yield Outage("name not resolved", _nameless, prepare=_named)
    yield Outage(
        "tmpfs of files and state full", _full, frozenset({"files"}), None, partial(_small, ("files", "state"))
    )
    yield Outage("tmpfs of files read-only", _read_only, frozenset({"files"}), None, partial(_small, ("files",)))


@contextmanager
def _sky(place: Place, fault: Fault | Status, words: str = "") -> Iterator[None]:
    if words:
        place.proxy.on_path(words, fault)
    else:
        place.proxy.fault = fault
    yield
    place.proxy.clear()


@contextmanager
def _sealed(place: Place) -> Iterator[None]:
    place.bao.ask("PUT", "sys/seal")
    yield
    key = re.search(r"Unseal Key: (\S+)", place.bao.log.read_text())[1]
    place.bao.ask("PUT", "sys/unseal", {"key": key})


@contextmanager
def _unmounted(place: Place) -> Iterator[None]:
    place.bao.ask("DELETE", "sys/mounts/secret")
    yield
    place.bao.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})


@contextmanager
def _denied(place: Place) -> Iterator[None]:
    granted = place.bao.ask("GET", "sys/policies/acl/bench")["data"]["policy"]
    place.bao.ask("PUT", "sys/policies/acl/bench", {"policy": granted + _DENIED})
    yield
    place.bao.ask("PUT", "sys/policies/acl/bench", {"policy": granted})


@contextmanager
def _named(place: Place) -> Iterator[None]:
    """Lessee sees a hosts file of its own, and a name server that nobody is."""
    folder = place.program.folder
    (folder / "hosts").write_text("127.0.0.1 vault.bench\n")
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    place.go_to(f"http://vault.bench:{place.proxy.port}")
    place.program._command = ["unshare", "--mount", "sh", "-c", _NAMED, folder, *place.program._command]
    yield


@contextmanager
def _nameless(place: Place) -> Iterator[None]:
    hosts = place.program.folder / "hosts"
    known = hosts.read_text()
    hosts.write_text("")
    place.proxy.fault = Fault.REFUSE  # who is connected asks for no name
    place.proxy.fault = None
    yield
    hosts.write_text(known)


@contextmanager
def _small(names: tuple[str, ...], place: Place) -> Iterator[None]:
    folders = [place.program.folder / name for name in names]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", folder)
    yield
    for folder in folders:
        _run("umount", folder)


@contextmanager
def _full(place: Place) -> Iterator[None]:
    fillers = [place.program.folder / name / "filler" for name in ("files", "state")]
    for filler in fillers:
        with suppress(OSError):
            filler.write_bytes(bytes(2**20))
    yield
    for filler in fillers:
        filler.unlink()


@contextmanager
def _read_only(place: Place) -> Iterator[None]:
    _run("mount", "-o", "remount,ro", place.program.directory)
    yield
    _run("mount", "-o", "remount,rw", place.program.directory)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)
