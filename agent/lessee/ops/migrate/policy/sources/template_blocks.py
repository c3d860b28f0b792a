"""A `template` block, which Vault Agent has from consul-template."""

import re
from collections.abc import Callable, Mapping
from posixpath import normpath

from lessee.core.hcl import Block
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.commands import Command
from lessee.ops.migrate.policy.plan import File, Template, Variable
from lessee.ops.migrate.policy.sources.settings import Aside, Settings

Read = Callable[[str], Text | None]
"""Gives a template's text by its path; None where it is not to be found."""


NO_MODE = ("it is no mode that lessee knows", 'write it as "0640"; "0644" is taken')
_MODE = "0644"
_OCTAL = re.compile("0?[0-7]{3}")
_ALL = 0o777


def file_of(block: Settings, read: Read, delimiters: tuple[str, str] = ("", "")) -> File | None:
    """The file that the block asks for; None, and told, where it cannot be had."""
    notes: list[str] = []
    block.keep_notes(notes)
    template = _template(block, read, delimiters)
    destination = block.string("destination")
    command = _command(block)
    mode, owner = _mode(block), _owner(block)
    block.close(_ASIDES)
    if template is None:
        return None
    if not destination or not destination.isprintable():
        block.lose("destination", "there is none, so nothing is rendered", "write where the file is to be")
        return None
    return File(template, normpath(destination), block.where("destination"), mode, owner, command, tuple(notes))


def variable_of(name: str, block: Settings, read: Read) -> Variable | None:
    """The variable of an `env_template` block."""
    template = _template(block, read, ("", ""))
    block.close(_ASIDES)
    return Variable(name, template, block.where()) if template is not None else None


def mode_of(said: str | float | None) -> str | None:
    """Four octal digits, of a text or of a number as HCL reads one with a zero in front; None for what is no mode."""
    match said:
        case None:
            return _MODE
        case str() if _OCTAL.fullmatch(said):
            return said.rjust(4, "0")
        case int() if 0 < said <= _ALL and not isinstance(said, bool):
            return f"{said:04o}"
        case _:
            return None


def owner_of(user: str, group: str) -> str | None:
    """`uid:gid`, or "" where nobody is named; None for names, which mean another number in each container."""
    user, group = ("0" if name == "root" else name for name in (user, group))
    if not user and not group:
        return ""
    return f"{user}:{group}".removesuffix(":") if user.isdigit() and (group.isdigit() or not group) else None


def not_in_numbers(user: str, group: str) -> tuple[str, str]:
    """What is to be told of such names."""
    return f"the owner {user or '-'}:{group or '-'} is not in numbers", 'write owner: "uid:gid"'


def _template(block: Settings, read: Read, delimiters: tuple[str, str]) -> Template | None:
    for key in _ALWAYS:
        block.value(key)
    contents, source = block.text("contents"), block.text("source")
    left, right = block.string("left_delimiter"), block.string("right_delimiter")
    if contents is None and source is not None:
        contents = read(source.value)
        if contents is None:
            todo = "put it beside the configuration, and import again"
            block.lose("source", f"the template {source.value} is not here", todo)
            return None
    if contents is None:
        block.lose("contents", "there is no template", "write contents or source")
        return None
    return Template(contents, left or delimiters[0], right or delimiters[1])


def _command(block: Settings) -> Command | None:
    timeout = block.duration("command_timeout")
    words = block.strings("command")
    inner = block.block("exec")
    if inner is not None:
        words = inner.strings("command") or words
        timeout = inner.duration("timeout") or timeout
        if not inner.flag("enabled", default=True):
            words = ()
        inner.close(_EXEC_ASIDES)
    words = tuple(word for word in words if word.strip()) if len(words) == 1 else words
    return Command(words, timeout if timeout not in {"", "0s"} else "30s") if words else None


def _mode(block: Settings) -> str:
    value = block.value("perms")
    mode = None if isinstance(value, tuple | Block) else mode_of(value.value if isinstance(value, Text) else value)
    if mode is None:
        block.lose("perms", *NO_MODE)
    return mode or _MODE


def _owner(block: Settings) -> str:
    user = block.string("uid") or block.string("user")
    group = block.string("gid") or block.string("group")
    owner = owner_of(user, group)
    if owner is None:
        key = "user" if block.value("user") is not None else "group"
        block.lose(key, *not_in_numbers(user, group))
    return owner or ""


_ALWAYS = ("create_dest_dirs", "error_on_missing_key")
"""What lessee does in any case."""

_ASIDES: Mapping[str, Aside] = {
    "backup": Aside(
        "there are no .bak files", "lessee keeps the files before, and goes back where an app is not ready"
    ),
    "error_fatal": Aside("a template's error leaves the old files in place", lost=False),
    "function_blacklist": Aside("templates reach Vault and the environment alone", lost=False),
    "function_denylist": Aside("templates reach Vault and the environment alone", lost=False),
    "sandbox_path": Aside("templates read no files", lost=False),
    "wait": Aside("there is nothing to wait for: all files of an app are published in one step", lost=False),
}
_EXEC_ASIDES: Mapping[str, Aside] = {
    "env": Aside("a command gets the agent's environment without VAULT_*, and LESSEE_APP and LESSEE_DIRECTORY"),
    "kill_signal": Aside("a command that takes too long is killed"),
    "kill_timeout": Aside("a command that takes too long is killed"),
    "reload_signal": Aside("a template's command ends, and is not told of anything"),
    "splay": Aside("a command runs at once"),
}
