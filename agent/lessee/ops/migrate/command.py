"""`lessee import`: what other agents are configured by, as lessee.yaml and templates."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lessee.core.errors import ConfigError, LesseeError, TemplateError, WriteError
from lessee.core.source_text import Text
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report


def run(arguments: argparse.Namespace) -> int:
    """0 where all is carried over; 65 where something is not, which is told, and written all the same."""
    source = Path(arguments.file)
    text = _read(source)
    if text is None:
        raise ConfigError([LesseeError("there is no such file", where=str(source), todo="name the file to import")])
    report = Report()
    files = convert(str(source), text, lambda name: _template(source.parent, name), report)
    if arguments.output is None:
        _print(files)
    else:
        _write(files, Path(arguments.output))
    for finding in report.findings:
        print(finding, file=sys.stderr)
    lost = sum(finding.lost for finding in report.findings)
    if lost:
        print(f"{lost} thing{'s' * (lost != 1)} not carried over: see above, and TODO in the files", file=sys.stderr)
    return TemplateError.exit_code if lost else 0


def _read(path: Path) -> str | None:
    try:
        # Line ends as they are: a template writes them.
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise ConfigError([LesseeError(f"cannot be read: {exc.strerror}", where=str(path))]) from None
    except (UnicodeDecodeError, ValueError):
        raise ConfigError([LesseeError("is not UTF-8 text", where=str(path))]) from None


def _template(folder: Path, name: str) -> Text | None:
    """A template that a configuration names: where it says, or beside the configuration."""
    for path in (folder / name, folder / name.lstrip("/"), folder / PurePosixPath(name).name):
        if _is_file(path) and (text := _read(path)) is not None:
            return Text(text, str(path), 1)
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # Its name is too long, or a folder on the way is closed.
        return False


def _print(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        print(f"==> {name} <==")
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        print()


def _write(files: Mapping[str, str], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise WriteError("the folder is not empty", where=str(folder), todo="name another, or empty it")
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
            print(path)
    except OSError as exc:
        raise WriteError(f"cannot be written: {exc.strerror}", where=exc.filename or str(folder)) from None
