"""`lessee demo`: the main job on this machine, with a real server, a real agent and a real app."""

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from lessee.core.errors import LesseeError
from lessee.host.openbao import OpenBao
from lessee.status.server import ask

_POLICY = """\
path "secret/data/demo/*"     { capabilities = ["read"] }
path "secret/metadata/demo/*" { capabilities = ["read"] }
"""

_CONFIG = """\
environment: demo
vault:
  address: {address}
  auth: {{method: approle, role_id_file: {disk}/role_id, secret_id_file: {disk}/secret_id}}
state_dir: {memory}/state
apps:
  shop:
    directory: {memory}/shop
    mode: "0400"
    files: [{{template: shop.env.j2}}]
    notify: {{process: {{name: lessee-demo-app}}, action: SIGHUP}}
"""

_TEMPLATE = """\
DATABASE_USER={{ secret("database/postgres").username }}
DATABASE_PASSWORD={{ secret("database/postgres").password }}
"""

_APP = """\
import ctypes, hashlib, os, signal, sys, time
ctypes.CDLL(None).prctl(15, b"lessee-demo-app", 0, 0, 0)  # PR_SET_NAME
def read(*_):
    heard = time.time()
    text = open(sys.argv[1]).read()
    names = " ".join(line.partition("=")[0] for line in text.splitlines())
    print(heard, hashlib.sha256(text.encode()).hexdigest()[:8], names, flush=True)
signal.signal(signal.SIGHUP, read)
read()
while True:
    signal.pause()
"""

_PATIENCE = 20.0


def run(arguments: argparse.Namespace) -> int:
    """Ends in less than a minute and leaves nothing behind; no value is ever shown."""
    # The demo is ended as it is cleaned up: by leaving the stack.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            _show(stack)
            if arguments.keep:
                print("\nrunning until Ctrl-C")
                signal.pause()
        except KeyboardInterrupt:
            print("\nstopped")
    return 0


def _show(stack: ExitStack) -> None:
    disk = _folder(stack, None)
    memory = _folder(stack, _memory())
    say = _Narrator()

    server = stack.enter_context(OpenBao(disk))
    say(f"an OpenBao server, in memory, at {server.address}")

    server.put("demo/database/postgres", username="shop", password=secrets.token_urlsafe(24))
    for name, value in zip(("role_id", "secret_id"), server.approle("shop", _POLICY), strict=True):
        (disk / name).write_text(value, encoding="utf-8")
    say("a policy, an AppRole, and a first secret: secret/demo/database/postgres")

    (disk / "lessee.yaml").write_text(
        _CONFIG.format(address=server.address, disk=disk, memory=memory), encoding="utf-8"
    )
    (disk / "shop.env.j2").write_text(_TEMPLATE, encoding="utf-8")
    started = time.monotonic()
    agent = _start(stack, disk / "agent.log", "-m", "lessee", "run", "--config", str(disk / "lessee.yaml"))
    file = memory / "shop" / "shop.env"
    _wait(file.exists, agent, disk / "agent.log")
    say(f"the agent: logged in and rendered {file.name} within {time.monotonic() - started:.2f} s of its start")
    print(f"      {file} -> {file.readlink()}, mode {file.stat().st_mode & 0o777:04o}, on tmpfs")

    app = subprocess.Popen([sys.executable, "-c", _APP, str(file)], stdout=subprocess.PIPE, text=True)
    stack.callback(_end, app)
    _, fingerprint, names = _hear(app)
    say(f"an app without any Vault library reads the file: {names} (fingerprint {fingerprint})")

    for _ in range(3):
        fingerprint = _rotate(server, app, fingerprint, say)
    look = partial(ask, memory / "state" / "status.sock", "GET", "/status.json")
    # The agent knows a moment after the app that this has been told.
    _wait(lambda: not look()["apps"]["shop"]["notify"]["owed"], agent, disk / "agent.log")
    status = look()
    shop = status["apps"]["shop"]
    say(
        f"the agent's status: generation {shop['generation']}, {shop['state']}, fresh={status['fresh']}, "
        f"{status['totals']['logins']} login, {status['totals']['requests']} requests in all"
    )
    print("\nWrite your own: see the README, then `lessee check` and `lessee run`.")


def _rotate(server: OpenBao, app: "subprocess.Popen[str]", before: str, say: "_Narrator") -> str:
    time.sleep(0.1 + secrets.randbelow(1000) / 1000)  # at any moment of a round
    version = server.put("demo/database/postgres", username="shop", password=secrets.token_urlsafe(24))
    written = time.time()
    heard, fingerprint, _ = _hear(app)
    while fingerprint == before:  # it started so soon after the first files that it was told of them once more
        heard, fingerprint, _ = _hear(app)
    say(
        f"version {version} written to Vault; the app got SIGHUP and read the new file "
        f"{(heard - written) * 1000:.0f} ms later (fingerprint {fingerprint})"
    )
    return fingerprint


class _Narrator:
    def __init__(self) -> None:
        self._step = 0
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        self._step += 1
        print(f"{self._step:>2}. [{time.monotonic() - self._start:5.2f} s] {text}", flush=True)


def _memory() -> str | None:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for place in (runtime, "/dev/shm", "/run"):  # noqa: S108  # A folder of a random name is made in it.
        if place and os.access(place, os.W_OK):
            return place
    raise LesseeError("there is no tmpfs to write to", where="/dev/shm", todo="mount one there")  # noqa: S108


def _folder(stack: ExitStack, place: str | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lessee-demo-", dir=place))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _start(stack: ExitStack, log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "LESSEE_"))}
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, *arguments], stdout=out, stderr=out, env=environ)
    stack.callback(_end, process)
    return process


def _end(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _wait(there: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not there():
        if process.poll() is not None or time.monotonic() > deadline:
            raise LesseeError("the agent did not get as far", where=str(log), todo=log.read_text(errors="replace"))
        time.sleep(0.005)


def _hear(app: "subprocess.Popen[str]") -> tuple[float, str, str]:
    assert app.stdout is not None
    line = app.stdout.readline().split(maxsplit=2)
    if not line:
        raise LesseeError("the demo's app ended")
    return float(line[0]), line[1], line[2].strip()
