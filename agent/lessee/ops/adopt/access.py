"""Finds the Vault that an adoption uses: the configured one, or a server for development on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit

from lessee.config import Config
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, LesseeError, UsageError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.adopt.policy.model import Deployment
from lessee.ops.dev.docker_gateway import resolve
from lessee.ops.dev.folder import TOKEN, DevFolder, FolderMissingError, default_folder
from lessee.ops.dev.policy.listening import DOCKER
from lessee.ops.dev.policy.server_config import CA
from lessee.ops.dev.server import address_of, port_of
from lessee.ops.mcp.policy.config_text import VaultAccess

DEVELOPMENT, PRODUCTION = "development", "production"
_HOST = "host.docker.internal"
_START = ("-m", "lessee", "dev", "--detach", "--listen", "docker")
_START_TIMEOUT = 120
_CONNECT_TIMEOUT = 5.0
_PORTS = {"http": 80, "https": 443}


class NoVaultError(UsageError):
    """No Vault is configured, and the user wants no server for development."""


class Access(ImmutableStruct, frozen=True):
    """How this machine reaches Vault. `environ` has the variables of its clients."""

    hidden = ("environ",)

    environ: Mapping[str, str]
    is_dev: bool
    token_file: str | None = None
    """That of a server for development."""

    @property
    def address(self) -> str:
        """The URL."""
        return self.environ["VAULT_ADDR"]

    @property
    def ca_file(self) -> str | None:
        """The file of the CA certificates."""
        return self.environ.get("VAULT_CACERT") or None

    @property
    def namespace(self) -> str:
        """Vault's namespace."""
        return self.environ.get("VAULT_NAMESPACE", "")

    @property
    def environment(self) -> str:
        """The environment that is meant if none is named."""
        return DEVELOPMENT if self.is_dev else PRODUCTION

    def of_programs(self) -> VaultAccess | None:
        """How programs of this user reach it, without its environment; None: by the token file of `bao login`."""
        if self.token_file is None:
            return None
        return VaultAccess(self.address, self.token_file, self.namespace or None, self.ca_file)

    def is_reachable(self) -> bool:
        """Whether containers can connect to a server on this machine's loopback; true for one elsewhere."""
        if not _is_loopback(self.address):
            return True
        parts = urlsplit(self.address)
        try:
            gateway = resolve(DOCKER).address
        except LesseeError:
            return True  # No bridge is known; the start of the stack shows it.
        with suppress(OSError):
            socket.create_connection((gateway, parts.port or _PORTS[parts.scheme]), _CONNECT_TIMEOUT).close()
            return True
        return False

    def require_reachable(self) -> None:
        """Raises UsageError where containers cannot connect."""
        if not self.is_reachable():
            what = f"containers cannot connect to it as {container_address(self.address)}"
            todo = "let it listen on Docker's bridge too; that of `lessee dev`: `lessee dev --detach --listen docker`"
            raise UsageError(what, where=self.address, todo=todo)

    def ca_text(self) -> str | None:
        """The CA certificates for the containers. Raises ConfigError."""
        if self.ca_file is None:
            return None
        try:
            return Path(self.ca_file).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            raise ConfigError([LesseeError("the CA file cannot be read", where=self.ca_file)]) from None

    def deployment(self, image: str, *, labels: bool = False) -> Deployment:
        """How the containers reach it."""
        return Deployment(
            container_address(self.address),
            ca_file=self.ca_file is not None,
            namespace=self.namespace,
            insecure_http=self.address.startswith("http:"),
            image=image,
            labels=labels,
        )

    def config(self, environment: str) -> Config:
        """A configuration with this address for requests of this command. Raises ConfigError."""
        lines = [f"environment: {environment}", "vault:", f"  address: {self.address}"]
        if self.ca_file is not None:
            lines.append("  ca_file: ${VAULT_CACERT}")
        if self.namespace:
            lines.append("  namespace: ${VAULT_NAMESPACE}")
        if self.address.startswith("http:"):
            lines.append("  insecure_http: true")
        return parse("\n".join([*lines, "apps: {}", ""]), source="VAULT_ADDR", environ=self.environ)


def find_access(
    environ: Mapping[str, str],
    known: str | None,
    *,
    dev: bool,
    starts: bool,
    agree: Callable[[str], bool],
    say: Callable[[str], None],
) -> Access:
    """Vault by $VAULT_ADDR; without it the server for development, which `dev` or a yes to `agree` starts.

    `known`: the address of an earlier adoption, whose server needs no word. `starts`: whether a server may be started,
    or started again where containers reach it. Raises LesseeError.
    """
    if environ.get("VAULT_ADDR") and not dev:
        return Access(environ, is_dev=_is_loopback(environ["VAULT_ADDR"]))
    folder = default_folder(dict(environ))
    found = _of_folder(folder, environ)
    if found is not None and (
        dev or found.address == known or agree(f"no $VAULT_ADDR is set; use the server for development in {folder}?")
    ):
        if not (dev and starts) or found.is_reachable():
            return found
    elif not starts or (
        not dev
        and not _is_dev(known)
        and not agree("no $VAULT_ADDR is set; start an OpenBao for development on this machine?")
    ):
        if dev:
            raise NoVaultError(
                "no OpenBao for development runs on this machine", todo="without --plan, adopt starts one"
            )
        todo = "set $VAULT_ADDR and $VAULT_TOKEN, or add --dev to use an OpenBao for development on this machine"
        raise NoVaultError("no Vault is configured", where="VAULT_ADDR", todo=todo)
    say("starting an OpenBao for development")
    _start(environ)
    found = _of_folder(folder, environ)
    if found is None:
        raise LesseeError(
            "the server for development is not ready", where=str(folder), todo="see `lessee dev --status`"
        )
    say(f"it runs at {found.address}; its data are in {folder}, next to the key that unseals them")
    return found


def no_access(environ: Mapping[str, str], *, dev: bool = False) -> Access:
    """For a plan without a Vault; `dev`: with a server for development that is to be started."""
    return Access({**environ, "VAULT_ADDR": "https://vault:8200"}, is_dev=dev)


def container_address(address: str) -> str:
    """The URL as containers reach it: their own loopback is not this machine's."""
    if not _is_loopback(address):
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{_HOST}" + (f":{parts.port}" if parts.port else "")


def _is_dev(known: str | None) -> bool:
    return known is not None and known.startswith("https:") and _is_loopback(known)


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _of_folder(path: Path, environ: Mapping[str, str]) -> Access | None:
    """The running server of the folder."""
    with suppress(FolderMissingError), DevFolder(path, make=False) as folder:
        if folder.is_held() and folder.has(TOKEN):
            known = {
                "VAULT_ADDR": address_of(port_of(folder)),
                "VAULT_CACERT": str(folder.path / CA),
                "VAULT_TOKEN": folder.text(TOKEN),
            }
            others = {name: value for name, value in environ.items() if not name.startswith(("VAULT_", "BAO_"))}
            return Access(others | known, is_dev=True, token_file=str(folder.path / TOKEN))
    return None


def _start(environ: Mapping[str, str]) -> None:
    """Start it in a folder without a lessee.yaml, which it would set up. What it prints is for its own users."""
    with TemporaryFile() as printed:  # The server that stays would hold a pipe.
        try:
            done = subprocess.run(
                [sys.executable, *_START],
                cwd=os.sep,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                timeout=_START_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LesseeError("`lessee dev` did not get ready in time", todo="see `lessee dev --status`") from None
        if done.returncode:
            printed.seek(0)
            sys.stderr.write(printed.read().decode(errors="replace"))
    if done.returncode:
        raise LesseeError(
            "`lessee dev` did not start", todo="see its message above; `pip install 'lessee[demo]'` has a server"
        )
