"""The command that runs when a file has changed, as the notification that it stands for."""

import re
import shlex
from collections.abc import Callable, Sequence

from lessee.config.grammar.scalars import SIGNALS
from lessee.config.yaml_writer import Keys
from lessee.core.immutable import Record


class Command(Record, frozen=True):
    """Words to be run as they are; one alone, with blanks in it, is for a shell. `timeout` is in lessee's words."""

    words: tuple[str, ...]
    timeout: str = "30s"

    @property
    def script(self) -> str | None:
        """What a shell is to read, where one is asked for."""
        match self.words:
            case [text] if len(text.split()) > 1:
                return text
            case [shell, "-c", text] if shell.rpartition("/")[2] in _SHELLS:
                return text
            case _:
                return None

    @property
    def text(self) -> str:
        """As a person would type it."""
        return self.script or shlex.join(self.words)


def notify(command: Command) -> Keys:
    """What `notify` is to say for it: a signal or a request where that is all that the command does."""
    text = command.text.strip()
    while (shorter := _SILENT.sub("", text)) != text:
        text = shorter
    for pattern, target in _FORMS:
        found = pattern.fullmatch(text)
        if found is not None and (keys := target(found)) is not None:
            return keys
    return _run(command)


def run_all(commands: Sequence[Command]) -> Command:
    """All of them one after another, as one command."""
    timeout = max((command.timeout for command in commands), key=len)
    texts = (f"({command.text})" if _OPERATOR.search(command.text) else command.text for command in commands)
    return Command(("sh", "-c", " && ".join(texts)), timeout)


_SHELLS = frozenset({"sh", "bash", "ash", "dash"})
_SILENT = re.compile(r"\s*(?:\|\|\s*(?:true|:)|[12&]?>\s*/dev/null|2>&1|;)\s*\Z")
_OPERATOR = re.compile(r"[;&|\n]")
_NUMBERS = {"1": "HUP", "2": "INT", "3": "QUIT", "9": "KILL", "10": "USR1", "12": "USR2", "15": "TERM", "28": "WINCH"}
_NGINX = {"reload": "SIGHUP", "quit": "SIGQUIT", "stop": "SIGTERM", "reopen": "SIGUSR1"}
_NEEDS_SHELL = re.compile(r"[|&;<>()$`\\\"'*?\[\]#~={}!\n]")

_WORD = r"[\w.@%+:/-]+"
_SIGNAL = r"(?:(?:-s\s*|--signal[= ]\s*|-n\s*|-)(?:SIG)?(?P<signal>[A-Z]+[0-9]?|[0-9]+)\s+)?"
_OPEN, _CLOSE = r"\"?(?:\$\(|`)\s*", r"\s*(?:\)|`)\"?"
_PIDOF = r"(?:pidof\s+(?:-s\s+)?|pgrep\s+(?:-[xon]\s+)*)"
_PROGRAM = r"(?:/usr)?(?:/s?bin/)?"
_CURL = (
    r"curl\s+(?:-[fsSLk]+\s+)*(?:(?:-X\s*|--request\s+)(?P<before>[A-Z]+)\s+)?(?:-[fsSLk]+\s+)*"
    r"(?P<url>https?://[\w.:/%?=@-]+)(?:\s+(?:-X\s*|--request\s+)(?P<behind>[A-Z]+))?"
)
_DOCKER = r"(?:/usr/(?:local/)?bin/)?docker(?P<compose>[ -]compose)?\s+"


def _signalled(target: Keys, found: re.Match[str], default: str = "TERM") -> Keys | None:
    name = found["signal"] or default
    action = f"SIG{_NUMBERS.get(name, name)}"
    return Keys((*target.entries, ("action", action))) if action in SIGNALS else None


def _process(found: re.Match[str]) -> Keys | None:
    return _signalled(Keys((("process", Keys((("name", found["name"]),), flow=True)),)), found)


def _cmdline(found: re.Match[str]) -> Keys | None:
    return _signalled(Keys((("process", Keys((("cmdline", found["pattern"]),), flow=True)),)), found)


def _pid_file(found: re.Match[str]) -> Keys | None:
    return _signalled(Keys((("pid_file", found["file"]),)), found)


def _nginx(found: re.Match[str]) -> Keys:
    return Keys((("process", Keys((("name", "nginx"),), flow=True)), ("action", _NGINX[found["how"]])))


def _container(found: re.Match[str]) -> Keys | None:
    kind = "service" if found["compose"] else "name"
    return _signalled(Keys((("container", Keys(((kind, found["name"]),), flow=True)),)), found, "KILL")


def _restarted(found: re.Match[str]) -> Keys:
    kind = "service" if found["compose"] else "name"
    return Keys((("container", Keys(((kind, found["name"]),), flow=True)), ("action", "restart")))


def _request(found: re.Match[str]) -> Keys | None:
    method = found["before"] or found["behind"] or "GET"
    url = found["url"]
    if method == "POST":
        return Keys((("http", url),))
    return Keys((("http", Keys((("url", url), ("method", method)), flow=True)),))


_FORMS: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], Keys | None]]] = tuple(
    (re.compile(pattern), target)
    for pattern, target in (
        (rf"{_PROGRAM}kill\s+{_SIGNAL}{_OPEN}(?:cat\s+|<\s*)(?P<file>{_WORD}){_CLOSE}", _pid_file),
        (rf"{_PROGRAM}kill\s+{_SIGNAL}{_OPEN}{_PIDOF}(?P<name>{_WORD}){_CLOSE}", _process),
        (rf"{_PROGRAM}kill\s+{_SIGNAL}{_OPEN}pgrep\s+-f\s+(?P<pattern>{_WORD}){_CLOSE}", _cmdline),
        (rf"{_PROGRAM}pkill\s+(?:-[xo]\s+)*{_SIGNAL}(?:-[xo]\s+)*(?P<name>{_WORD})", _process),
        (rf"{_PROGRAM}pkill\s+{_SIGNAL}-f\s+(?P<quote>['\"]?)(?P<pattern>[\w.@%+:/][\w.@%+:/ -]*)(?P=quote)", _cmdline),
        (rf"{_PROGRAM}pkill\s+-f\s+{_SIGNAL}(?P<quote>['\"]?)(?P<pattern>[\w.@%+:/][\w.@%+:/ -]*)(?P=quote)", _cmdline),
        (rf"{_PROGRAM}killall\s+(?:-q\s+)?{_SIGNAL}(?P<name>{_WORD})", _process),
        (rf"{_PROGRAM}nginx\s+-s\s+(?P<how>{'|'.join(_NGINX)})", _nginx),
        (rf"{_DOCKER}kill\s+{_SIGNAL}(?P<name>{_WORD})", _container),
        (rf"{_DOCKER}restart\s+(?P<name>{_WORD})", _restarted),
        (_CURL, _request),
    )
)


def _run(command: Command) -> Keys:
    script = command.script
    if script is None:
        words: Sequence[str] = command.words
    elif _NEEDS_SHELL.search(script):
        words = ("sh", "-c", script)
    else:
        words = script.split()
    return Keys((("command", tuple(words)), ("timeout", command.timeout)))
