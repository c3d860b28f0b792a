"""What all of `lessee rotate` begins with: the configuration, the log, and one who asks Vault patiently."""

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
from lessee.ops.rotate.targets import Person, Project
from lessee.telemetry.logs import log, open_log

_T = TypeVar("_T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


def opened(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> Project:
    """The configuration of the environment that is meant. Raises ConfigError, and UsageError for an unknown one."""
    config = read(path, environ, environment=arguments.environment, blocks=("rotation",))
    _refuse_unknown(arguments.environment, config, path, environ)
    if not config.rotation:
        todo = "write `rotation:`, with a target for each credential"
        raise ConfigError([LesseeError("there is nothing to rotate", where=path.name, todo=todo)])
    redactor = Redactor()
    redactor.publish(text_of(path))
    open_log(redactor, level=arguments.log_level, form=arguments.log_format)
    return Project(config, path, environ, redactor, _person())


class Patience:
    """Asks Vault again while it is away, for so many seconds without any answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._away_since: float | None = None

    def ask(self, question: Callable[[], _T]) -> _T:
        """Raises VaultUnreachableError when patience is at its end."""
        pause = _FIRST_PAUSE
        while True:
            try:
                answer = question()
            except VaultUnreachableError as exc:
                now = time.monotonic()
                self._away_since = now if self._away_since is None else self._away_since
                left = self._away_since + self._seconds - now
                if left <= 0:
                    raise
                log("warning", "Vault is away, and is asked again", reason=str(exc), seconds=round(left))
                time.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._away_since = None
                return answer


@contextmanager
def foreseen() -> Iterator[None]:
    """What nobody has foreseen in one target is an error like others, so that the other targets are rotated.

    Raises LesseeError.
    """
    try:
        yield
    except LesseeError:
        raise
    except Exception as exc:  # noqa: BLE001  # Its text may hold values.
        raise LesseeError(f"internal error: {type(exc).__name__}", todo="please report it") from None


def told(name: str, exc: LesseeError) -> str:
    """An error with the target that it is about."""
    text = str(exc)
    return text if text.startswith((f"{name}:", f"rotation.{name}:")) else f"{name}: {text}"


def _refuse_unknown(environment: str | None, config: Config, path: Path, environ: Mapping[str, str]) -> None:
    """A mistyped one would make secrets at a place that nobody reads."""
    if environment is None or environment in config.setup.environments:
        return
    with suppress(ConfigError):  # It may name none, and want one.
        if read(path, environ).environment == environment:
            return
    todo = f"there are: {', '.join(config.setup.environments)} (`setup: {{environments: […]}}`)"
    raise UsageError(f"there is no environment {environment!r}", todo=todo)


def _person() -> Person | None:
    if sys.stdin is None or not sys.stdin.isatty():  # None: it was closed.
        return None
    return Person(ask=_ask, say=lambda text: print(text, file=sys.stderr, flush=True))


def _ask(what: str) -> str:
    try:
        return getpass(f"{what} = ")
    except EOFError:
        return ""
    except UnicodeDecodeError:
        raise LesseeError("what was typed is not UTF-8 text", where=what) from None
