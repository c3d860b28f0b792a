"""`lessee import` of an env file: its secrets go to Vault, and lessee renders the file for its reader."""

import argparse
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lessee.audit_trail.operator_actions import recorded_action
from lessee.config import Config
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, LesseeError, UsageError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.core.printable import counted
from lessee.host import private_folder
from lessee.host.clock import boot_time
from lessee.host.console import confirm, escape_unknown
from lessee.host.project import text_of
from lessee.host.user_file import write_file
from lessee.ops.adopt.policy import env_readers
from lessee.ops.adopt.policy.env_config import MEMORY, EnvApp, config_of, new_config, with_app
from lessee.ops.adopt.policy.env_plan import EnvPlan, Options, plan
from lessee.ops.adopt.policy.env_readers import DEFAULT, READERS, Reader
from lessee.ops.adopt.policy.env_rendering import Rendered, verified
from lessee.ops.setup.secret_store import are_stored, conflicts, store_secrets
from lessee.process.hardening import harden
from lessee.vault.admin import admin_client

_MAX_SIZE = 1 << 20
_OTHER_VALUE = (
    "`lessee import {file} --prefer vault` uses that value, `--prefer files` stores the one of the file as a new "
    "version; or pass another --path"
)
_PREFIX = re.compile(r"[A-Za-z0-9_/.-]*")


def is_env_file(path: Path) -> bool:
    """Whether `run` imports the file. A file that cannot be read is not."""
    try:
        with path.open("rb") as file:
            return env_readers.is_env_file(path.name, file.read(_MAX_SIZE).decode(errors="replace"))
    except (OSError, ValueError):
        return False


def memory_of_user(environ: Mapping[str, str]) -> str:
    """Where the files and the state of this user can be. Without a session it has no runtime directory."""
    uid = os.geteuid()
    return MEMORY if uid == 0 or environ.get("XDG_RUNTIME_DIR") else f"{private_folder.MEMORY}/lessee-{uid}"


def run(arguments: argparse.Namespace) -> int:
    """0 if the secrets are in Vault and lessee renders the file. The file itself stays as it is."""
    escape_unknown()
    harden()
    environ = dict(os.environ)
    file = Path(arguments.file)
    text = _text(file)
    reader = READERS[arguments.reader] if arguments.reader else DEFAULT
    options = Options(
        arguments.app or _app_name(file),
        _prefix(arguments.path),
        frozenset(arguments.secret),
        frozenset(arguments.exclude),
    )
    planned = plan(text, arguments.file, reader, options)
    if not planned.stored:
        print(f"{file}: no secrets found; nothing to do")
        return 0
    project = _Project(arguments, environ, file, options.app)
    texts = {one: project.text(one) for one in project.formats(reader)}
    configs = {one: project.config(text) for one, text in texts.items()}
    rendered = verified(text, planned, reader, arguments.file, configs)
    entry = _Entry(project, texts[rendered.format], configs[rendered.format], planned.template)
    entry.check_template()
    _print_plan(arguments.file, planned, reader, rendered, entry)
    if arguments.dry_run:
        print("nothing was written (--dry-run)")
    else:
        _apply(arguments, planned, entry, environ)
    return 0


def _apply(arguments: argparse.Namespace, planned: EnvPlan, entry: "_Entry", environ: Mapping[str, str]) -> None:
    """Write to Vault first: a killed run loses nothing, and a later run continues."""
    config, secrets, file = entry.config, _secrets(planned), arguments.file
    settings: dict[str, Any] = {
        "todo": _OTHER_VALUE.format(file=shlex.quote(file)),
        "replaces": arguments.prefer == "files",
        "keeps": arguments.prefer == "vault",
    }
    with admin_client(config.vault, environ, boot_time) as client:
        if are_stored(client, config, secrets, **settings) and not entry.pending():
            print("nothing to do: Vault has these secrets, and lessee.yaml has the app")
            return
        how = "Vault gets that of the file as a new version" if settings["replaces"] else "that of Vault is rendered"
        for path, field in conflicts(client, config, secrets) if arguments.prefer else ():
            print(f"{path}#{field} has another value in Vault: {how}")
        confirm("apply these changes?", yes=arguments.yes)
        about = {"file": file, "paths": ", ".join(secrets), "server": config.vault.address}
        with recorded_action(config.audit_trail, environ, "env file imported", config.environment, **about):
            store_secrets(client, config, secrets, print, **settings)
    for written in entry.write():
        print(f"+ {written}")
    app = config.apps[entry.project.app]
    print(
        f"render it: `lessee render --config {shlex.quote(str(entry.project.path))} --app {app.name}`, or `lessee run`"
    )
    print(f"{file} is unchanged, and still contains the secrets")
    print(f"when its program reads {app.directory}/{app.files[0].name}, delete it: `rm {shlex.quote(file)}`")
    print("rotate these secrets: copies of the file, or git, may still contain them")


def _secrets(planned: EnvPlan) -> Mapping[str, Mapping[str, str]]:
    paths: dict[str, dict[str, str]] = {}
    for one in planned.stored:
        paths.setdefault(one.path, {})[one.field] = one.value
    return paths


class _Project:
    """The lessee.yaml of the import: an existing file, or a new one."""

    def __init__(self, arguments: argparse.Namespace, environ: Mapping[str, str], file: Path, app: str) -> None:
        named = arguments.config or environ.get("LESSEE_CONFIG")
        self.path = Path(named).absolute() if named else (file.parent / "lessee.yaml").absolute()
        self.old = text_of(self.path) if self.path.exists() else None
        self.app = app
        self._file = file
        self._environ = environ
        self._environment = arguments.environment or environ.get("LESSEE_ENVIRONMENT") or "development"
        if self.old is not None and arguments.environment:
            raise UsageError(f"--environment is for a new lessee.yaml, and {self.path} exists", todo="omit it")

    @property
    def template_name(self) -> str:
        """Of `.env` APP.env.j2, of `web.env` APP.web.env.j2."""
        return f"{self.app}.{self._file.name.lstrip('.')}.j2"

    def formats(self, reader: Reader) -> tuple[str, ...]:
        """The formats in which the file may be rendered: that of the existing app, or all of the reader."""
        existing = None if self.old is None else parse(self.old, source=self.path.name, environ=self._environ)
        known = (
            [file.format for file in existing.apps[self.app].files] if existing and self.app in existing.apps else []
        )
        return tuple(one for one in reader.formats if one in known) or reader.formats

    def text(self, format: str) -> str:  # noqa: A002  # The configuration's word.
        """The text of lessee.yaml with the app. Raises ConfigError."""
        app = EnvApp(self.app, self.template_name, self._file.name, format, memory_of_user(self._environ))
        if self.old is None:
            return new_config(self._environment, _token_file(self._environ), app)
        return with_app(self.old, self.path.name, app, self._environ)

    def config(self, text: str) -> Config:
        """The configuration with the app alone. Raises ConfigError."""
        return config_of(text, self.path.name, self.app, self._environ)


class _Entry(ImmutableStruct, frozen=True):
    """What is written besides the secrets: the text of lessee.yaml, and the template."""

    project: _Project
    text: str
    config: Config
    template: str

    @property
    def template_path(self) -> Path:
        return self.project.path.parent / (self.config.template_dir or "") / self.project.template_name

    def check_template(self) -> None:
        """Raises WriteError if there is another file with the template's name."""
        path = self.template_path
        if os.path.lexists(path) and text_of(path) != self.template:
            what = "there is another file with the template's name"
            raise WriteError(what, where=str(path), todo="remove it, or pass another name with --app")

    def pending(self) -> list[tuple[Path, str]]:
        """The files to write, the one that refers to the other last."""
        found = [] if self.template_path.exists() else [(self.template_path, self.template)]
        return found if self.text == self.project.old else [*found, (self.project.path, self.text)]

    def write(self) -> list[Path]:
        """Write the pending files. Raises WriteError."""
        pending = self.pending()
        for path, text in pending:
            write_file(path, text.encode())
        return [path for path, _ in pending]


def _print_plan(file: str, planned: EnvPlan, reader: Reader, rendered: Rendered, entry: _Entry) -> None:
    """Names, lines and places, and no values."""
    print(f"{file}: {counted(len(planned.variables), 'variable')} with secrets, {planned.plain} without")
    for variable in planned.variables:
        print(f"  {variable.name} (line {variable.line}) → {', '.join(variable.fields)}")
    for path, _ in entry.pending():
        print(f"to write: {path}")
    if planned.masked:
        print(f"{_lines(planned.masked)}: the template has *** in place of secrets in comments")
    title = f"rendered with format {rendered.format}"
    if rendered.is_equal:
        print(f"{title}, the file is byte-equal to {file}")
        return
    others = f", other quotes at {_lines(rendered.other_quotes)}" if rendered.other_quotes else ""
    print(f"{title}, the file gives {reader.title} the same variables with the same bytes{others}")


def _lines(numbers: Sequence[int]) -> str:
    return f"line{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _text(path: Path) -> str:
    """The file's text. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SIZE + 1)
    except OSError as exc:
        raise _unreadable(path, f"the file cannot be read: {exc.strerror}") from None
    except ValueError:
        raise _unreadable(path, "the path is invalid") from None
    if len(content) > _MAX_SIZE:
        raise _unreadable(path, f"the file is larger than {_MAX_SIZE >> 20} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _unreadable(path, "the file is not UTF-8 text") from None


def _unreadable(path: Path, what: str) -> ConfigError:
    return ConfigError([LesseeError(what, where=str(path))])


def _app_name(file: Path) -> str:
    """The name of the file's directory, and what the file's name says besides: `.env.worker` in shop is shop-worker."""
    suffix = re.sub(r"^\.?env\b|\.env$|^\.env$", "", file.name)
    words = re.findall(r"[a-z0-9]+", f"{file.absolute().parent.name} {suffix}".lower())
    return "-".join(words) or "app"


def _prefix(option: str) -> str:
    """Raises UsageError for what templates cannot name."""
    if not _PREFIX.fullmatch(option):
        raise UsageError(
            f"{option!r} is not a valid path prefix", where="--path", todo="write letters, digits, - _ . and /"
        )
    return option.strip("/")


def _token_file(environ: Mapping[str, str]) -> str | None:
    """The file of `bao login`, if $VAULT_TOKEN is not set and the file exists."""
    file = Path(environ.get("HOME") or "~").expanduser() / ".vault-token"
    return str(file) if not environ.get("VAULT_TOKEN") and file.is_file() else None
