"""Writes the man pages: lessee(1), one for each command, and lessee.yaml(5).

    make man                    # into build/man
    man build/man/lessee-run.1

All their text is that of `--help` and of the JSON Schema.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from lessee import __version__
from lessee.cli.command_tree import Argument, Command, command_tree, spelling
from lessee.cli.dispatch import whole_parser
from lessee.cli.options.shared import EXIT_CODES

HERE = Path(__file__).parent
_CHARACTERS = {
    "\\": "\\e",
    "-": "\\-",
    '"': "\\(dq",
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{EN DASH}": "\\-",
    "\N{RIGHTWARDS ARROW}": "\\->",
}
"""What acts on the formatter, or has another look in it, and what a terminal may lack."""
_ENVIRONMENT = {
    "LESSEE_CONFIG": "The configuration file, unless --config names one.",
    "LESSEE_LOG_LEVEL": "The lowest level to log, unless --log-level names one.",
    "LESSEE_LOG_FORMAT": "The format of the log, unless --log-format names one.",
    "NO_COLOR": "Without colors, if it is not empty.",
    "VAULT_ADDR": "The address of Vault, unless the configuration has one.",
    "VAULT_TOKEN": "The token of the commands for operators.",
}
_FILES = {
    "lessee.yaml": "The configuration in the current directory.",
    "/etc/lessee/lessee.yaml": "The configuration, without one in the current directory.",
}


def pages() -> dict[str, str]:
    """The pages by the names of their files."""
    root = command_tree(whole_parser())
    made = {"lessee.1": _overview(root), "lessee.yaml.5": _configuration()}
    return made | {f"lessee-{command.words[0]}.1": _page(command) for command in root.actions}


def main() -> None:
    """Write all pages into the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)
    print(f"{len(pages())} pages in {folder}")


def _overview(root: Command) -> str:
    examples = root.epilog.partition("\n\n")[0].partition("\n")[2]
    return _lines(
        _head("lessee", 1, "the sidecar that renders secrets from Vault or OpenBao to files"),
        [".SH SYNOPSIS", ".B lessee", ".I COMMAND", "[OPTION ...]"],
        [".SH DESCRIPTION", _text(" ".join(root.description.split()))],
        [".SH COMMANDS", *_terms((f"lessee\\-{one.words[0]}(1)", _sentence(one.summary)) for one in root.actions)],
        [".SH OPTIONS", *_arguments(root.options)],
        [".SH EXAMPLES", ".nf", *map(_text, examples.splitlines()), ".fi"],
        [".SH FILES", *_terms((_text(name), text) for name, text in _FILES.items())],
        [".SH ENVIRONMENT", *_terms((_text(name), text) for name, text in _ENVIRONMENT.items())],
        _exit_status(),
        _see_also("lessee.yaml(5)", *(f"lessee-{one.words[0]}(1)" for one in root.actions)),
    )


def _page(command: Command) -> str:
    name = f"lessee-{command.words[0]}"
    sections = [_head(name, 1, command.summary), [".SH SYNOPSIS"]]
    sections += ([".PP", *_synopsis(one)] for one in command.all())
    sections.append([".SH DESCRIPTION", _text(command.description), *_body(command)])
    for action in command.actions:
        title = " ".join(action.words).upper()
        sections.append([f'.SH "{_text(title)}"', _text(action.description), *_body(action)])
    return _lines(*sections, _exit_status(), _see_also("lessee(1)", "lessee.yaml(5)"))


def _synopsis(command: Command) -> Iterator[str]:
    yield f".B {_text(' '.join(('lessee', *command.words)))}"
    if command.words == ("exec",):
        yield "\\-\\-app APP [OPTION ...] \\-\\- CMD [ARG ...]"
        return
    yield "[OPTION ...]"
    if command.actions:
        yield "ACTION"
    yield from (_text(spelling(one)) for one in command.positionals)


def _body(command: Command) -> Iterator[str]:
    if command.actions:
        yield ".SS Actions"
        yield from _terms((_text(one.words[-1]), _sentence(one.summary)) for one in command.actions)
    if command.positionals:
        yield ".SS Arguments"
        yield from _arguments(command.positionals)
    yield ".SS Options"
    yield from _arguments(one for one in command.options if not one.group)
    for group in dict.fromkeys(one.group for one in command.options if one.group):
        yield f'.SS "{_text(_capital(group))}"'
        yield from _arguments(one for one in command.options if one.group == group)


def _arguments(arguments: Iterable[Argument]) -> Iterator[str]:
    for one in arguments:
        names = ", ".join(f"\\fB{_text(name)}\\fR" for name in one.names)
        values = f"\\fI{_text(spelling(one))}\\fR" if one.metavar else ""
        yield from _term(" ".join(filter(None, (names, values))), _sentence(one.help))


def _exit_status() -> list[str]:
    return [".SH EXIT STATUS", *_terms((str(code), _sentence(text)) for code, text in EXIT_CODES.items())]


def _see_also(*pages: str) -> list[str]:
    names = [page.partition("(") for page in pages]
    rows = [f".BR {_text(name)} ({section}{',' * (n < len(names))}" for n, (name, _, section) in enumerate(names, 1)]
    return [".SH SEE ALSO", *rows]


def _configuration() -> str:
    schema = json.loads(files("lessee").joinpath("lessee.schema.json").read_text(encoding="utf-8"))
    sections = [
        _head("lessee.yaml", 5, "the configuration of lessee"),
        [
            ".SH DESCRIPTION",
            _text(
                "The file is YAML. A text may have ${VARIABLE}, ${VARIABLE:-default} or ${VARIABLE:?message}. "
                "Keys that begin with x- are ignored."
            ),
            ".PP",
            _text("`lessee check` validates the file. `lessee check --schema` prints its JSON Schema, for editors."),
        ],
    ]
    for name, key in schema["properties"].items():
        sections.append([f".SH {_text(name.upper())}", *_key(name, key, schema["$defs"], ())])
    return _lines(*sections, _see_also("lessee(1)", "lessee-check(1)"))


def _key(path: str, key: Mapping[str, Any], blocks: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    """The key, and those below it. `above`: the blocks that it is in."""
    default = f" Default: {_plain(key['default'])}." if "default" in key and key["default"] is not None else ""
    words = [str(one) for form in _forms(key) for one in form.get("enum", ())]
    choices = f" One of: {', '.join(words)}." if words else ""
    text = f"{key.get('description', '')}{choices}{default}".strip() or f"{_plain(key['const'])}, for:"
    yield from _term(f"\\fB{_text(path)}\\fR", text)
    for form in _forms(key):
        suffix, inner = "", form
        while "$ref" not in inner and ("items" in inner or isinstance(inner.get("additionalProperties"), dict)):
            suffix += "[]" if "items" in inner else ".NAME"
            inner = inner["items"] if "items" in inner else inner["additionalProperties"]
        for one in _forms(inner):
            block = one.get("$ref", "").rpartition("/")[2]
            if block and block not in above:
                for name, below in blocks[block]["properties"].items():
                    yield from _key(f"{path}{suffix}.{name}", below, blocks, (*above, block))


def _forms(key: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a key may be, except null."""
    inner = key.get("anyOf") or key.get("oneOf")
    if inner is None or "properties" in key:
        if key.get("type") != "null":
            yield key
        return
    for one in inner:
        yield from _forms(one)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _head(name: str, section: int, summary: str) -> list[str]:
    title = f'.TH "{_text(name.upper())}" {section} "" "lessee {__version__}" "lessee"'
    return [title, ".nh", ".ad l", ".SH NAME", f"{_text(name)} \\- {_text(summary)}"]


def _terms(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in pairs:
        yield from _term(f"\\fB{term}\\fR", text)


def _term(term: str, text: str) -> list[str]:
    return [".TP", term, _text(text)]


def _sentence(text: str) -> str:
    return _capital(text).rstrip(".") + "."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _text(text: str) -> str:
    """The text, where no character acts on the formatter."""
    safe = "".join(_CHARACTERS.get(char, char) for char in text)
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe


def _lines(*sections: Iterable[str]) -> str:
    return "".join(f"{line}\n" for section in sections for line in section)


if __name__ == "__main__":
    main()
