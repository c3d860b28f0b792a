"""`lessee read`: prints files of one generation, for programs that cannot read through a directory descriptor."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from lessee.publishing.reader import read_generation


def run(arguments: argparse.Namespace) -> int:
    """Prints one file unchanged, several as one JSON object; prints nothing unless all files were read."""
    contents = read_generation(_directory(arguments), arguments.files, timeout=arguments.timeout)
    form = arguments.format or ("raw" if len(contents) == 1 else "json")
    whole = _json(contents) if form == "json" else b"".join(contents[name] for name in arguments.files)
    sys.stdout.buffer.write(whole)
    # Flushed here, so that a write error is reported.
    sys.stdout.buffer.flush()
    return 0


def _directory(arguments: argparse.Namespace) -> Path:
    if arguments.directory is not None:
        return Path(arguments.directory)
    # Imported here: an app's container has no configuration and passes --directory.
    from lessee.host.project import app_of, find, read

    environ = dict(os.environ)
    path = find(arguments.config, environ)
    return Path(app_of(read(path, environ), arguments.app, path).directory)


def _json(contents: Mapping[str, bytes]) -> bytes:
    import json

    return json.dumps({name: _text(content) for name, content in contents.items()}).encode() + b"\n"


def _text(content: bytes) -> object:
    try:
        return content.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        return {"base64": b64encode(content).decode()}
