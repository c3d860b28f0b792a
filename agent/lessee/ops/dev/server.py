"""Starts and stops the server for development, and initializes a new one: killed at any moment, nothing is half."""

import datetime as dt
import errno
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from lessee.core.errors import DeniedError, LesseeError, VaultRequestError, VaultUnreachableError, WriteError
from lessee.host.clock import wall_time
from lessee.host.directories import translate_write_errors
from lessee.ops.dev.certificates import ensure_certificates
from lessee.ops.dev.folder import LISTEN, LOCK, LOG, PORT, PROVISIONED, RECOVERY_KEY, STARTED, TOKEN, DevFolder
from lessee.ops.dev.policy.listening import Listen, remembered, url_of
from lessee.ops.dev.policy.server_config import (
    ADMIN,
    DATA,
    SEAL_KEY,
    SOCKET,
    accepts_clients,
    admin_policy,
    server_config,
)
from lessee.ops.setup.initialization import wait_until_active, why_inactive
from lessee.ops.setup.policy.initialization import InitOptions, contents, request, seal_of
from lessee.process.spawn import forget, spawn
from lessee.vault.admin import AdminClient
from lessee.vault.root_token import generate_root_token
from lessee.vault.transport import Address, Transport

DEFAULT_PORT = 8200
"""Vault's, and the one of its clients' default address."""
LOOPBACK = "127.0.0.1"
_CONFIG = "server.json"
_TIMEOUT = 60.0
_STOP_TIMEOUT = 20.0
_HOLDER_TIMEOUT = 60.0
_PAUSE = 0.05
_LARGEST_LOG = 10 << 20
_PERIOD = "768h"
"""A token that is not used for a month ends; the next start makes another."""
_KV = "secret"


@contextmanager
def client_of(folder: Path, token: str = "", namespace: str | None = None) -> Iterator[AdminClient]:
    """A client by the socket in the folder, which only this user can open."""
    with closing(Transport(Address(f"unix://{folder / SOCKET}", namespace=namespace))) as transport:
        yield AdminClient(transport, token, timeout=_TIMEOUT)


class DevServer:
    """A running server whose folder this process holds; it ends with this process, however that ends."""

    def __init__(self, folder: DevFolder, program: str, port: int, listen: str = "", *, closed: bool = False) -> None:
        """Start it, and wait until it is active, or uninitialized. Raises LesseeError with the end of its log."""
        self._folder = folder
        self.port = port
        if not closed:
            require_free(port, LOOPBACK, *([listen] if listen else ()))
        folder.write(_CONFIG, server_config(str(folder.path), port, closed=closed, listen=listen))
        folder.remove(SOCKET)
        with translate_write_errors(folder.path / DATA), suppress(FileExistsError):
            os.mkdir(DATA, 0o700, dir_fd=folder.fd)
        self._process = self._spawn(program)
        try:
            self._wait_until_answering()
        except BaseException:
            self.stop()
            raise

    @property
    def address(self) -> str:
        """The URL for clients."""
        return address_of(self.port)

    def wait(self, seconds: float) -> int | None:
        """The exit code of the server, None where it still runs after so many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End it: first as it wishes, then by force, which loses nothing that it has confirmed."""
        self._process.terminate()
        if self.wait(_STOP_TIMEOUT) is None:
            self._process.kill()
            self._process.wait()
        forget(self._process)

    def ended(self) -> LesseeError:
        """The error of a server that ended by itself."""
        log = self._folder.path / LOG
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        todo = (
            "it has lost nothing that it confirmed; start it again with `lessee dev`. Its log ends with:\n"
            + "\n".join(lines)
        )
        return VaultUnreachableError(f"the server ended with {self._process.returncode}", where=str(log), todo=todo)

    def _spawn(self, program: str) -> "subprocess.Popen[bytes]":
        folder = self._folder
        with translate_write_errors(folder.path / LOG):
            fd = os.open(
                LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder.fd
            )
            if os.fstat(fd).st_size > _LARGEST_LOG:
                os.ftruncate(fd, 0)
        # Neither BAO_* nor VAULT_* of this user: they would override its configuration.
        environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder.path)}
        try:
            return spawn(
                [program, "server", f"-config={folder.path / _CONFIG}"],
                ends_with_agent=True,
                start_new_session=True,  # Ctrl-C reaches lessee alone, which then ends it.
                pass_fds=[folder.lock],
                stdin=subprocess.DEVNULL,
                stdout=fd,
                stderr=fd,
                env=environ,
                cwd=folder.path,
            )
        except OSError as exc:
            raise LesseeError(
                f"cannot be started: {exc.strerror}", where=program, todo="name another with --bao"
            ) from None
        finally:
            os.close(fd)

    def _wait_until_answering(self) -> None:
        deadline = time.monotonic() + _TIMEOUT
        with client_of(self._folder.path) as client:
            while self.wait(0) is None:
                with suppress(VaultRequestError):
                    seal = seal_of(client.seal_status().data)
                    if not seal.initialized:
                        return
                    if not seal.sealed and why_inactive(client) is None:
                        return
                if time.monotonic() > deadline:
                    raise self._failed("is not unsealed after a minute")
                time.sleep(_PAUSE)
        raise self._failed(f"ended with {self._process.returncode}")

    def _failed(self, what: str) -> LesseeError:
        log = self._folder.path / LOG
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        if any("address already in use" in line for line in lines):
            return port_in_use(f"{LOOPBACK}:{self.port}")
        return VaultUnreachableError(
            f"the server {what}", where=str(log), todo="its log ends with:\n" + "\n".join(lines)
        )


def address_of(port: int) -> str:
    """The URL for clients."""
    return url_of(LOOPBACK, port)


def port_of(folder: DevFolder) -> int:
    """The port of the last start."""
    text = folder.text(PORT)
    return int(text) if text.isdecimal() else DEFAULT_PORT


def listen_of(folder: DevFolder) -> Listen:
    """Where the last start listened besides loopback."""
    return remembered(folder.text(LISTEN))


def require_free(port: int, *addresses: str) -> None:
    """Raises WriteError where this process cannot listen on this port of each address."""
    for address in addresses:
        where = f"{address}:{port}"
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # As the server does.
            try:
                probe.bind((address, port))
            except PermissionError:
                todo = "use --port with a number from 1024"
                raise WriteError("this user may not listen on this port", where=where, todo=todo) from None
            except OSError as exc:
                if exc.errno == errno.EADDRNOTAVAIL:
                    todo = "use --listen with one that `ip address` shows, or with `docker` or 127.0.0.1"
                    raise WriteError("this machine does not have this address", where=address, todo=todo) from None
                raise port_in_use(where) from None


def port_in_use(where: str) -> WriteError:
    """The error where another process listens on the port."""
    todo = "stop it, or use another with --port N; the next starts remember it"
    return WriteError("another process listens on this port", where=where, todo=todo)


def is_running(folder: DevFolder) -> bool:
    """Whether another process runs the server, and it answers."""
    return folder.is_held() and is_ready(folder)


def is_ready(folder: DevFolder) -> bool:
    """Whether the server answers, is unsealed and accepts clients."""
    if {STARTED, PROVISIONED} & folder.names() or not folder.has(TOKEN):
        return False
    if not accepts_clients(folder.text(_CONFIG)):
        return False
    with suppress(VaultRequestError), client_of(folder.path) as client:
        health = client.health()
        return not (health["sealed"] or health["standby"])
    return False


def stop(folder: DevFolder) -> bool:
    """Whether it ran."""
    deadline = time.monotonic() + _HOLDER_TIMEOUT
    while folder.is_held():
        if holder := folder.holder():
            end(holder.pid, lambda: not folder.is_held())
            return True
        if time.monotonic() > deadline:
            raise WriteError("another process holds it, and it is not known which", where=str(folder.path / LOCK))
        time.sleep(_PAUSE)  # It has just taken the folder, or its server is ending.
    return False


def start(folder: DevFolder, program: str, port: int, listen: Listen, report: Callable[[str], None]) -> DevServer:
    """Start the server of a folder that this process holds; a new one is initialized first. Raises LesseeError."""
    if folder.has(STARTED):
        report("an earlier start was interrupted before its keys were saved: nothing was stored, so it begins again")
        folder.clear()
    require_free(port, LOOPBACK, *([listen.address] if listen.address else ()))
    is_new = not folder.has(DATA) and not folder.has(RECOVERY_KEY)
    if is_new:
        report("initializing a new server")
        _initialize(folder, program, port)
    _require_keys(folder)
    ensure_certificates(folder, dt.datetime.fromtimestamp(wall_time(), dt.UTC), listen.address)
    server = DevServer(folder, program, port, listen.address)
    try:
        folder.write(PORT, f"{port}\n")
        folder.write(LISTEN, f"{listen}\n")
        ensure_token(folder)
    except BaseException:
        server.stop()
        raise
    return server


def _initialize(folder: DevFolder, program: str, port: int) -> None:
    """Initialize a server that accepts no other client. Its keys are on disk before anything is written into it.

    Until the first mark is gone there is nothing but empty storage, so the next start removes it. Until the second is
    gone, a root token may be left, so the next start ends it.
    """
    folder.mark(STARTED)
    folder.mark(PROVISIONED)
    folder.write(".gitignore", "*\n")  # Wherever the folder is, no commit has a key.
    folder.write(SEAL_KEY, secrets.token_bytes(32))
    ensure_certificates(folder, dt.datetime.fromtimestamp(wall_time(), dt.UTC))
    server = DevServer(folder, program, port, closed=True)
    try:
        with client_of(folder.path) as client:
            system = client.hvac.sys
            seal, options = seal_of(system.read_seal_status()), InitOptions(1, 1)
            if seal.initialized or not seal.automatic:
                todo = "try again; if it happens again, name another program with --bao"
                raise DeniedError(
                    "the new server is not empty, or has no static seal", where=str(folder.path), todo=todo
                )
            keys = contents(options, seal, system.initialize(**request(options, seal)))
            folder.write(RECOVERY_KEY, keys["recovery-key-1"] + "\n")
            folder.remove(STARTED)
            wait_until_active(client)
            _provision(folder, client.with_token(keys["root-token"]))
    finally:
        server.stop()


def _require_keys(folder: DevFolder) -> None:
    missing = [name for name in (SEAL_KEY, RECOVERY_KEY, DATA) if not folder.has(name)]
    if missing:
        what = f"{', '.join(missing)} is missing, and without it the data cannot be read"
        todo = "put it back from a copy, or remove the data with `lessee dev --reset`"
        raise LesseeError(what, where=str(folder.path), todo=todo)


def ensure_token(folder: DevFolder) -> None:
    """Renew the folder's token; where it is lost or ended, make a new one. Raises DeniedError."""
    token = folder.text(TOKEN)
    if token and not folder.has(PROVISIONED) and _renew(folder, token):
        return
    folder.mark(PROVISIONED)
    with client_of(folder.path) as client:
        _provision(folder, client.with_token(generate_root_token(client, [folder.text(RECOVERY_KEY)])))


def _renew(folder: DevFolder, token: str) -> bool:
    try:
        with client_of(folder.path, token) as client:
            client.write("auth/token/renew-self")
    except DeniedError:
        return False
    return True


def _provision(folder: DevFolder, root: AdminClient) -> None:
    """Write the folder's token with a root token, which then ends, as all that an interrupted run may have left."""
    root.hvac.sys.create_or_update_acl_policy(ADMIN, admin_policy())
    if f"{_KV}/" not in root.hvac.sys.list_mounted_secrets_engines()["data"]:
        root.hvac.sys.enable_secrets_engine("kv", path=_KV, options={"version": "2"})
    own = root.read("auth/token/lookup-self") or {}
    for accessor in root.list("auth/token/accessors"):
        with suppress(DeniedError):  # It has just ended.
            found = root.write("auth/token/lookup-accessor", {"accessor": accessor}).data
            if accessor != own.get("accessor") and {"root", ADMIN} & set(found.get("policies") or ()):
                root.write("auth/token/revoke-accessor", {"accessor": accessor})
    made = root.hvac.auth.token.create_orphan(
        policies=[ADMIN], period=_PERIOD, display_name="lessee-dev", renewable=True
    )
    folder.write(TOKEN, f"{made['auth']['client_token']}\n")
    root.write("auth/token/revoke-self")
    folder.remove(PROVISIONED)


def end(pid: int, is_over: Callable[[], bool]) -> None:
    """End the process that holds a folder, and wait for it: SIGTERM, and later SIGKILL. Raises LesseeError."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, number)
            deadline = time.monotonic() + _STOP_TIMEOUT * 1.5
            while time.monotonic() < deadline:
                if is_over():
                    return
                time.sleep(_PAUSE)
    finally:
        os.close(fd)
    raise LesseeError("it still runs", where=f"process {pid}", todo=f"end it with `kill -9 {pid}`")
