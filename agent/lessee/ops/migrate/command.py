"""`lessee import`: converts the configuration of another agent to lessee.yaml and Jinja templates."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lessee.core.errors import ConfigError, LesseeError, TemplateError, WriteError
from lessee.core.source_text import Text
from lessee.host.progress import progress
from lessee.ops.migrate.policy.conversion import convert
from lessee.ops.migrate.policy.findings import Report


def run(arguments: argparse.Namespace) -> int:
    """0 if everything is carried over; else 65, with a message for each loss. The files are written in both cases."""
    source = Path(arguments.file)
    text = _read(source)
    if text is None:
        raise ConfigError([LesseeError("the file does not exist", where=str(source), todo="pass the file to import")])
    report = Report()
    with progress(quiet=arguments.quiet) as shown:
        shown.phase("reading templates")

        def load(name: str) -> Text | None:
            shown.advance()
            return _load_template(source.parent, name)

        files = convert(str(source), text, load, report, shown.track)
    if arguments.output is None:
        _print(files)
    else:
        _write(files, Path(arguments.output))
    for finding in report.findings:
        print(finding, file=sys.stderr)
    losses = sum(finding.is_loss for finding in report.findings)
    if losses:
        summary = f"{losses} item{'s' * (losses != 1)} not carried over; see the messages above, and TODO in the files"
        print(summary, file=sys.stderr)
    return TemplateError.exit_code if losses else 0


def _read(path: Path) -> str | None:
    try:
        # Without newline translation, since templates write their line ends unchanged.
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise ConfigError([LesseeError(f"the file cannot be read: {exc.strerror}", where=str(path))]) from None
    except (UnicodeDecodeError, ValueError):
        raise ConfigError([LesseeError("the file is not UTF-8 text", where=str(path))]) from None


def _load_template(folder: Path, name: str) -> Text | None:
    """A template by its path, or by its file name in the directory of the configuration."""
    for path in (folder / name, folder / name.lstrip("/"), folder / PurePosixPath(name).name):
        if _is_file(path) and (text := _read(path)) is not None:
            return Text(text, str(path), 1)
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # The name is too long, or a parent directory cannot be entered.
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
            raise WriteError("the output directory is not empty", where=str(folder), todo="pass another, or empty it")
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
            print(path)
    except OSError as exc:
        where = exc.filename or str(folder)
        raise WriteError(f"the file cannot be written: {exc.strerror}", where=where) from None
