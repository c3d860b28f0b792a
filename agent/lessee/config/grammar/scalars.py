"""Scalar types of lessee.yaml: how the agent parses each, and the pattern that editors check."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta

from lessee.config import durations
from lessee.core.immutable import ImmutableStruct

_LONGEST_NAME = 255  # NAME_MAX of Linux
_LONGEST_FILE_NAME = 1024  # A reader opens it below the app's directory by a path of PATH_MAX, 4096 bytes.
_MOST_ELEMENTS = 32
_OTHERS_WRITE = 0o002
_LAST_ID = 2**32 - 2  # chown(2) reads the last one as "do not change"
_YEAR = 366 * 86400.0

SIGNALS = (
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE",
    "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT",
    "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU",
    "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
)  # fmt: skip
"""The signals of signal(7) on x86 and ARM. The module `signal` has those of this machine, but the schema is for all."""


class Scalar(ImmutableStruct, frozen=True):
    """One scalar type.

    `parse` receives a text that matches `pattern`. It raises ValueError with a reason, which never contains the text.
    Python and ECMA-262 interpret the pattern in the same way.
    """

    expected: str
    pattern: str
    parse: Callable[[str], object] = str
    spell: Callable[[Any], object] = lambda default: default
    """Formats a default as the file has it."""
    type: str = "string"
    """The type's name in JSON Schema."""
    unquoted: str = "quote it"
    """What to do about a number, a date or a yes in place of a text."""
    choices: tuple[str, ...] = ()
    expands: bool = True
    """Whether `${…}` in the text is expanded."""

    def read(self, text: str) -> object:
        """Parse the text. Raises ValueError, with a reason if `expected` does not already say it."""
        if not re.fullmatch(self.pattern, text):
            raise ValueError
        return self.parse(text)


def choice(*choices: str) -> Scalar:
    """The scalar type that accepts only these texts."""
    names = ", ".join(f"`{name}`" for name in choices)
    return Scalar(
        f"one of {names}" if len(choices) > 1 else names,
        "|".join(map(re.escape, choices)),
        choices=choices,
        unquoted="",
    )


def scalar_of(kind: Any) -> Scalar:
    """The scalar type of one of this module's annotations."""
    return kind.__metadata__[0].extra["scalar"]  # type: ignore[no-any-return]  # msgspec's `extra` takes anything.


def _scalar(
    expected: str,
    pattern: str,
    parse: Callable[[str], object] = str,
    *,
    spell: Callable[[Any], object] = lambda default: default,
    type: str = "string",  # noqa: A002  # JSON Schema calls it so.
    unquoted: str | None = None,
    expands: bool = True,
) -> Meta:
    if unquoted is None:
        unquoted = "quote it" if type == "string" else ""
    return Meta(extra={"scalar": Scalar(expected, pattern, parse, spell, type, unquoted, expands=expands)})


def _span(least: float, most: float) -> Meta:
    def parse(text: str) -> float:
        value = durations.seconds(text)
        if value < least:
            raise ValueError(f"at least {durations.spell(least)}")
        if value > most:
            raise ValueError(f"at most {durations.spell(most)}")
        return value

    return _scalar(
        "a duration such as `500ms`, `30s`, `5m`, `24h` or `7d`",
        durations.PATTERN,
        parse,
        spell=durations.spell,
        unquoted="write its unit too, such as `30s`",
    )


def _elements(text: str) -> str:
    """Normalize a relative path: no slash at its beginning or end, and no empty element."""
    elements = text.removeprefix("/").removesuffix("/").split("/")
    if any(element in {"", ".", ".."} for element in elements):
        raise ValueError("without empty elements, `.` and `..`")
    return "/".join(elements)


def _auth_mount(text: str) -> str:
    """Without the `auth/` that Vault Agent's `mount_path` begins with."""
    return _elements(text.removeprefix("/").removeprefix("auth/"))


def _absolute(text: str) -> str:
    elements = [element for element in text.split("/") if element not in {"", "."}]
    if ".." in elements:
        raise ValueError("without `..`")
    return "/" + "/".join(elements)


def _template_path(text: str) -> str:
    return _absolute(text) if text.startswith("/") else _elements(text)


def _folder(text: str) -> str:
    return f"{_elements(text)}/" if text not in {"", "/"} else ""


def _shared(text: str) -> str:
    folder = _folder(text)
    if not folder:
        raise ValueError("below the root of the mount")
    return folder


def _file_name(text: str) -> str:
    """Normalize a name as Kubernetes does with the paths of a volume's items: `./tls//key.pem` is `tls/key.pem`."""
    elements = [element for element in text.split("/") if element not in {"", "."}]
    if any(len(element.encode()) > _LONGEST_NAME for element in elements):
        raise ValueError(f"at most {_LONGEST_NAME} bytes between slashes")
    if len(text.encode()) > _LONGEST_FILE_NAME or len(elements) > _MOST_ELEMENTS:
        raise ValueError(f"at most {_LONGEST_FILE_NAME} bytes and {_MOST_ELEMENTS} elements")
    return "/".join(elements)


def _owner(text: str) -> tuple[int | str, int | str | None]:
    user, _, group = text.partition(":")
    return _id(user), _id(group) if group else None


def _ids(text: str) -> tuple[int, int | None]:
    uid, _, gid = text.partition(":")
    if int(uid) > _LAST_ID or int(gid or 0) > _LAST_ID:
        raise ValueError(f"numbers up to {_LAST_ID}")
    return int(uid), int(gid) if gid else None


def _id(text: str) -> int | str:
    if not text.isdecimal():
        return text
    if int(text) > _LAST_ID:
        raise ValueError(f"numbers up to {_LAST_ID}")
    return int(text)


def _mode(text: str) -> int:
    mode = int(text, 8)
    if mode & _OTHERS_WRITE:
        raise ValueError("without write permission for others")
    return mode


def _uid(text: str) -> int:
    if int(text) > _LAST_ID:
        raise ValueError(f"at most {_LAST_ID}")
    return int(text)


def _cidr(text: str) -> str:
    # Imported on use: no sidecar has a CIDR.
    from ipaddress import ip_network  # noqa: PLC0415

    return str(ip_network(text, strict=False))


def _env_value(text: str) -> str:
    if "ref+" in text:
        # Imported on use: few configurations have a reference.
        from lessee.core.inline_references import InlineReferenceError, split  # noqa: PLC0415

        try:
            split(text)
        except InlineReferenceError as exc:
            raise ValueError(f"but {exc.what}: {exc.todo}") from None
    return text


def _database_url(text: str) -> str:
    user, at, _ = text.rpartition("://")[2].partition("@")
    given = {user.partition(":")[2]} if at else set()
    given |= set(re.findall(r"(?i)\b(?:password|pwd)=([^&;\s]*)", text))
    if given - {"", "{{password}}"}:
        raise ValueError("without a password: Vault fills it in for {{password}}")
    return text


def _address(text: str) -> str:
    return text.removesuffix("/")


def _listener(text: str) -> str:
    return _absolute(text) if text.startswith("/") else text


def _action(text: str) -> str:
    return text if text == "restart" else f"SIG{text.removeprefix('SIG')}"


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as exc:
        raise ValueError(f"found an invalid one: {exc.msg} at position {exc.pos}") from None
    return text


_PRINTED = r"[^\x00-\x1f\x7f]+"
_COMPONENT = r"(?!\.$|\.\.)"  # Stays in its directory and cannot be `..data`.
_ELEMENTS = r"[^\x00-\x1f\x7f{}*]+"  # In a policy `*` matches more than one path.
_FOLDER = (
    "a Vault path prefix, in which `{environment}` is the only placeholder",
    r"(?:[^\x00-\x1f\x7f{}*]|\{environment\})*",
)
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)"
_TIME = r"(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)"
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)"
_PORT = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"

Text = Annotated[str, _scalar("a text", r"[^\x00]+")]
Pattern = Annotated[str, _scalar("a regular expression", r"[^\x00]+", _pattern)]
Name = Annotated[
    str,
    _scalar("a name of letters, digits, `_`, `.` and `-`", rf"{_COMPONENT}[A-Za-z0-9_.-]{{1,{_LONGEST_NAME}}}"),
]
Variable = Annotated[str, _scalar("the name of an environment variable", r"[A-Za-z_][A-Za-z0-9_]*")]
FilePath = Annotated[str, _scalar("the path of a file", _PRINTED)]
AbsolutePath = Annotated[str, _scalar("an absolute path", rf"(?=/){_PRINTED}", _absolute)]
TemplatePath = Annotated[str, _scalar("the path of a template in template_dir", _PRINTED, _template_path)]
TemplateText = Annotated[str, _scalar("the text of a template", r"[^\x00]*", expands=False)]
EnvValue = Annotated[
    str,
    _scalar(
        "a text, in which references are such as `ref+openbao://database/postgres#password`", r"[^\x00]*", _env_value
    ),
]
FileName = Annotated[
    str,
    _scalar(
        "a file name such as `app.env` or `tls/server.pem`, with no element that begins with `..`",
        rf"(?:(?!\.\.)[^/\x00-\x1f\x7f]+/+)*{_COMPONENT}[^/\x00-\x1f\x7f]+",
        _file_name,
    ),
]
UserName = Annotated[str, _scalar("a user name, without `/`", rf"{_COMPONENT}[^/\x00-\x1f\x7f]+")]
Mode = Annotated[
    int,
    _scalar(
        'a mode such as "0440"',
        r"0?[0-7]{3}",
        _mode,
        unquoted='quote it, as in "0440": YAML reads an unquoted mode as a number',
    ),
]
_USER = r"(?:[0-9]{1,10}|[A-Za-z_][A-Za-z0-9_.-]{0,31})"
_QUOTED_OWNER = 'quote it, as in "0:1000": YAML may read it as a number in base 60'
Owner = Annotated[
    tuple[int | str, int | str | None],
    _scalar(
        'an owner, "uid:gid", "user:group", "uid" or "user"',
        rf"{_USER}(?::{_USER})?",
        _owner,
        unquoted=_QUOTED_OWNER,
    ),
]
Ids = Annotated[
    tuple[int, int | None],
    _scalar('a numeric owner, "uid:gid" or "uid"', r"[0-9]{1,10}(?::[0-9]{1,10})?", _ids, unquoted=_QUOTED_OWNER),
]
_UNNAMED_USER = "write the number without quotes; `id -u NAME` prints it"
Uid = Annotated[
    int,
    _scalar("a uid in numbers, such as 1000", r"0|[1-9][0-9]{0,9}", _uid, type="integer", unquoted=_UNNAMED_USER),
]
Unit = Annotated[
    str,
    _scalar(
        "the name of a unit, such as `web.service`",
        r"[A-Za-z0-9:_.\\@-]{1,247}\.(?:service|socket|mount|swap)",
    ),
]
Action = Annotated[
    str,
    _scalar(
        "a signal such as `SIGHUP`, or `restart`",
        f"restart|(?:SIG)?(?:{'|'.join(name[3:] for name in SIGNALS)})",
        _action,
    ),
]
Signal = Annotated[
    str,
    _scalar("a signal such as `SIGTERM`", f"(?:SIG)?(?:{'|'.join(name[3:] for name in SIGNALS)})", _action),
]
TimeWindow = Annotated[
    str,
    _scalar(
        "a time of day such as `02:00-04:00`, optionally with days: `sat,sun 00:00-06:00`",
        rf"(?:{_DAY}(?:[,-]{_DAY})* +)?{_TIME}-{_TIME}",
    ),
]
Duration = Annotated[float, _span(0.0, 10 * _YEAR)]
Timeout = Annotated[float, _span(0.1, _YEAR)]
Lifetime = Annotated[float, _span(1.0, 30 * _YEAR)]
RefreshInterval = Annotated[float, _span(0.1, 86400.0)]
HeartbeatInterval = Annotated[float, _span(0.1, 10.0)]
MountPath = Annotated[str, _scalar("a mount path", _ELEMENTS, _elements)]
AuthMountPath = Annotated[str, _scalar("a mount path", _ELEMENTS, _auth_mount)]
SecretPath = Annotated[str, _scalar("a secret path", _ELEMENTS, _elements)]
Prefix = Annotated[str, _scalar(*_FOLDER, _folder)]
SharedFolder = Annotated[str, _scalar(*_FOLDER, _shared)]
VaultAddress = Annotated[
    str,
    _scalar(
        "an address such as `https://vault:8200`, without user and query",
        rf"https?://{_HOST}(?::{_PORT})?(?:/[A-Za-z0-9_.~%/-]*)?",
        _address,
    ),
]
MetadataAddress = Annotated[
    str,
    _scalar(
        "an address such as `http://169.254.169.254`, without user, path and query",
        rf"https?://{_HOST}(?::{_PORT})?/?",
        _address,
    ),
]
HttpUrl = Annotated[str, _scalar("an `http://` or `https://` URL", r"https?://\S+")]
MailAddress = Annotated[str, _scalar("an email address", r"[^\s@<>,;:\\]+@[A-Za-z0-9.-]+")]
StatusAddress = Annotated[
    str, _scalar("the absolute path of a status socket, or a URL", r"https?://\S+|/[^\x00-\x1f\x7f]+")
]
TimeZone = Annotated[str, _scalar("a time zone such as `Europe/Berlin`", r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")]
HttpMethod = Annotated[str, _scalar("an HTTP method such as `POST`", r"[A-Z]+")]
HttpHeader = Annotated[str, _scalar("the name of an HTTP header", r"[A-Za-z0-9-]+")]
RedisUrl = Annotated[str, _scalar("a URL such as `redis://redis:6379/0`", r"rediss?://\S+")]
PublishUrl = Annotated[
    str,
    _scalar(
        "a URL such as `redis://redis:6379/0`, `http://…` or `unix:///run/lessee/events.sock`",
        r"(?:rediss?|https?)://\S+|unix:///[^\x00-\x1f\x7f]+",
    ),
]
BucketName = Annotated[str, _scalar("a bucket name", r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")]
KeyPrefix = Annotated[str, _scalar("a key prefix in S3", r"[A-Za-z0-9!_.*'()/-]*")]
AgeRecipient = Annotated[str, _scalar("an age recipient (a public key `age1…`)", r"age1[02-9ac-hj-np-z]{58}")]
SshKey = Annotated[
    str,
    _scalar(
        "an SSH public key `ssh-ed25519 AAAA…`",
        # 51 bytes in base64 that begin with the type and the key's length: RFC 8709, section 4.
        r"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}(?: [^\x00-\x1f\x7f]*)?",
    ),
]
Label = Annotated[str, _scalar("a label `KEY=VALUE`", r"[^\x00-\x1f\x7f=\s]+=[^\x00-\x1f\x7f]*")]
ServiceUnit = Annotated[str, _scalar("a unit of systemd such as `web.service`", r"[A-Za-z0-9:_.\\@-]{1,247}\.service")]
HostPort = Annotated[str, _scalar("`host:port`", f"{_HOST}:{_PORT}")]
AuditSocket = Annotated[str, _scalar("`host:port` or an absolute path", rf"{_HOST}:{_PORT}|(?=/){_PRINTED}", _listener)]
HostName = Annotated[str, _scalar("a host name, without a port", r"[A-Za-z0-9_.-]+", str.lower)]
Cidr = Annotated[str, _scalar("an address or a network such as `10.0.0.0/8`", r"[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?", _cidr)]
SubFolder = Annotated[
    str, _scalar("a path prefix below the environment's, or an empty text", r"[^\x00-\x1f\x7f{}*+]*", _folder)
]
EnvironmentMount = Annotated[
    str,
    _scalar(
        "a mount path that begins with {environment}/, so that environments never share a mount",
        r"\{environment\}/[^\x00-\x1f\x7f{}*+]+",
        _elements,
    ),
]
VariableTemplate = Annotated[
    str,
    _scalar(
        "the name of an environment variable, in which {environment} is replaced",
        r"(?:[A-Za-z_]|\{environment\})(?:[A-Za-z0-9_]|\{environment\})*",
    ),
]
DatabaseUrl = Annotated[
    str, _scalar("a URL such as `postgresql://{{username}}:{{password}}@db/app`", r"\S+", _database_url)
]
Number = Annotated[int, _scalar("an integer", r"0|[1-9][0-9]{0,8}", int, type="integer")]
Count = Annotated[int, _scalar("an integer above 0", r"[1-9][0-9]{0,8}", int, type="integer")]
Boolean = Annotated[
    bool,
    _scalar(
        "true or false",
        r"true|false|True|False|TRUE|FALSE|yes|no|Yes|No|YES|NO|on|off|On|Off|ON|OFF",
        lambda text: text.lower() in {"true", "yes", "on"},
        type="boolean",
    ),
]
OnlyTrue = Annotated[bool, _scalar("true", r"true|True|TRUE", bool, type="boolean")]
