"""Searches outputs, logs and process data for new credentials while one of each kind is rotated."""

import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from canary import Search
from figures import Figure
from rig import CHECK_INTERVAL, LESSEE, MEMORY, TIMEOUT, Rig, environ, report, rig

from lessee.host.openbao import ROOT_TOKEN
from support.environments.rotation_targets import RotationTarget
from support.programs.sidecar import eventually
from support.servers.postgres import Postgres
from support.systems import SYSTEMS
from support.systems.ldap import Entries
from support.systems.mysql import Users
from support.systems.postgres import LoginRoles
from support.systems.postgres_admins import AdminPair
from support.systems.rabbitmq import BrokerUsers
from support.systems.redis import AclUser
from support.systems.secret_id_file import LocalSecretId

NO_SECRETS = {
    "access_key",
    "algorithm",
    "dn",
    "kid",
    "public_key",
    "recipient",
    "replaced_accessor",
    "rotation_id",
    "rotation_timestamp",
    "secret_id_accessor",
    "username",
}
"""Keys that a rotation may change and whose values are no secrets."""
_END_MARK = "end of the search"


def measure() -> Iterator[Figure]:
    search = Search()
    with rig(audited=True) as bench:
        for name, system in SYSTEMS.items():
            with tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder:
                (home := Path(folder) / "rotator").mkdir()
                with system.started(Path(folder)) as new:
                    _rotate(bench, search, name, RotationTarget(bench.bao, home, new()))
            report(f"{name}: {search.summary()}")
        search.search("OpenBao's audit log", bench.audit.read_bytes())
        search.search("OpenBao's log", bench.bao.log.read_bytes())
    name = f"new credentials of {len(SYSTEMS)} kinds found (raw, base64, URL, JSON)"
    yield Figure(name, "", search.summary(), "0", not search.hits)


def _rotate(bench: Rig, search: Search, name: str, target: RotationTarget) -> None:
    """Rotate twice: the second rotation replaces what the first has created."""
    seen: dict[str, bytes] = {}
    with _recording(target.system) as log:
        for form in ("text", "json"):
            before = target.fields()
            out, processes = _watch(target, form)
            after = target.fields()
            if isinstance(target.system, LocalSecretId):  # Vault has only the accessor.
                after = {**after, "secret_id": target.system.file.read_text().strip()}
            made = {key: value for key, value in after.items() if value != before.get(key) and isinstance(value, str)}
            for key in made.keys() - NO_SECRETS:
                search.learn(f"{key} of {name}, {form}", made[key])
                search.verify(made[key], repr(after).encode())
            seen |= {f"output, {form}": out, f"argv and environ, {form}": processes}
        seen["the system's log"] = log()
    # Files that the program has left on the disk.
    seen |= {str(file): file.read_bytes() for file in target.folder.rglob("*") if file.is_file()}
    if b"credential rotated" not in seen["output, text"] or target.environment not in bench.audit.read_text():
        raise RuntimeError("the searched outputs do not contain the rotation")
    for where, content in seen.items():
        search.search(f"{where} of {name}", content)


def _watch(target: RotationTarget, form: str) -> tuple[bytes, bytes]:
    """The output of a rotation, and the argv and environ of its process and descendants, sampled continuously."""
    command = [*LESSEE, "rotate", target.name, "--force", "--log-level", "debug", "--log-format", form]
    env = {**environ(target.folder), "VAULT_TOKEN": ROOT_TOKEN}
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, cwd=target.folder, env=env, stdout=out, stderr=out)
        seen: set[bytes] = set()
        while process.poll() is None:
            seen.update(_process_data(process.pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(CHECK_INTERVAL)
        out.seek(0)
        output = out.read()
    wanted = target.system.target.get("command", ["--log-level"])[0]
    if process.returncode or not any(wanted.encode() in one for one in seen):
        raise RuntimeError(f"the rotation ended with {process.returncode}, or its processes were not sampled")
    return output, b"\n".join(seen)


def _process_data(pid: int) -> Iterator[bytes]:
    for name in ("cmdline", "environ"):
        with suppress(OSError):  # It has ended.
            yield Path(f"/proc/{pid}/{name}").read_bytes()
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _process_data(int(child))


@contextmanager
def _recording(system: Any) -> Iterator[Callable[[], bytes]]:
    """Have the system log all its input, if it can. Yields a function that returns the log."""
    match system:
        case LoginRoles(postgres=postgres) | AdminPair(postgres=postgres):
            yield from _statements(postgres)
        case AclUser(server=server):
            yield from _commands(server)
        case Users(mariadb=mariadb):
            mariadb.sql("SET GLOBAL general_log = 1")
            yield lambda: _require(b"IDENTIFIED VIA", mariadb.general_log.read_bytes())
        case BrokerUsers(rabbitmq=rabbitmq):
            yield lambda: _require(b"password", rabbitmq.log.read_bytes())
        case Entries(directory=directory):
            yield lambda: _require(b"MOD attr=userPassword", directory.log.read_bytes())
        case _:
            yield lambda: b""


def _statements(postgres: Postgres) -> Iterator[Callable[[], bytes]]:
    for setting in ("log_statement = 'all'", "log_min_duration_statement = 0", "log_connections = on"):
        postgres.sql(f"ALTER SYSTEM SET {setting}")
    postgres.sql("SELECT pg_reload_conf()")
    eventually(lambda: postgres.sql("SHOW log_statement") == [("all",)], "the setting")

    def read() -> bytes:
        postgres.sql(f"SELECT '{_END_MARK}'")
        eventually(lambda: _END_MARK in postgres._log.read_text(), "the log")
        text = postgres._log.read_bytes()
        return _require(b"SCRAM-SHA-256$", text)

    yield read


def _commands(server: Any) -> Iterator[Callable[[], bytes]]:
    commands: list[bytes] = []
    client = redis.Redis(port=server.port, password=server.password, socket_timeout=None)  # Commands may be rare.
    with client.monitor() as monitor:

        def listen() -> None:
            with suppress(redis.exceptions.ConnectionError, OSError, ValueError):
                commands.extend(str(command).encode() for command in monitor.listen())

        threading.Thread(target=listen, daemon=True).start()

        def read() -> bytes:
            server.ask("ECHO", _END_MARK)
            eventually(lambda: any(_END_MARK.encode() in one for one in commands), "the commands", TIMEOUT)
            # A Redis whose user is that of its configuration file has no aclfile.
            files = [file.read_bytes() for file in (server.log, server.aclfile) if file.exists()]
            return b"\n".join([*commands, *files])

        yield read


def _require(word: bytes, text: bytes) -> bytes:
    if word not in text:
        raise RuntimeError(f"the log does not contain {word!r}: it recorded nothing")
    return text
