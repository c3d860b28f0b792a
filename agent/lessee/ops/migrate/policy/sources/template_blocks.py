"""Reads `template` and `env_template` blocks, which Vault Agent and consul-template share."""

import re
from collections.abc import Callable, Mapping
from posixpath import normpath

from lessee.core.hcl import Block
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.commands import Command
from lessee.ops.migrate.policy.imported_config import File, Template, Variable
from lessee.ops.migrate.policy.sources.settings import Settings, UnusedKey

TemplateLoader = Callable[[str], Text | None]
"""Returns a template's text by its path; None if it cannot be found."""


INVALID_MODE = ("invalid file mode", 'write, for example, "0640"; the import assumes "0644"')
_DEFAULT_MODE = "0644"
_OCTAL = re.compile("0?[0-7]{3}")
_MAX_MODE = 0o777


def file_of(block: Settings, load_template: TemplateLoader, delimiters: tuple[str, str] = ("", "")) -> File | None:
    """The file of a `template` block; None if it cannot be imported, which is reported."""
    comments: list[str] = []
    block.with_comments(comments)
    template = _template(block, load_template, delimiters)
    destination = block.string("destination")
    command = _command(block)
    mode, owner = _mode(block), _owner(block)
    block.report_unused(_UNUSED_KEYS)
    if template is None:
        return None
    if not destination or not destination.isprintable():
        block.add_loss("destination", "it is missing or invalid, so nothing is rendered", "write the file's path")
        return None
    return File(template, normpath(destination), block.where("destination"), mode, owner, command, tuple(comments))


def variable_of(name: str, block: Settings, load_template: TemplateLoader) -> Variable | None:
    """The variable of an `env_template` block."""
    template = _template(block, load_template, ("", ""))
    block.report_unused(_UNUSED_KEYS)
    return Variable(name, template) if template is not None else None


def mode_of(value: str | float | None) -> str | None:
    """A mode as four octal digits; HCL reads 0640 as an octal number. None for an invalid mode."""
    match value:
        case None:
            return _DEFAULT_MODE
        case str() if _OCTAL.fullmatch(value):
            return value.rjust(4, "0")
        case int() if 0 < value <= _MAX_MODE and not isinstance(value, bool):
            return f"{value:04o}"
        case _:
            return None


def owner_of(user: str, group: str) -> str | None:
    """`uid:gid`; empty without either. None for names, whose numbers differ between containers."""
    user, group = ("0" if name == "root" else name for name in (user, group))
    if not user and not group:
        return ""
    return f"{user}:{group}".removesuffix(":") if user.isdigit() and (group.isdigit() or not group) else None


def named_owner(user: str, group: str) -> tuple[str, str]:
    """The message for an owner that is not numeric."""
    return f"the owner {user or '-'}:{group or '-'} is not numeric", 'write owner: "uid:gid"'


def missing_template(path: str) -> tuple[str, str]:
    """The message for a template that is not where the import looks for it."""
    todo = "put it into the directory of the configuration, and run the import again"
    return f"the template {path} cannot be found", todo


def _template(block: Settings, load_template: TemplateLoader, delimiters: tuple[str, str]) -> Template | None:
    for key in _ALWAYS_ON:
        block.value(key)
    contents, source = block.text("contents"), block.text("source")
    left, right = block.string("left_delimiter"), block.string("right_delimiter")
    if contents is None and source is not None:
        contents = load_template(source.value)
        if contents is None:
            block.add_loss("source", *missing_template(source.value))
            return Template(Text("", block.source, block.line_of("source"), is_multiline=False), missing=source.value)
    if contents is None:
        block.add_loss("contents", "the block has no template", "write contents or source")
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
        inner.report_unused(_UNUSED_EXEC_KEYS)
    words = tuple(word for word in words if word.strip()) if len(words) == 1 else words
    return Command(words, timeout if timeout not in {"", "0s"} else "30s") if words else None


def _mode(block: Settings) -> str:
    value = block.value("perms")
    mode = None if isinstance(value, tuple | Block) else mode_of(value.value if isinstance(value, Text) else value)
    if mode is None:
        block.add_loss("perms", *INVALID_MODE)
    return mode or _DEFAULT_MODE


def _owner(block: Settings) -> str:
    user = block.string("uid") or block.string("user")
    group = block.string("gid") or block.string("group")
    owner = owner_of(user, group)
    if owner is None:
        key = "user" if block.value("user") is not None else "group"
        block.add_loss(key, *named_owner(user, group))
    return owner or ""


_ALWAYS_ON = ("create_dest_dirs", "error_on_missing_key")
"""Keys whose behavior lessee always has."""

_UNUSED_KEYS: Mapping[str, UnusedKey] = {
    "backup": UnusedKey(
        "lessee writes no .bak files", "it keeps the previous generation, and rolls back if an app is not ready"
    ),
    "error_fatal": UnusedKey("an error in a template does not change the existing files", is_loss=False),
    "function_blacklist": UnusedKey("templates can only read Vault and the environment", is_loss=False),
    "function_denylist": UnusedKey("templates can only read Vault and the environment", is_loss=False),
    "sandbox_path": UnusedKey("templates cannot read files", is_loss=False),
    "wait": UnusedKey("not needed: lessee publishes all files of an app in one step", is_loss=False),
}
_UNUSED_EXEC_KEYS: Mapping[str, UnusedKey] = {
    "env": UnusedKey("a command gets the agent's environment without VAULT_*, and LESSEE_APP and LESSEE_DIRECTORY"),
    "kill_signal": UnusedKey("lessee kills a command after its timeout with SIGKILL"),
    "kill_timeout": UnusedKey("lessee kills a command after its timeout with SIGKILL"),
    "reload_signal": UnusedKey("the command of a template is not a service that can be signaled"),
    "splay": UnusedKey("lessee runs a command immediately"),
}
