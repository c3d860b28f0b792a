"""Parses the arguments, runs the command, and turns errors into exit codes."""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from lessee import __version__
from lessee.cli.command_table import COMMANDS
from lessee.cli.options.shared import EXIT_CODES, Parser, add_config, exit_codes
from lessee.core.errors import LesseeError, UsageError
from lessee.core.printable import spelled_out
from lessee.host.console import protect_terminal

_ABOUT = """\
A sidecar for your app: it logs in to Vault or OpenBao, renders Jinja templates to files on tmpfs,
keeps them fresh, and notifies the app. The app needs no Vault library; it reads a file."""

_START = """\
start here:
  lessee demo                 run the whole path on this machine, with a real OpenBao server
  lessee dev                  run a server for development that keeps its secrets
  lessee check                validate lessee.yaml, and list the secrets it reads (contacts no Vault)
  lessee render --output DIR  render once, to inspect the files or for a build
  lessee run                  run the sidecar
  lessee exec --app A -- CMD  run the sidecar with the app as its child process
  lessee setup --plan         for operators: print what a server lacks; then validate, rotate,
                              backup, emergency, drill, monitor, audit

The configuration file is the first of --config, $LESSEE_CONFIG, ./lessee.yaml and /etc/lessee/lessee.yaml.

exit codes:"""

_INTERNAL_ERROR = 70
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def run_command(argv: Sequence[str] | None) -> int:
    """Run the command of these arguments, or of the process's own; returns the exit code."""
    try:
        words = sys.argv[1:] if argv is None else argv
        parser = _parser(words)
        arguments = parser.parse_args(words)
        if arguments.command is None:
            parser.print_help()
            return UsageError.exit_code
        run: Callable[[argparse.Namespace], int] = import_module(COMMANDS[arguments.command].module).run
        # The collector examines nothing of what was allocated until now.
        gc.freeze()
        gc.enable()
        protect_terminal()
        return run(arguments)
    except LesseeError as exc:
        print(spelled_out(f"lessee: {exc}", keep="\n"), file=sys.stderr)
        _print_hint(str(exc))
        return exc.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader closed our output. Python would fail again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as exc:  # noqa: BLE001  # A traceback prints locals' texts, which may hold values.
        print(f"lessee: internal error: {_origin(exc)}; please report it", file=sys.stderr)
        return _INTERNAL_ERROR


def whole_parser() -> Parser:
    """The parser of all commands."""
    return _parser(())


def _parser(words: Sequence[str]) -> Parser:
    parser = Parser(
        prog="lessee",
        description=_ABOUT,
        epilog=_START + "".join(f"\n  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lessee {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def add_command(name: str, summary: str, details: str = "", *, config: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}. {details}".strip(),
            epilog=exit_codes(),
            allow_abbrev=False,
        )
        if config:
            add_config(command)
        return command

    # The start of a sidecar does not pay for the options of all other commands.
    for name in [word for word in words[:1] if word in COMMANDS] or COMMANDS:
        COMMANDS[name].add_options(add_command)
    return parser


def _print_hint(error: str) -> None:
    from lessee.cli.dev_hint import dev_hint

    if hint := dev_hint(error):
        print(hint, file=sys.stderr)


def _origin(exc: BaseException) -> str:
    """The error's type, and the file and line that raised it."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "an unknown place"
    return f"{type(exc).__name__} at {place}"
