"""The programs that read an env file, and whether they agree on one."""

import re
from itertools import zip_longest

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.scan.policy.places import Kind, place_of
from lessee.rendering.formats.literals import Literal, literals


class Reader(ImmutableStruct, frozen=True):
    """A program that reads env files, or several that must agree on this one."""

    name: str
    """As `--reader` takes it; empty for the default."""
    title: str
    formats: tuple[str, ...]
    """The formats of lessee that it reads, of which the file is rendered in the first that all of them read right."""


READERS = {
    reader.name: reader
    for reader in (
        Reader("python-dotenv", "python-dotenv", ("dotenv",)),
        Reader("compose", "Docker Compose", ("dotenv-compose",)),
        Reader("node", "node --env-file and npm's dotenv", ("dotenv-node",)),
        Reader("vite", "Vite and Next", ("dotenv-vite",)),
        Reader("sh", "a shell", ("sh",)),
        Reader("systemd", "systemd", ("systemd",)),
        Reader("docker", "docker --env-file", ("dotenv-docker",)),
    )
}
"""By their names in `--reader`."""

DEFAULT = Reader("", "python-dotenv and Docker Compose", ("dotenv", "dotenv-compose"))
"""Without --reader: most env files are read by one of both."""


def variables_of(text: str, reader: Reader, source: str) -> tuple[Literal, ...]:
    """The variables that the reader finds. Raises FormatError with the line that it rejects, or reads in two ways."""
    first, *others = (_literals(text, one, reader, source) for one in reader.formats)
    for other in others:
        for mine, theirs in zip_longest(first, other):
            if mine is None or theirs is None or (mine.name, mine.atoms) != (theirs.name, theirs.atoms):
                one = mine if theirs is None or (mine is not None and mine.at <= theirs.at) else theirs
                assert one is not None
                what = f"python-dotenv and Docker Compose read {one.name or 'this line'} differently"
                raise FormatError(what, where=f"{source}:{line_of(text, one.at)}", todo=CHOOSE)
    return first


def is_env_file(name: str, text: str) -> bool:
    """Whether a file without --reader is an env file: by its name, or because each line sets a variable."""
    if name.lower().endswith(_OTHER_FILES):
        return False
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return place_of(name).kind is Kind.ENV or (bool(lines) and all(map(_SETS.match, lines)))


_OTHER_FILES = (".hcl", ".json", ".ctmpl", ".tpl", ".tmpl", ".yaml", ".yml")
"""The endings of what other agents read."""
_SETS = re.compile(r"\s*(?:export\s+)?[A-Za-z_]\w*=(?=\S|$)", re.ASCII)


def line_of(text: str, at: int) -> int:
    """The line of an index, from 1 on."""
    return text.count("\n", 0, at) + 1


CHOOSE = "name the program that reads the file: --reader python-dotenv, --reader compose, or another"


def _literals(text: str, format: str, reader: Reader, source: str) -> tuple[Literal, ...]:  # noqa: A002  # As there.
    try:
        return literals(text, format)
    except FormatError as exc:
        title = next(one.title for one in READERS.values() if one.formats == (format,))
        todo = CHOOSE if reader is DEFAULT else "correct the line, or pass another --reader"
        raise FormatError(f"{title} rejects the file: {exc.what}", where=f"{source}:{exc.where}", todo=todo) from None
