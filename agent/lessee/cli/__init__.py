"""The command line: picks a command, and turns errors into exit codes."""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from lessee import __version__
from lessee.cli.options import operator, sidecar
from lessee.cli.options.shared import Parser
from lessee.core.errors import LesseeError, UsageError

_ABOUT = """\
A sidecar beside your app: it logs in to Vault or OpenBao, renders Jinja templates to files on tmpfs,
keeps them fresh, and signals the app. The app links no Vault library; it reads a file."""

_START = """\
start here:
  lessee demo                 see the main job on this machine, with a real OpenBao server
  lessee check                is lessee.yaml right? which secrets does it read? (asks no Vault)
  lessee render --output DIR  render once, to look at or for a build
  lessee run                  the sidecar
  lessee exec --app A -- CMD  the same, with the app as its child
  lessee setup --plan         for operators: what a server lacks; then validate, rotate, backup,
                              emergency, monitor, audit

The configuration is --config, $LESSEE_CONFIG, ./lessee.yaml or /etc/lessee/lessee.yaml.
exit codes: 64 usage, 65 template or archive, 69 Vault unreachable, 73 cannot write,
            75 app not notified, or not all done, 77 refused by Vault, 78 configuration"""


_SIDECAR = ("clean", "demo", "exec", "read", "refresh", "render", "run", "status")
_OPERATORS = ("audit", "backup", "mcp", "monitor", "rotate", "setup", "validate")
_MODULES = {
    **{name: f"lessee.cli.commands.{name}" for name in _SIDECAR},
    **{name: f"lessee.ops.{name}.command" for name in _OPERATORS},
    "check": "lessee.ops.lint.command",
    "emergency": "lessee.ops.incident.command",
    "import_": "lessee.ops.migrate.command",
}
"""Where the `run` of each command is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code is one of sysexits(3)."""
    # At the start a great deal is made and nothing thrown away: looking for garbage all the time costs a tenth of it.
    gc.disable()
    gc.set_threshold(20_000, 20, 50)
    try:
        words = sys.argv[1:] if argv is None else argv
        parser = _parser(words)
        arguments = parser.parse_args(words)
        if arguments.command is None:
            parser.print_help()
            return UsageError.exit_code
        run: Callable[[argparse.Namespace], int] = import_module(_MODULES[arguments.command]).run
        gc.freeze()
        gc.enable()
        return run(arguments)
    except LesseeError as exc:
        print(f"lessee: {exc}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output has seen enough; Python would complain once more at its own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as exc:  # noqa: BLE001  # A traceback prints locals' texts, which may hold values.
        print(f"lessee: internal error: {_last_place(exc)}; please report it", file=sys.stderr)
        return 70


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="lessee",
        description=_ABOUT,
        epilog=_START,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lessee {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def command(name: str, short: str, long: str = "", *, config: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=short,
            description=f"{short[0].upper()}{short[1:]}. {long}".strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if config:
            sub.add_argument("--config", metavar="FILE", help="the configuration file")
        return sub

    known = {**sidecar.COMMANDS, **operator.COMMANDS}
    # A sidecar's start does not pay for the options of all the others.
    for name in [word for word in words[:1] if word in known] or known:
        known[name](command)
    return parser


def _last_place(exc: BaseException) -> str:
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "nowhere"
    return f"{type(exc).__name__} at {place}"
