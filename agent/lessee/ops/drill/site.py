"""The server that a drill is played against: a private one made from an archive, or that of a test environment."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec.structs import replace

from lessee.config import Vault
from lessee.config.grammar.vault import TokenAuth
from lessee.core.errors import ConfigError, LesseeError
from lessee.host.progress import Progress
from lessee.host.project import Project
from lessee.host.proxies import proxy_for
from lessee.ops.backup.inspection import inspect
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.scratch_server import scratch_server
from lessee.ops.backup.verification import restore_into
from lessee.ops.drill.gateway import Upstream
from lessee.ops.drill.processes import CommandResult, run_lessee
from lessee.vault.admin import AdminClient

if TYPE_CHECKING:
    from lessee.ops.backup.policy.archive_format import Manifest

Opener = Callable[[], AbstractContextManager[tuple[IO[bytes], str]]]
"""Opens the archive: its file, and where it is."""
_PORTS = {"http": 80, "https": 443}


class Site:
    """The server, and the commands with which an operator acts on it."""

    is_private: bool
    client: AdminClient
    """With a token that may do everything that the drill needs."""
    upstream: Upstream
    """Where the gateway of the agents leads."""
    record: str
    """Where `lessee emergency` writes its record."""

    def __init__(self, opened: Opener, keys: Keys, progress: Progress) -> None:
        self._opened, self._keys, self._progress = opened, keys, progress
        self.manifest: Manifest
        self.archive = ""
        self.unsupported: tuple[str, ...] = ()
        self.deadline = float("inf")
        """When the scene has to end, on the monotonic clock."""

    def archive_age(self) -> float:
        """Seconds since the archive was saved."""
        return max(0.0, time.time() - datetime.fromisoformat(self.manifest.created).timestamp())

    def agents_vault(self, port: int) -> Vault:
        """How agents reach the server through the gateway at a port of loopback; they log in otherwise."""
        raise NotImplementedError

    def lessee(self, *arguments: str) -> CommandResult:
        """Run a command as an operator does."""
        raise NotImplementedError

    def rotate(self) -> CommandResult:
        """Rotate all targets."""
        raise NotImplementedError


class PrivateSite(Site):
    """A server without network on a socket that only this user can open. Nothing but the archive is read for it."""

    is_private = True
    record = "emergency.json"

    def __init__(
        self, opened: Opener, keys: Keys, progress: Progress, folder: Path, environ: Mapping[str, str]
    ) -> None:
        """`folder`: that of the stage, whose configuration the commands read. `environ`: theirs."""
        super().__init__(opened, keys, progress)
        self._folder, self._environ = folder, environ
        self._stack = ExitStack()
        self._token = ""

    def start(self) -> None:
        """Start an empty server."""
        self.client = self._stack.enter_context(scratch_server())
        self.upstream = self.client.address.removeprefix("unix://")
        self._token = str(self.client.write("auth/token/create", {"no_parent": True}).auth["client_token"])

    def lose(self) -> None:
        """Lose the server with all its data."""
        self._stack.close()

    close = lose

    def restore(self) -> None:
        """Restore the archive, which is read completely before. Raises ArchiveError."""
        with self._opened() as (file, self.archive):
            self.manifest = inspect(file, self._keys, self.archive, self._progress).manifest
            count = self.manifest.counts.secrets
            self.unsupported = restore_into(self.client, file, self.archive, self._keys, count, self._progress)
        self._progress.done()

    def agents_vault(self, port: int) -> Vault:
        return Vault(
            address=f"http://127.0.0.1:{port}",
            addresses=(),
            namespace=None,
            ca_file=None,
            tls_server_name=None,
            client_cert_file=None,
            client_key_file=None,
            tls_skip_verify=False,
            auth=TokenAuth(),
        )

    def lessee(self, *arguments: str) -> CommandResult:
        return run_lessee(
            self._folder, {**self._environ, "VAULT_TOKEN": self._token}, *arguments, deadline=self.deadline
        )

    def rotate(self) -> CommandResult:
        return self.lessee("rotate", "--all", "--force")


class LostSecret:
    """A secret of a test environment that the drill deletes, with the newest version that it had."""

    def __init__(self, client: AdminClient, mount: str, path: str) -> None:
        self._client, self._data, self._metadata = client, f"{mount}/data/{path}", f"{mount}/metadata/{path}"
        self._kept = dict((client.read(self._data) or {}).get("data") or {})

    def lose(self) -> None:
        """Delete it with all its versions."""
        self._client.delete(self._metadata)

    def recover(self) -> None:
        """Write the newest version again, unless the server has the same."""
        found = self._client.read(self._data) or {}
        if found.get("data") != self._kept:
            version = found["metadata"]["version"] if found else 0
            self._client.write(self._data, {"data": self._kept, "options": {"cas": version}})


class TestEnvironment(Site):
    """A test environment of the real server. Its real apps lose their logins when the leak is played."""

    is_private = False
    __test__ = False  # It is no test of pytest's.

    def __init__(
        self,
        opened: Opener,
        keys: Keys,
        progress: Progress,
        client: AdminClient,
        project: Project,
        environ: Mapping[str, str],
        record: Path,
    ) -> None:
        """`record`: the new file for the record of the emergency. Raises ConfigError behind an HTTP proxy."""
        super().__init__(opened, keys, progress)
        self.client, self.record, config = client, str(record), project.config
        self._config, self._path, self._environ = config, project.path, environ
        parts = urlsplit(config.vault.address)
        if proxy_for(config.vault.address, environ) is not None:
            what, todo = "the drill cannot cut a connection through a proxy", "add the server to $NO_PROXY"
            raise ConfigError([LesseeError(what, where="vault.address", todo=todo)])
        self._scheme, self._base = parts.scheme, parts.path
        self._host = parts.hostname or ""
        self.upstream = (self._host, parts.port or _PORTS[parts.scheme])

    def inspect(self) -> None:
        """Read the archive completely. Raises ArchiveError."""
        with self._opened() as (file, self.archive):
            self.manifest = inspect(file, self._keys, self.archive, self._progress).manifest
        self._progress.done()

    def agents_vault(self, port: int) -> Vault:
        vault = self._config.vault
        files = {
            name: str(Path(value).absolute())
            for name in ("ca_file", "client_cert_file", "client_key_file")
            if (value := getattr(vault, name)) is not None
        }
        address, name = f"{self._scheme}://127.0.0.1:{port}{self._base}", vault.tls_server_name or self._host
        return replace(vault, address=address, addresses=(), tls_server_name=name, **files)

    def lessee(self, *arguments: str) -> CommandResult:
        command = (*arguments, "--config", str(self._path))
        return run_lessee(Path.cwd(), self._environ, *command, deadline=self.deadline)

    def rotate(self) -> CommandResult:
        return self.lessee("rotate", "--all", "--force", "--environment", self._config.environment or "")

    @contextmanager
    def lost_secret(self, path: str) -> Iterator[LostSecret]:
        """A secret to lose; at the end it has its newest version again, however that ends."""
        mount = self._config.secrets.mount
        secret = LostSecret(self.client, mount, path.removeprefix(f"{mount}/"))
        try:
            yield secret
        finally:
            secret.recover()
