"""The file formats: each writes values into its grammar, depending on their position."""

from functools import cache
from importlib import import_module
from typing import Protocol, cast

from lessee.core.errors import FormatError
from lessee.rendering.document import Document

_MODULES = {
    "dotenv": "lessee.rendering.formats.dotenv",
    "dotenv-node": "lessee.rendering.formats.dotenv_node",
    "dotenv-vite": "lessee.rendering.formats.dotenv_vite",
    "dotenv-compose": "lessee.rendering.formats.dotenv_compose",
    "dotenv-docker": "lessee.rendering.formats.dotenv_docker",
    "sh": "lessee.rendering.formats.sh",
    "systemd": "lessee.rendering.formats.systemd",
    "json": "lessee.rendering.formats.json_",
    "yaml": "lessee.rendering.formats.yaml_",
    "toml": "lessee.rendering.formats.toml_",
    "ini": "lessee.rendering.formats.ini",
    "ini-interpolation": "lessee.rendering.formats.ini_interpolation",
    "properties": "lessee.rendering.formats.properties",
    "xml": "lessee.rendering.formats.xml_",
    "nginx": "lessee.rendering.formats.nginx",
    "pgpass": "lessee.rendering.formats.pgpass",
    "text": "lessee.rendering.formats.text",
}

FORMATS = tuple(_MODULES)
"""The names of all formats."""


def write(document: Document, format: str) -> str:  # noqa: A002  # The configuration's word.
    """The text of the file: the author's structure, with each value as one literal.

    Only the author's text determines the structure: the result is parsed back before it is returned.
    Raises FormatError with the line of the rendered text and the value's origin, and never with the value.
    """
    return _module(format).write(document)


def outline(text: str, format: str) -> tuple[str, ...]:  # noqa: A002  # As above.
    """The structure of a file without its values, one entry per line. Empty for a format without structure.

    For dotenv these are the names of variables, for json and yaml paths such as `hosts[0].port: integer`.
    Raises FormatError if the text is not in that format.
    """
    return _module(format).outline(text)


class _Format(Protocol):
    def write(self, document: Document) -> str: ...

    def outline(self, text: str) -> tuple[str, ...]: ...


@cache
def _module(name: str) -> _Format:
    if name not in _MODULES:
        raise FormatError(f"unknown format {name!r}", todo=f"use one of {', '.join(FORMATS)}")
    # Imported when used, because importing PyYAML takes milliseconds.
    return cast("_Format", import_module(_MODULES[name]))
