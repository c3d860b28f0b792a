"""The lessee.yaml that servers are started by: made, or added to, so that it does without the client's environment."""

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
from lessee.ops.mcp.client_file import write
from lessee.ops.mcp.policy import config_text
from lessee.ops.mcp.policy.config_text import VARIABLE, App
from lessee.ops.mcp.policy.editor import Start
from lessee.ops.mcp.policy.plan import Wrapped

_HANDED_ON = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""What a client gives its servers of its own environment: the official SDK these, and no other gives fewer."""
_NOTHING = "none"
_ALONE = (sys.executable, "-EP", "-m", "lessee")
"""Whatever lies where the client starts it, or where its environment has Python look."""


class Configuration:
    """lessee.yaml as it is, or as it is to be made."""

    def __init__(self, option: str | None, environ: Mapping[str, str], *, respawn: bool) -> None:
        """`respawn`: servers are started anew when a secret changes. Raises ConfigError where it could start none."""
        self._respawn = respawn
        home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".config")
        self.path = Path(option).absolute() if option else (home / "lessee" / "mcp" / "lessee.yaml").absolute()
        self._environ = environ
        self._text = text_of(self.path) if self.path.exists() else None
        self._runtime = _runtime(environ)
        self.variable = VARIABLE if self._text is None else config_text.variable(self._text, self.path.name)
        if respawn and self._text is not None:
            config_text.refuse_one_session(self._text, self.path.name)
        self._vault = _vault(environ) if self._text is None else None
        self.config = self._parsed(self.text([]))

    def text(self, wrapped: Iterable[Wrapped]) -> str:
        """With the apps of these."""
        there = () if self._text is None else self._parsed(self._text).apps
        apps = {
            one.app: App(one.app, f"{self._runtime}/files/{one.app}", _template(one.app), self._respawn)
            for one in wrapped
            if one.app not in there
        }
        if self._text is not None:
            return config_text.added(self._text, self.path.name, apps.values()) if apps else self._text
        assert self._vault is not None
        environment = self._environ.get("LESSEE_ENVIRONMENT") or None
        return config_text.new(self._vault, environment, f"{self._runtime}/state", list(apps.values()))

    def is_free(self, app: str, template: str) -> bool:
        """Whether an app can be called so: there is none, or it is the very same."""
        file = self._folder / _template(app)
        if app in self.config.apps and self.config.apps[app].environ != _template(app):
            return False
        return template_of(self._folder, _template(app)) == template if os.path.lexists(file) else True

    def refuse_misfit(self, wrapped: Sequence[Wrapped]) -> None:
        """What was there has to mean what it meant, with these beside it. Raises ConfigError."""
        config = self._parsed(self.text(wrapped))
        new = {one.app for one in wrapped} - self.config.apps.keys()
        rest = {name: app for name, app in config.apps.items() if name not in new}
        if new - config.apps.keys() or replace(config, apps=rest) != replace(self.config, apps=dict(self.config.apps)):
            raise self._wrong("the apps cannot be added to it as it is written", "name another --config")

    def write(self, wrapped: Sequence[Wrapped]) -> tuple[Path, ...]:
        """Templates first, so it is whole at each moment; gives what was written. Raises WriteError."""
        text = self.text(wrapped)
        made = []
        for one in wrapped:
            file = self._folder / _template(one.app)
            if not file.exists():
                write(file, one.template)
                made.append(file)
        if text != self._text:
            write(self.path, text)
            made.append(self.path)
        return tuple(made)

    @property
    def start(self) -> Start:
        """How a server is started. Without respawn lessee becomes the server: nothing of it stays beside it."""
        return self._start("--respawn", "mcp-stdio") if self._respawn else self._start("--once")

    def _start(self, *way: str) -> Start:
        return Start(_lessee(), (*way, "--config", str(self.path)), self.variable, _ALONE)

    def try_out(self, app: str) -> None:
        """Start a program that does nothing, as the client would the server.

        Raises LesseeError with what lessee says of it.
        """
        nothing = shutil.which("true", path=os.defpath) or "true"
        start = self._start("--once")
        command = [*start.lessee, "exec", *start.options, "--app", app, "--log-level", "error", "--", nothing]
        done = subprocess.run(
            command,
            env=_handed_on(self._environ) | {self.variable: app},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            told = done.stderr.strip().removeprefix("lessee: ").splitlines()
            error = LesseeError(
                told[-1] if told else f"it ends with {done.returncode}",
                where=f"{self.path}: {app}",
                todo="the client's file is as it was; mend this, and run it again",
            )
            error.exit_code = done.returncode
            raise error

    @property
    def _folder(self) -> Path:
        return self.path.parent / self.config.templates if self.config.templates else self.path.parent

    def _parsed(self, text: str) -> Config:
        name = self.path.name
        alone = _handed_on(self._environ) | {self.variable: _NOTHING}
        config = parse(text, source=name, environ=alone, for_child=True)
        with_all = parse(text, source=name, environ=dict(self._environ) | alone, for_child=True)
        auth = config.vault.auth
        if isinstance(auth, TokenAuth) and auth.token_file is None:
            todo = "write `auth: {method: token, token_file: …}`, or another method"
            raise self._wrong("a client hands no $VAULT_TOKEN on to its servers", todo)
        if isinstance(auth, AppRole) and auth.wrapped:
            todo = "let secret_id_file hold a secret_id"
            raise self._wrong("each start of a server logs in, and a wrapping token serves but once", todo)
        if config != with_all:
            todo = "write what it takes from there into the file: a client does not hand it on to its servers"
            raise self._wrong("in the environment here it means something else", todo)
        return config

    def _wrong(self, what: str, todo: str) -> ConfigError:
        return ConfigError([LesseeError(what, where=str(self.path), todo=todo)])


def _template(app: str) -> str:
    return f"{app}.env.j2"


def _handed_on(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in _HANDED_ON if name in environ}


def _vault(environ: Mapping[str, str]) -> config_text.Vault:
    """As the environment says, and with the token that `bao login` leaves."""
    address, home = environ.get("VAULT_ADDR"), environ.get("HOME")
    token = Path(home or "~").expanduser() / ".vault-token"
    if not address or not token.is_file():
        missing = "$VAULT_ADDR is not set" if not address else f"there is no {token}"
        todo = "set $VAULT_ADDR and log in with `bao login`, or name a lessee.yaml with a `vault:` block by --config"
        raise ConfigError([LesseeError(f"it is not known how servers reach Vault: {missing}", todo=todo)])
    ca = environ.get("VAULT_CACERT")
    ca_file = str(Path(ca).absolute()) if ca else None
    return config_text.Vault(address, str(token.absolute()), environ.get("VAULT_NAMESPACE") or None, ca_file)


def _runtime(environ: Mapping[str, str]) -> str:
    """A folder in memory that is this user's; of the first that there are."""
    uid = os.geteuid()
    ours = [environ.get("XDG_RUNTIME_DIR") or "", f"/run/user/{uid}", *(["/run"] if uid == 0 else [])]
    for place in (*ours, "/dev/shm"):  # noqa: S108  # A folder with the uid's name, which no stranger's link leads to.
        if place and _is_memory(place):
            return f"{place}/lessee/mcp" if place in ours else f"{place}/lessee-mcp-{uid}"
    raise LesseeError("there is no tmpfs for a user's files", where="/dev/shm", todo="set $XDG_RUNTIME_DIR")  # noqa: S108


def _is_memory(place: str) -> bool:
    try:
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return is_memory(fd) and os.access(place, os.W_OK)
    finally:
        os.close(fd)


def _lessee() -> tuple[str, ...]:
    """By a path, for a client may have another $PATH."""
    named = Path(sys.argv[0])
    if named.name == "lessee" and os.access(named, os.X_OK):
        return (str(named.absolute()),)
    beside = Path(sys.executable).with_name("lessee")
    if os.access(beside, os.X_OK):
        return (str(beside),)
    return _ALONE
