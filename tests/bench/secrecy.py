"""Looks for new credentials in all that is said, and can be seen, while one of each kind is rotated."""

import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from canary import Hunt
from rig import LESSEE, LOOK, MEMORY, PATIENCE, Figure, Rig, environ, rig, tell

from lessee.host.openbao import ROOT_TOKEN
from support.environments.rotation_targets import RotationTarget
from support.programs.sidecar import eventually
from support.servers.postgres import Postgres
from support.systems import SYSTEMS
from support.systems.postgres import LoginRoles
from support.systems.redis import AclUser

NO_SECRETS = {"username", "access_key", "rotation_timestamp"}
"""Keys that a rotation may change, whose values are but names."""
_LAST = "the last word"


def measure() -> Iterator[Figure]:
    hunt = Hunt()
    with rig(audited=True) as bench:
        for name, system in SYSTEMS.items():
            with tempfile.TemporaryDirectory(prefix="lessee-bench-", dir=MEMORY) as folder:
                (home := Path(folder) / "rotator").mkdir()
                with system.started(Path(folder)) as new:
                    _rotate(bench, hunt, name, RotationTarget(bench.bao, home, new()))
            tell(f"{name}: {hunt.tell()}")
        hunt.search("OpenBao's audit log", bench.audit.read_bytes())
        hunt.search("OpenBao's log", bench.bao.log.read_bytes())
    name = f"new credentials of {len(SYSTEMS)} kinds found (raw, base64, URL, JSON)"
    yield Figure(name, "", hunt.tell(), "0", not hunt.hits)


def _rotate(bench: Rig, hunt: Hunt, name: str, target: RotationTarget) -> None:
    """Twice: the second time what the first has made is the old one."""
    seen: dict[str, bytes] = {}
    with _listening(target.system) as log:
        for form in ("text", "json"):
            before = target.fields()
            out, processes = _watched(target, form)
            after = target.fields()
            made = {key: value for key, value in after.items() if value != before.get(key) and isinstance(value, str)}
            for key in made.keys() - NO_SECRETS:
                hunt.learn(f"{key} of {name}, {form}", made[key])
                hunt.prove(made[key], repr(after).encode())
            seen |= {f"output, {form}": out, f"argv and environ, {form}": processes}
        seen["the system's log"] = log()
    # What else the program has left on the disk.
    seen |= {str(file): file.read_bytes() for file in target.folder.rglob("*") if file.is_file()}
    if b"credential rotated" not in seen["output, text"] or target.environment not in bench.audit.read_text():
        raise RuntimeError("what is searched is not what was meant")
    for where, said in seen.items():
        hunt.search(f"{where} of {name}", said)


def _watched(target: RotationTarget, form: str) -> tuple[bytes, bytes]:
    """A rotation's whole output, and the argv and environ of its process and all below it, as often as can be."""
    command = [*LESSEE, "rotate", target.name, "--force", "--log-level", "debug", "--log-format", form]
    env = {**environ(target.folder), "VAULT_TOKEN": ROOT_TOKEN}
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, cwd=target.folder, env=env, stdout=out, stderr=out)
        seen: set[bytes] = set()
        while process.poll() is None:
            seen.update(_shown(process.pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK)
        out.seek(0)
        said = out.read()
    wanted = target.system.target.get("command", ["--log-level"])[0]
    if process.returncode or not any(wanted.encode() in one for one in seen):
        raise RuntimeError(f"it ended with {process.returncode}, or could not be seen")
    return said, b"\n".join(seen)


def _shown(pid: int) -> Iterator[bytes]:
    for name in ("cmdline", "environ"):
        with suppress(OSError):  # It has just ended.
            yield Path(f"/proc/{pid}/{name}").read_bytes()
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _shown(int(child))


@contextmanager
def _listening(system: Any) -> Iterator[Callable[[], bytes]]:
    """Have the system write down all that it is told, where it can; what it has."""
    match system:
        case LoginRoles(postgres=postgres):
            yield from _statements(postgres)
        case AclUser(server=server):
            yield from _commands(server)
        case _:
            yield lambda: b""


def _statements(postgres: Postgres) -> Iterator[Callable[[], bytes]]:
    for setting in ("log_statement = 'all'", "log_min_duration_statement = 0", "log_connections = on"):
        postgres.sql(f"ALTER SYSTEM SET {setting}")
    postgres.sql("SELECT pg_reload_conf()")
    eventually(lambda: postgres.sql("SHOW log_statement") == [("all",)], "the setting")

    def said() -> bytes:
        postgres.sql(f"SELECT '{_LAST}'")
        eventually(lambda: _LAST in postgres._log.read_text(), "the log")
        text = postgres._log.read_bytes()
        return _with(b"SCRAM-SHA-256$", text)

    yield said


def _commands(server: Any) -> Iterator[Callable[[], bytes]]:
    heard: list[bytes] = []
    with redis.Redis(port=server.port, password=server.password).monitor() as monitor:

        def listen() -> None:
            with suppress(redis.exceptions.ConnectionError, OSError, ValueError):
                heard.extend(str(command).encode() for command in monitor.listen())

        threading.Thread(target=listen, daemon=True).start()

        def said() -> bytes:
            server.ask("ECHO", _LAST)
            eventually(lambda: any(_LAST.encode() in one for one in heard), "the commands", PATIENCE)
            return b"\n".join([*heard, server.log.read_bytes(), server.aclfile.read_bytes()])

        yield said


def _with(word: bytes, text: bytes) -> bytes:
    if word not in text:
        raise RuntimeError(f"{word!r} does not stand there: nothing was written down")
    return text
