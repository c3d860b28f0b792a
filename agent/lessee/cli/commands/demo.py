"""`lessee demo`: the path of a secret on this machine, with a real server, agent and app."""

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
from lessee.status.client import request_status

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
    received_at = time.time()
    text = open(sys.argv[1]).read()
    names = " ".join(line.partition("=")[0] for line in text.splitlines())
    print(received_at, hashlib.sha256(text.encode()).hexdigest()[:8], names, flush=True)
signal.signal(signal.SIGHUP, read)
read()
while True:
    signal.pause()
"""

_TIMEOUT = 20.0


def run(arguments: argparse.Namespace) -> int:
    """Ends within a minute, removes everything, and prints no secret value."""
    # Leaving the stack stops all processes and removes all files.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            _run_steps(stack)
            if arguments.keep:
                print("\nrunning until Ctrl-C")
                signal.pause()
        except KeyboardInterrupt:
            print("\nstopped")
    return 0


def _run_steps(stack: ExitStack) -> None:
    disk = _folder(stack, None)
    memory = _folder(stack, _memory())
    say = _StepPrinter()

    server = stack.enter_context(OpenBao(disk))
    say(f"an OpenBao server, in memory, at {server.address}")

    server.put("demo/database/postgres", username="shop", password=secrets.token_urlsafe(24))
    for name, value in zip(("role_id", "secret_id"), server.approle("shop", _POLICY), strict=True):
        (disk / name).write_text(value, encoding="utf-8")
    say("a policy, an AppRole role, and a secret: secret/demo/database/postgres")

    (disk / "lessee.yaml").write_text(
        _CONFIG.format(address=server.address, disk=disk, memory=memory), encoding="utf-8"
    )
    (disk / "shop.env.j2").write_text(_TEMPLATE, encoding="utf-8")
    started = time.monotonic()
    agent = _start(stack, disk / "agent.log", "-m", "lessee", "run", "--config", str(disk / "lessee.yaml"))
    file = memory / "shop" / "shop.env"
    _wait(file.exists, agent, disk / "agent.log")
    say(f"the agent logged in and rendered {file.name} within {time.monotonic() - started:.2f} s of its start")
    print(f"      {file} -> {file.readlink()}, mode {file.stat().st_mode & 0o777:04o}, on tmpfs")

    app = subprocess.Popen([sys.executable, "-c", _APP, str(file)], stdout=subprocess.PIPE, text=True)
    stack.callback(_end, app)
    _, fingerprint, names = _read_app_output(app)
    say(f"an app without any Vault library reads the file: {names} (fingerprint {fingerprint})")

    for _ in range(3):
        fingerprint = _rotate(server, app, fingerprint, say)
    read_status = partial(request_status, memory / "state" / "status.sock", "GET", "/status.json")
    # The agent records the notification a moment after the app gets it.
    _wait(lambda: not read_status()["apps"]["shop"]["notify"]["pending"], agent, disk / "agent.log")
    status = read_status()
    shop = status["apps"]["shop"]
    say(
        f"the agent's status: generation {shop['generation']}, {shop['state']}, fresh={status['fresh']}, "
        f"{status['totals']['logins']} login, {status['totals']['requests']} requests in all"
    )
    print("\nNext: write your own lessee.yaml (see the README), then run `lessee check` and `lessee run`.")


def _rotate(server: OpenBao, app: "subprocess.Popen[str]", before: str, say: "_StepPrinter") -> str:
    time.sleep(0.1 + secrets.randbelow(1000) / 1000)  # At a random moment between two polls.
    version = server.put("demo/database/postgres", username="shop", password=secrets.token_urlsafe(24))
    written = time.time()
    received_at, fingerprint, _ = _read_app_output(app)
    while fingerprint == before:  # An app that starts right after the first files is notified of them again.
        received_at, fingerprint, _ = _read_app_output(app)
    say(
        f"version {version} written to Vault; the app got SIGHUP and read the new file "
        f"{(received_at - written) * 1000:.0f} ms later (fingerprint {fingerprint})"
    )
    return fingerprint


class _StepPrinter:
    def __init__(self) -> None:
        self._step = 0
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        self._step += 1
        print(f"{self._step:>2}. [{time.monotonic() - self._start:5.2f} s] {text}", flush=True)


def _memory() -> str | None:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for place in (runtime, "/dev/shm", "/run"):  # noqa: S108  # The demo creates a directory with a random name in it.
        if place and os.access(place, os.W_OK):
            return place
    raise LesseeError("no writable tmpfs", where="/dev/shm", todo="mount one there")  # noqa: S108


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


def _wait(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise LesseeError("the agent did not succeed in time", where=str(log), todo=log.read_text(errors="replace"))
        time.sleep(0.005)


def _read_app_output(app: "subprocess.Popen[str]") -> tuple[float, str, str]:
    assert app.stdout is not None
    line = app.stdout.readline().split(maxsplit=2)
    if not line:
        raise LesseeError("the demo's app exited")
    return float(line[0]), line[1], line[2].strip()
