"""Creates or extends the lessee.yaml that servers start with; it must not depend on the client's environment."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from lessee.config import Config
from lessee.config.grammar.vault import AppRole, TokenAuth
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, LesseeError
from lessee.host.mounts import is_memory
from lessee.host.project import template_of, text_of
from lessee.host.user_file import write_file
from lessee.ops.mcp.policy import config_text
from lessee.ops.mcp.policy.config_text import VARIABLE, App
from lessee.ops.mcp.policy.editor import LaunchOptions
from lessee.ops.mcp.policy.plan import WrappedServer

_INHERITED = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""The variables that every client passes on to its servers: those of the official SDK, which passes the fewest."""
TIMEOUT = "15s"
"""How long a server waits for Vault."""
_NO_SERVER = "none"
_ISOLATED = (sys.executable, "-EP", "-m", "lessee")
"""Ignores Python modules in the working directory and on PYTHONPATH."""


class McpConfig:
    """The lessee.yaml of the servers: the existing file, or a new one."""

    def __init__(
        self,
        option: str | None,
        environ: Mapping[str, str],
        *,
        respawn: bool,
        access: config_text.VaultAccess | None = None,
    ) -> None:
        """`respawn`: servers restart when a secret changes. `access`: how servers of a new file reach Vault; None: as
        $VAULT_ADDR and `bao login` say. Raises ConfigError if servers cannot start with the file.
        """
        self._respawn = respawn
        home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".config")
        self.path = Path(option).absolute() if option else (home / "lessee" / "mcp" / "lessee.yaml").absolute()
        self._environ = environ
        self._text = text_of(self.path) if self.path.exists() else None
        self._runtime = _runtime_directory(environ)
        self.variable = VARIABLE if self._text is None else config_text.server_variable(self._text, self.path.name)
        if respawn and self._text is not None:
            config_text.check_sessions(self._text, self.path.name)
        self._vault = access or _vault_access(environ) if self._text is None else None
        self.config = self._parse(self.text([]))

    def text(self, wrapped: Iterable[WrappedServer]) -> str:
        """The text with the apps of these servers."""
        existing = () if self._text is None else self._parse(self._text).apps
        apps = {
            server.app: App(server.app, f"{self._runtime}/files/{server.app}", _template(server.app), self._respawn)
            for server in wrapped
            if server.app not in existing
        }
        if self._text is not None:
            return config_text.add_apps(self._text, self.path.name, apps.values()) if apps else self._text
        assert self._vault is not None
        environment = self._environ.get("LESSEE_ENVIRONMENT") or None
        return config_text.new_config(self._vault, environment, f"{self._runtime}/state", list(apps.values()))

    def is_available(self, app: str, template: str) -> bool:
        """Whether an app may have this name: there is no such app, or it is the same."""
        file = self._template_directory / _template(app)
        if app in self.config.apps and self.config.apps[app].env_template != _template(app):
            return False
        return template_of(self._template_directory, _template(app)) == template if os.path.lexists(file) else True

    def check_additions(self, wrapped: Sequence[WrappedServer]) -> None:
        """Raises ConfigError if the new apps would change the meaning of the existing file."""
        config = self._parse(self.text(wrapped))
        new = {server.app for server in wrapped} - self.config.apps.keys()
        rest = {name: app for name, app in config.apps.items() if name not in new}
        if new - config.apps.keys() or replace(config, apps=rest) != replace(self.config, apps=dict(self.config.apps)):
            raise self._error("lessee cannot add apps to the file as it is written", "pass another --config")

    def write(self, wrapped: Sequence[WrappedServer]) -> tuple[Path, ...]:
        """Write the templates, then the file that refers to them; returns the written files. Raises WriteError."""
        text = self.text(wrapped)
        written = []
        for server in wrapped:
            file = self._template_directory / _template(server.app)
            if not file.exists():
                write_file(file, server.template.encode())
                written.append(file)
        if text != self._text:
            write_file(self.path, text.encode())
            written.append(self.path)
        return tuple(written)

    @property
    def launch_options(self) -> LaunchOptions:
        """How servers start. Without respawn, the server replaces lessee, so no second process remains."""
        return self._launch_options("--respawn", "mcp-stdio") if self._respawn else self._launch_options("--once")

    def _launch_options(self, *mode: str) -> LaunchOptions:
        # The client waits for its server: without Vault it learns that soon, and not after a minute.
        options = (*mode, "--timeout", TIMEOUT, "--config", str(self.path))
        return LaunchOptions(_lessee_command(), options, self.variable, _ISOLATED)

    def template_file(self, app: str) -> Path:
        """The file of an app's template."""
        return self._template_directory / _template(app)

    def verify_start(self, app: str) -> None:
        """Start `true` in place of the server, as the client would. Raises LesseeError with the output of lessee."""
        program = shutil.which("true", path=os.defpath) or "true"
        launch = self._launch_options("--once")
        command = [*launch.command, "exec", *launch.options, "--app", app, "--log-level", "error", "--", program]
        result = subprocess.run(
            command,
            env=_inherited(self._environ) | {self.variable: app},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if result.returncode:
            output = result.stderr.strip().removeprefix("lessee: ").splitlines()
            error = LesseeError(
                output[-1] if output else f"`lessee exec` failed with exit code {result.returncode}",
                where=f"{self.path}: {app}",
                todo="the client's file is unchanged; correct the problem, and run this command again",
            )
            error.exit_code = result.returncode
            raise error

    @property
    def _template_directory(self) -> Path:
        return self.path.parent / self.config.template_dir if self.config.template_dir else self.path.parent

    def _parse(self, text: str) -> Config:
        name = self.path.name
        inherited = _inherited(self._environ) | {self.variable: _NO_SERVER}
        config = parse(text, source=name, environ=inherited, for_child=True)
        with_all_variables = parse(text, source=name, environ=dict(self._environ) | inherited, for_child=True)
        auth = config.vault.auth
        if isinstance(auth, TokenAuth) and auth.token_file is None:
            todo = "write `auth: {method: token, token_file: …}`, or another method"
            raise self._error("a client does not pass $VAULT_TOKEN to its servers", todo)
        if isinstance(auth, AppRole) and auth.wrapped:
            todo = "write a plain secret_id to secret_id_file"
            raise self._error("each start of a server logs in, and a wrapping token is valid for one login", todo)
        if config != with_all_variables:
            todo = "write the values of these variables into the file: a client does not pass them to its servers"
            raise self._error("the file depends on variables of the current environment", todo)
        return config

    def _error(self, what: str, todo: str) -> ConfigError:
        return ConfigError([LesseeError(what, where=str(self.path), todo=todo)])


def _template(app: str) -> str:
    return f"{app}.env.j2"


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in _INHERITED if name in environ}


def _vault_access(environ: Mapping[str, str]) -> config_text.VaultAccess:
    """Vault's address from the environment, and the token file of `bao login`."""
    address, home = environ.get("VAULT_ADDR"), environ.get("HOME")
    token = Path(home or "~").expanduser() / ".vault-token"
    if not address or not token.is_file():
        reason = "$VAULT_ADDR is not set" if not address else f"{token} does not exist"
        todo = "set $VAULT_ADDR and log in with `bao login`, or pass a lessee.yaml with a `vault` block with --config"
        raise ConfigError([LesseeError(f"lessee does not know how servers reach Vault: {reason}", todo=todo)])
    ca = environ.get("VAULT_CACERT")
    ca_file = str(Path(ca).absolute()) if ca else None
    return config_text.VaultAccess(address, str(token.absolute()), environ.get("VAULT_NAMESPACE") or None, ca_file)


def _runtime_directory(environ: Mapping[str, str]) -> str:
    """A directory of the user on a tmpfs."""
    uid = os.geteuid()
    private = [environ.get("XDG_RUNTIME_DIR") or "", f"/run/user/{uid}", *(["/run"] if uid == 0 else [])]
    for directory in (*private, "/dev/shm"):  # noqa: S108  # With the uid in the name, and never through a link.
        if directory and _is_writable_memory(directory):
            return f"{directory}/lessee/mcp" if directory in private else f"{directory}/lessee-mcp-{uid}"
    raise LesseeError("no writable tmpfs was found", where="/dev/shm", todo="set $XDG_RUNTIME_DIR")  # noqa: S108


def _is_writable_memory(directory: str) -> bool:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return is_memory(fd) and os.access(directory, os.W_OK)
    finally:
        os.close(fd)


def _lessee_command() -> tuple[str, ...]:
    """The command with an absolute path, because a client may have another $PATH."""
    program = Path(sys.argv[0])
    if program.name == "lessee" and os.access(program, os.X_OK):
        return (str(program.absolute()),)
    installed = Path(sys.executable).with_name("lessee")
    if os.access(installed, os.X_OK):
        return (str(installed),)
    return _ISOLATED
