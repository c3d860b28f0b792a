"""Every command with its options, from the parser; and every exit code, from the errors."""

import argparse
import ast
import os
import re

from lessee.cli.dispatch import whole_parser
from lessee.cli.options.shared import EXIT_CODES
from support.paths import ROOT
from support.reference.markdown import code, page, table

_ABOUT = """
Every command, action and option of `lessee`, as `lessee COMMAND --help` prints them. With `--config FILE`, a command
reads that file. Without it, the first of `$LESSEE_CONFIG`, `./lessee.yaml` and `/etc/lessee/lessee.yaml` counts.
"""
_CODES = """
A program ends with one of these codes, those of `sysexits.h` where there is one. A command that watches a system, such
as `validate`, ends with 1 if it found a problem. `lessee exec` ends with the code of its child, or with 128 and the
number of the signal that ended it.
"""


def commands_page():
    """The page of all commands."""
    parts = []
    for name, command, summary in _commands(whole_parser()):
        parts += [f"## lessee {name}\n", f"{_sentence(command.description or summary)}\n", *_options(command)]
        for action, below, about in _commands(command):
            parts += [f"### lessee {name} {action}\n", f"{_sentence(below.description or about)}\n", *_options(below)]
    return page("Commands", _ABOUT, *parts)


def _commands(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {one.dest: one.help for one in action._choices_actions}
            for name, command in action.choices.items():
                yield name, command, summaries.get(name) or ""


def _options(command):
    """The usage of a command, and a table of its options."""
    # argparse's own text of the usage differs between versions of Python.
    formatter, words, rows = argparse.HelpFormatter(command.prog), [command.prog], []
    for action in command._actions:
        is_listed = not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
        if isinstance(action, argparse._SubParsersAction):
            words.append("ACTION" if action.required else "[ACTION]")
        elif is_listed and (not action.option_strings or action.required):
            words.append(_words(action).strip("`"))
        if is_listed and action.help != argparse.SUPPRESS and action.dest != "config":
            rows.append((_words(action), formatter._expand_help(action) if action.help else ""))
    yield f"```text\n{command.usage or ' '.join([*words, '[OPTION…]'])}\n```\n"
    if rows:
        yield table(("option", "meaning"), rows)


def _words(action):
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    value = " ".join(value) if isinstance(value, tuple) else value
    if not action.option_strings:
        return code(value)
    return code(", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {value}"))


def _sentence(text):
    text = " ".join(text.split())
    return text if text.endswith((".", "?")) else f"{text}."


def exit_codes_page():
    """The page of all exit codes."""
    found = {}
    for number, text in sorted(_error_codes()):
        found.setdefault(number, []).append(text)
    rows = [
        (str(number), _name(number), _sentence(meaning.capitalize()), " ".join(dict.fromkeys(found.get(number, ()))))
        for number, meaning in EXIT_CODES.items()
    ]
    return page("Exit codes", _CODES, table(("code", "name", "meaning", "errors"), rows))


def _name(number):
    return next((code(name) for name in sorted(dir(os)) if name.startswith("EX_") and getattr(os, name) == number), "")


def _error_codes():
    """The exit code of each class of errors, with the first sentence of what it says of itself."""
    classes = {}
    for file in sorted((ROOT / "agent/lessee").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, node)

    def number_of(value):
        if isinstance(value, ast.Constant):
            return value.value
        if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.attr == "exit_code":
            return number_of(_code(classes[value.value.id]))
        return None

    for node in classes.values():
        number = number_of(_code(node))
        if isinstance(number, int) and node.name != "LesseeError":
            text = " ".join((ast.get_docstring(node) or "").split())
            yield number, re.split(r"(?<=\.) ", text)[0]


def _code(node):
    assigned = [line for line in node.body if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)]
    return next((line.value for line in assigned if line.targets[0].id == "exit_code"), None)
