"""What all forms of `lessee rotate` share: the project, retries in an outage of Vault, and error texts."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from getpass import getpass
from pathlib import Path
from typing import TypeVar

from lessee.config import Config
from lessee.core.errors import ConfigError, LesseeError, UsageError, VaultUnreachableError
from lessee.core.redaction import Redactor
from lessee.host.project import read, text_of
from lessee.ops.rotate.targets import Project, Terminal
from lessee.telemetry.logs import log, open_log

_T = TypeVar("_T")
_MAX_LINE = 65536
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


def open_project(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> Project:
    """The project of the selected environment. Raises ConfigError, and UsageError for an unknown environment."""
    config = read(path, environ, environment=arguments.environment, blocks=("rotation",))
    check_environment(arguments.environment, config, path, environ)
    if not config.rotation:
        todo = "add a `rotation` block with a target for each credential"
        raise ConfigError([LesseeError("no rotation targets", where=path.name, todo=todo)])
    redactor = Redactor()
    redactor.allow(text_of(path))
    open_log(redactor, level=arguments.log_level, form=arguments.log_format)
    return Project(config, path, environ, redactor, _terminal(enter=arguments.enter))


class OutageRetry:
    """Repeats calls while Vault is unavailable, for so many seconds without an answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._outage_since: float | None = None

    def call(self, function: Callable[[], _T]) -> _T:
        """What the function returns. Raises VaultUnreachableError after an outage that lasts too long."""
        pause = _FIRST_PAUSE
        while True:
            try:
                result = function()
            except VaultUnreachableError as exc:
                now = time.monotonic()
                self._outage_since = now if self._outage_since is None else self._outage_since
                left = self._outage_since + self._seconds - now
                if left <= 0:
                    raise
                log("warning", "vault unavailable", reason=str(exc), retries_end_in=round(left))
                time.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._outage_since = None
                return result


@contextmanager
def translate_unexpected_errors() -> Iterator[None]:
    """Raises LesseeError for any error, so that one target's bug does not keep others from being rotated."""
    try:
        yield
    except LesseeError:
        raise
    except Exception as exc:  # noqa: BLE001  # Its text may hold values.
        raise LesseeError(f"internal error: {type(exc).__name__}", todo="please report it") from None


def error_text(name: str, exc: LesseeError) -> str:
    """The error's text, with the name of its target."""
    text = str(exc)
    return text if text.startswith((f"{name}:", f"rotation.{name}:")) else f"{name}: {text}"


def check_environment(environment: str | None, config: Config, path: Path, environ: Mapping[str, str]) -> None:
    """Raises UsageError for an environment of no configuration: secrets would be written where no app reads them."""
    if environment is None or environment in config.setup.environments:
        return
    with suppress(ConfigError):  # It may require an environment and have none.
        if read(path, environ).environment == environment:
            return
    todo = f"the environments of `setup.environments` are: {', '.join(config.setup.environments)}"
    raise UsageError(f"unknown environment {environment!r}", todo=todo)


def _terminal(*, enter: bool) -> Terminal | None:
    """Where the user enters values. `enter`: also from stdin, one on each line."""
    if sys.stdin is None:  # It was closed.
        return None
    if sys.stdin.isatty():
        return Terminal(ask=_ask, say=_say)
    return Terminal(ask=_read_line, say=_say) if enter else None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _read_line(what: str) -> str:
    """The next line of stdin. Raises EOFError at its end, and UsageError where it is no value."""
    line = sys.stdin.buffer.readline(_MAX_LINE + 1)
    if not line:
        raise EOFError
    if len(line) > _MAX_LINE:
        text = f"the line on stdin is longer than {_MAX_LINE} bytes"
        raise UsageError(text, where=what.rstrip(": "), todo="enter one value on each line")
    try:
        return line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = "the input is not UTF-8 text"
        raise UsageError(text, where=what.rstrip(": "), todo="encode the value, such as in base64") from None


def _ask(what: str) -> str:
    try:
        return getpass(what)
    except EOFError:
        return ""
    except UnicodeDecodeError:
        raise UsageError("the input is not UTF-8 text", where=what.rstrip(": ")) from None
