"""`lessee upgrade-notes`: prints what changed since another version, from the changelog of this one."""

import argparse
import re
from importlib.resources import files

from lessee import __version__
from lessee.core.errors import UsageError
from lessee.host.console import escape_unknown, print_line

_HEADING = re.compile(r"^## \[?([^\]\s]+)\]?", re.MULTILINE)
_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+){0,3})")


def run(arguments: argparse.Namespace) -> int:
    """Print the sections of all later versions, the newest first. Raises UsageError."""
    changelog = files("lessee").joinpath("CHANGELOG.md").read_text(encoding="utf-8")
    escape_unknown()
    _check_known(changelog, arguments.version)
    notes = notes_since(changelog, arguments.version)
    print_line(notes or f"nothing changed between {arguments.version} and {__version__}")
    return 0


def _check_known(changelog: str, version: str) -> None:
    """Raise UsageError for a version that neither the changelog nor this program has."""
    known = [heading[1] for heading in _HEADING.finditer(changelog) if _VERSION.fullmatch(heading[1])]
    known = list(dict.fromkeys([*known, *([__version__] if _VERSION.fullmatch(__version__) else [])]))
    found = _VERSION.fullmatch(version)
    if found is not None and _numbers(found[1]) not in map(_numbers, known):
        todo = f"the known versions are {', '.join(known)}" if len(known) > 1 else f"the only one is {known[0]}"
        raise UsageError(f"lessee {__version__} knows no version {found[1][:20]}", where="FROM", todo=todo)


def notes_since(changelog: str, version: str) -> str:
    """The sections of a changelog that are later than this version; empty if none is. Raises UsageError."""
    found = _VERSION.fullmatch(version)
    headings = list(_HEADING.finditer(changelog))
    if found is None:
        known = ", ".join(heading[1] for heading in headings if _VERSION.fullmatch(heading[1]))
        raise UsageError("not a version", where="FROM", todo=f"name the one that you upgrade from, such as {known}")
    for heading in headings:
        number = _VERSION.fullmatch(heading[1])
        if number is not None and _numbers(number[1]) <= _numbers(found[1]):
            return changelog[headings[0].start() : heading.start()].strip()
    return changelog[headings[0].start() :].strip()


def _numbers(version: str) -> list[int]:
    """The numbers of a version, without zeros at its end: 1.0 is 1."""
    numbers = [int(number[:9]) for number in version.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers
