"""Translates the command of a template to the equivalent notification."""

import re
import shlex
from collections.abc import Callable, Sequence

from lessee.config import durations
from lessee.config.grammar.scalars import SIGNALS
from lessee.config.yaml_writer import Keys
from lessee.core.immutable import ImmutableStruct


class Command(ImmutableStruct, frozen=True):
    """The words of a command. A single word with spaces is a shell script. `timeout`: a duration of lessee.yaml."""

    words: tuple[str, ...]
    timeout: str = "30s"

    @property
    def script(self) -> str | None:
        """The shell script, if a shell runs the command."""
        match self.words:
            case [text] if len(text.split()) > 1:
                return text
            case [shell, "-c", text] if shell.rpartition("/")[2] in _SHELLS:
                return text
            case _:
                return None

    @property
    def program(self) -> str:
        """The name of what it runs: not that of a shell, of a wrapper or of an interpreter, if another is known."""
        words = list(self.words)
        if self.script is not None:
            try:
                words = shlex.split(self.script)
            except ValueError:  # A quote is not closed.
                words = self.script.split()
        while len(words) > 1 and (words[0].rpartition("/")[2] in _WRAPPERS or _ASSIGNMENT.match(words[0])):
            words = [word for word in words[1:] if not word.startswith("-")]
        name = words[0].rpartition("/")[2]
        if _INTERPRETER.fullmatch(name):
            rest = [word for word in words[1:] if not word.startswith("-") or word in _CODE]
            if rest and rest[0] not in _CODE:
                return rest[0].rstrip("/").rpartition("/")[2].partition(".")[0] or name
        return name

    @property
    def text(self) -> str:
        """The command as a shell script."""
        return self.script or shlex.join(self.words)


def notification(command: Command) -> Keys:
    """The value of `notify`: a signal or an HTTP request if the command does nothing else."""
    text = command.text.strip()
    while (shorter := _IGNORED_ENDING.sub("", text)) != text:
        text = shorter
    for pattern, translate in _PATTERNS:
        match = pattern.fullmatch(text)
        if match is not None and (keys := translate(match)) is not None:
            return keys
    return _run(command)


def run_all(commands: Sequence[Command]) -> Command:
    """One command that runs all of them in order, as the other agents do: one that fails does not stop the others.

    It fails with the exit code of the last one that fails. Its timeout is the sum of theirs.
    """
    timeout = sum(durations.seconds(command.timeout) for command in commands)
    texts = (
        shlex.join(("sh", "-c", command.text)) if _OPERATOR.search(command.text) else command.text
        for command in commands
    )
    script = "; ".join(("failed=0", *(f"{text} || failed=$?" for text in texts), "exit $failed"))
    return Command(("sh", "-c", script), durations.spell(timeout))


_WRAPPERS = frozenset({"dumb-init", "env", "exec", "nice", "nohup", "setsid", "tini"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_INTERPRETER = re.compile(r"(?:bun|java|node|perl|php|python|ruby)[0-9.]*")
_CODE = frozenset({"-c", "-e"})
"""Options of interpreters whose argument is the program's text."""
_SHELLS = frozenset({"sh", "bash", "ash", "dash"})
_IGNORED_ENDING = re.compile(r"\s*(?:\|\|\s*(?:true|:)|[12&]?>\s*/dev/null|2>&1|;)\s*\Z")
_OPERATOR = re.compile(r"[;&|#\\\n]|\A\s*(?:\.|cd|exec|exit|export|set|trap|umask|unset)\b")
"""What may also affect the commands after it in the same shell, or be affected by its `||`, as `set -e` is."""
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
    r"(?P<url>https?://[\w.:/%?=@-]+)(?:\s+(?:-X\s*|--request\s+)(?P<after>[A-Z]+))?"
)
_DOCKER = r"(?:/usr/(?:local/)?bin/)?docker(?P<compose>[ -]compose)?\s+"


def _with_signal(target: Keys, match: re.Match[str], default: str = "TERM") -> Keys | None:
    name = match["signal"] or default
    action = f"SIG{_NUMBERS.get(name, name)}"
    return Keys((*target.entries, ("action", action))) if action in SIGNALS else None


def _process(match: re.Match[str]) -> Keys | None:
    return _with_signal(Keys((("process", Keys((("name", match["name"]),), flow=True)),)), match)


def _cmdline(match: re.Match[str]) -> Keys | None:
    return _with_signal(Keys((("process", Keys((("cmdline", match["pattern"]),), flow=True)),)), match)


def _pid_file(match: re.Match[str]) -> Keys | None:
    return _with_signal(Keys((("pid_file", match["file"]),)), match)


def _nginx(match: re.Match[str]) -> Keys:
    return Keys((("process", Keys((("name", "nginx"),), flow=True)), ("action", _NGINX[match["signal"]])))


def _container(match: re.Match[str]) -> Keys | None:
    kind = "service" if match["compose"] else "name"
    return _with_signal(Keys((("container", Keys(((kind, match["name"]),), flow=True)),)), match, "KILL")


def _restart(match: re.Match[str]) -> Keys:
    kind = "service" if match["compose"] else "name"
    return Keys((("container", Keys(((kind, match["name"]),), flow=True)), ("action", "restart")))


def _request(match: re.Match[str]) -> Keys | None:
    method = match["before"] or match["after"] or "GET"
    url = match["url"]
    if method == "POST":
        return Keys((("http", url),))
    return Keys((("http", Keys((("url", url), ("method", method)), flow=True)),))


_PATTERNS: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], Keys | None]]] = tuple(
    (re.compile(pattern), translate)
    for pattern, translate in (
        (rf"{_PROGRAM}kill\s+{_SIGNAL}{_OPEN}(?:cat\s+|<\s*)(?P<file>{_WORD}){_CLOSE}", _pid_file),
        (rf"{_PROGRAM}kill\s+{_SIGNAL}{_OPEN}{_PIDOF}(?P<name>{_WORD}){_CLOSE}", _process),
        (rf"{_PROGRAM}kill\s+{_SIGNAL}{_OPEN}pgrep\s+-f\s+(?P<pattern>{_WORD}){_CLOSE}", _cmdline),
        (rf"{_PROGRAM}pkill\s+(?:-[xo]\s+)*{_SIGNAL}(?:-[xo]\s+)*(?P<name>{_WORD})", _process),
        (rf"{_PROGRAM}pkill\s+{_SIGNAL}-f\s+(?P<quote>['\"]?)(?P<pattern>[\w.@%+:/][\w.@%+:/ -]*)(?P=quote)", _cmdline),
        (rf"{_PROGRAM}pkill\s+-f\s+{_SIGNAL}(?P<quote>['\"]?)(?P<pattern>[\w.@%+:/][\w.@%+:/ -]*)(?P=quote)", _cmdline),
        (rf"{_PROGRAM}killall\s+(?:-q\s+)?{_SIGNAL}(?P<name>{_WORD})", _process),
        (rf"{_PROGRAM}nginx\s+-s\s+(?P<signal>{'|'.join(_NGINX)})", _nginx),
        (rf"{_DOCKER}kill\s+{_SIGNAL}(?P<name>{_WORD})", _container),
        (rf"{_DOCKER}restart\s+(?P<name>{_WORD})", _restart),
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
