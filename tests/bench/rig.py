"""Shared by the benchmarks: a server, lessee and its peer (`bao agent`) on tmpfs, and their figures from /proc."""

import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lessee.core.errors import LesseeError
from lessee.host.openbao import OpenBao, find_bao
from lessee.status.client import request_status

# The tests' support modules, such as PostgreSQL and the fault proxy, are used here too.
sys.path.append(str(Path(__file__).resolve().parents[1]))

MEMORY = Path("/dev/shm")
LESSEE = (str(Path(sys.executable).with_name("lessee")),)
"""The program, as pip installs it."""
TIMEOUT = 120.0
"""Seconds after which a wait fails the benchmark."""
CHECK_INTERVAL = 0.001
"""Seconds between two checks of a condition: cheap, and short compared with every measured time."""

_TICK = os.sysconf("SC_CLK_TCK")
_STAMP = re.compile(rb"""VALUE=["']?(\d{6})-([0-9a-f]{64})-(\d+)["']?\n""")
_POLICY = """
path "secret/data/production/*"              { capabilities = ["read"] }
path "secret/metadata/production/*"          { capabilities = ["read", "list"] }
path "secret/detailed-metadata/production/*" { capabilities = ["list"] }
path "secret/data/production/denied"      { capabilities = ["deny"] }
path "secret/metadata/production/denied"  { capabilities = ["deny"] }
path "database/creds/*"                      { capabilities = ["read"] }
path "sys/leases/revoke"                     { capabilities = ["update"] }
"""
_AUDIT = 'audit "file" "bench" { options { file_path = "%s" } }'
_AGENT = """
vault {
  address = "%s"
  %s
}
auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "%s"
      secret_id_file_path                 = "%s"
      remove_secret_id_file_after_reading = false
    }
  }
}
template_config { static_secret_render_interval = "1s" }
"""

Files = Mapping[str, str]
"""The files to render: the name of each, and the secret whose `value` it contains."""


class Program:
    """Lessee or its peer, ready to start: `with` starts the program and kills it."""

    def __init__(self, folder: Path, command: Sequence[str | Path], names: Sequence[str]) -> None:
        self.environ = environ(folder)
        self.folder = folder
        self.directory = folder / "files"
        self.names = names
        self.log = folder / "log"
        self._command = command

    @property
    def socket(self) -> Path:
        return self.folder / "state" / "status.sock"

    @property
    def config(self) -> Path:
        return self.folder / "lessee.yaml"

    def start(self) -> None:
        self.started = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environ
            )

    @property
    def pid(self) -> int:
        """The process that works: the fork of lessee's first process, or the peer itself."""
        return pids(self.process.pid)[-1]

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(TIMEOUT)

    def wait_for_files(self) -> float:
        """Wait until every file can be opened by its path. Returns the seconds since the start."""
        missing = [str(self.directory / name) for name in self.names]

        def all_exist() -> bool:
            while missing and os.access(missing[-1], os.R_OK):
                missing.pop()
            return not missing

        self.until(all_exist, "all files")
        return time.monotonic() - self.started

    def wait_for(self, name: str, value: str) -> None:
        """Wait until a file contains a value."""
        path, wanted = self.directory / name, value.encode()
        self.until(lambda: wanted in path.read_bytes(), f"the new value in {name}")

    def wait_for_status(self) -> Mapping[str, Any]:
        """Wait until lessee serves its status socket. Returns the status."""
        status: dict[str, Any] = {}

        def is_served() -> bool:
            with suppress(LesseeError):
                status.update(request_status(self.socket, "GET", "/status.json"))
            return bool(status)

        self.until(is_served, "the status socket")
        return status

    def until(self, condition: Callable[[], object], what: str, *, timeout: float = TIMEOUT) -> None:
        """Wait for a condition. Raises RuntimeError with the end of the log if it stays false or the program ends."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline or self.process.poll() is not None:
                last = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])
                raise RuntimeError(f"{self.folder.name}: waited in vain for {what}\n{last}")
            time.sleep(CHECK_INTERVAL)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Rig:
    """A server with an AppRole, and a folder on tmpfs."""

    def __init__(self, folder: Path, bao: OpenBao) -> None:
        self.folder = folder
        self.bao = bao
        self.audit = folder / "audit.log"
        self.role_id, self.secret_id = folder / "role_id", folder / "secret_id"
        for file, content in zip((self.role_id, self.secret_id), bao.approle("bench", _POLICY), strict=True):
            file.write_text(content)
        self._numbers = itertools.count(1)

    def secrets(self, folder: str, count: int) -> Files:
        """Write `count` secrets into a KV folder of their own. Returns one file for each."""
        files = {f"s{number:04}.env": f"{folder}/s{number:04}" for number in range(count)}
        for secret in files.values():
            self.write(secret, "0")
        return files

    def count_requests(self) -> int:
        """Count the requests in the audit log of the server."""
        with self.audit.open("rb") as log:
            return sum(b'"type":"request"' in line for line in log)

    def write(self, secret: str, value: str) -> None:
        self.bao.put(f"production/{secret}", value=value)

    def lessee(self, files: Files, *, notify: Mapping[str, object] | None = None) -> Program:
        """`lessee run` for one app, in a new folder, so that it starts cold."""
        return self.lessee_for({"files": (templates(files), notify)})

    def lessee_for(
        self,
        apps: Mapping[str, tuple[Mapping[str, str], Mapping[str, object] | None]],
        *options: str,
        auth: Mapping[str, object] | None = None,
        events: Mapping[str, object] | None = None,
    ) -> Program:
        """`lessee run` for several apps: for each its templates by file name, and its `notify` block or None.

        The methods of the program watch the files of the app `files`. `events`: the block of the configuration.
        """
        folder = self._own_folder("lessee")
        blocks: dict[str, object] = {}
        for app, (templates, notify) in apps.items():
            (folder / "templates" / app).mkdir(parents=True)
            for name, text in templates.items():
                (folder / "templates" / app / f"{name}.j2").write_text(text)
            blocks[app] = {
                "directory": str(folder / app),
                "files": [{"template": f"{app}/{name}.j2"} for name in templates],
                **({"notify": notify} if notify else {}),
            }
        approle = {"role_id_file": str(self.role_id), "secret_id_file": str(self.secret_id)}
        config = {
            "environment": "production",
            "vault": {"address": self.bao.address, "auth": {"method": "approle", **approle, **(auth or {})}},
            "secrets": {"refresh_interval": "1s"},
            "state_dir": str(folder / "state"),
            "template_dir": "templates",
            "apps": blocks,
            **({"events": events} if events else {}),
        }
        (folder / "lessee.yaml").write_text(json.dumps(config))
        command = [*LESSEE, "run", "--config", folder / "lessee.yaml", *options]
        return Program(folder, command, list(apps.get("files", ({}, None))[0]))

    def peer(self, files: Files, *, command: Sequence[str] = ()) -> Program:
        """`bao agent` for the same files. It runs `command` after it has written a file."""
        return self.peer_for(peer_templates(files), command=command)

    def peer_for(
        self, templates: Mapping[str, str], *options: str, command: Sequence[str] = (), retries: int | None = None
    ) -> Program:
        """`bao agent` for templates by file name. `retries`: `num_retries`, if it is not the default."""
        folder = self._own_folder("peer")
        retry = f"retry {{ num_retries = {retries} }}" if retries is not None else ""
        blocks = [_AGENT % (self.bao.address, retry, self.role_id, self.secret_id)]
        run = f"exec {{ command = {json.dumps(command)} }}" if command else ""
        for name, text in templates.items():
            where = json.dumps(str(folder / "files" / name))
            blocks.append(
                f"template {{\n contents = {json.dumps(text)}\n destination = {where}\n"
                f' perms = "0440"\n error_on_missing_key = true\n {run}\n}}\n'
            )
        (folder / "agent.hcl").write_text("".join(blocks))
        command = [find_bao(), "agent", f"-config={folder}/agent.hcl", *options]
        return Program(folder, command, list(templates))

    def _own_folder(self, name: str) -> Path:
        folder = self.folder / f"{name}-{next(self._numbers)}"
        folder.mkdir()
        return folder


@contextmanager
def rig(*, audited: bool = False) -> Iterator[Rig]:
    """A server that exists until the block ends, with all its files. `audited`: it writes an audit log."""
    with tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as name:
        folder = Path(name)
        config = _AUDIT % (folder / "audit.log") if audited else None
        with OpenBao(folder, config=config) as bao:
            yield Rig(folder, bao)


def templates(files: Files) -> dict[str, str]:
    """Lessee's templates of these files, by file name."""
    return {name: f'VALUE={{{{ secret("{secret}").value }}}}\n' for name, secret in files.items()}


def peer_templates(files: Files) -> dict[str, str]:
    """The peer's templates of these files, by file name."""
    text = '{{ with secret "secret/data/production/%s" }}VALUE="{{ .Data.data.value }}"{{ end }}\n'
    return {name: text % secret for name, secret in files.items()}


def environ(folder: Path) -> dict[str, str]:
    """The environment of a program under test: of the caller's variables only PATH."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LANG": "C.UTF-8"}


def alternate(repetitions: int, **measures: Callable[[], Any]) -> dict[str, list[Any]]:
    """Take the measurements in turn, so that other load on the machine affects all of them."""
    results: dict[str, list[Any]] = {name: [] for name in measures}
    for number in range(repetitions):
        for name, measure in measures.items():
            results[name].append(measure())
            report(f"{number + 1}/{repetitions} {name}: {results[name][-1]}")
    return results


def report(text: str) -> None:
    """Print progress to stderr."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def pids(pid: int) -> list[int]:
    """A process, and the fork in which lessee works."""
    found = [pid]
    with suppress(OSError):  # It has ended.
        own = Path(f"/proc/{pid}/cmdline").read_bytes()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found += [int(child) for child in children if Path(f"/proc/{child}/cmdline").read_bytes() == own]
    return found


def resident(pid: int) -> tuple[float, float | None]:
    """RSS in MiB, and PSS if it is readable, else None; both with the fork, and RSS counts the shared pages once."""
    first, *forks = pids(pid)
    try:
        pss = sum(_field(f"/proc/{one}/smaps_rollup", "Pss") for one in (first, *forks))
    except PermissionError:
        pss = None
    if not forks:
        return _field(f"/proc/{first}/status", "VmRSS"), pss
    own = sum(_field(f"/proc/{first}/smaps_rollup", f"Private_{state}") for state in ("Clean", "Dirty"))
    return own + sum(_field(f"/proc/{fork}/status", "VmRSS") for fork in forks), pss


def cpu_seconds(pid: int) -> float:
    """User and system time that a process, its threads and its fork have used."""
    used = 0
    for one in pids(pid):
        after_name = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        used += int(after_name[11]) + int(after_name[12])
    return used / _TICK


def stamp(number: int) -> str:
    """A value of three KiB with a number and a checksum."""
    body = f"{number:06}" * 500
    return f"{number:06}-{hashlib.sha256(body.encode()).hexdigest()}-{body}"


def read_stamp(content: bytes) -> int | None:
    """The number in a file that contains one complete stamp, else None."""
    found = _STAMP.fullmatch(content)
    if found is None or hashlib.sha256(found[3]).hexdigest().encode() != found[2]:
        return None
    return int(found[1])


def _field(file: str, name: str) -> float:
    for line in Path(file).read_text().splitlines():
        key, _, rest = line.partition(":")
        if key == name:
            return int(rest.split()[0]) / 1024
    raise RuntimeError(f"{file} has no {name}")
