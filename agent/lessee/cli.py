"""The command line: picks a command, and turns errors into exit codes."""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from lessee import __version__
from lessee.core.errors import LesseeError, UsageError

_ABOUT = """\
A sidecar beside your app: it logs in to Vault or OpenBao, renders Jinja templates to files on tmpfs,
keeps them fresh, and signals the app. The app links no Vault library; it reads a file."""

_START = """\
start here:
  lessee demo                 see the main job on this machine, with a real OpenBao server
  lessee check                is lessee.yaml right? which secrets does it read? (asks no Vault)
  lessee render --output DIR  render once, to look at or for a build
  lessee validate             does the environment work? connects to all of it
  lessee run                  the sidecar
  lessee exec --app A -- CMD  the same, with the app as its child

The configuration is --config, $LESSEE_CONFIG, ./lessee.yaml or /etc/lessee/lessee.yaml.
exit codes: 64 usage, 65 template or archive, 69 Vault unreachable, 73 cannot write, 75 app not notified, or not
            all done, 77 refused by Vault, 78 configuration"""


_LEVELS = ("debug", "info", "warning", "error")
_FORMS = ("text", "json")
_REPORTS = ("text", "json", "sarif", "github")
_VALIDATIONS = ("text", "json", "yaml", "junit")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code is one of sysexits(3)."""
    # At the start a great deal is made and nothing thrown away: looking for garbage all the time costs a tenth of it.
    gc.set_threshold(20_000, 20, 50)
    try:
        parser = _parser()
        arguments = parser.parse_args(argv)
        if arguments.command is None:
            parser.print_help()
            return UsageError.exit_code
        run: Callable[[argparse.Namespace], int] = import_module(f"lessee.commands.{arguments.command}").run
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, todo=f"see `{self.prog} --help`")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lessee",
        description=_ABOUT,
        epilog=_START,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lessee {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

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

    _add_run(command)
    _add_exec(command)
    _add_render(command)
    _add_read(command)
    _add_check(command)
    _add_validate(command)
    _add_import(command)
    _add_setup(command)
    _add_emergency(command)
    _add_backup(command)
    status = command("status", "ask a running agent how it is", "Values are never told.")
    status.add_argument("--json", action="store_true", help="as status.json")
    status.add_argument("--socket", metavar="FILE", help="the agent's socket, instead of its configuration")
    refresh = command("refresh", "tell a running agent to look now", "Without PATH it looks at everything.")
    refresh.add_argument("paths", nargs="*", metavar="PATH", help="a secret, such as database/postgres")
    refresh.add_argument("--socket", metavar="FILE", help="the agent's socket, instead of its configuration")
    demo = command(
        "demo",
        "show the main job on this machine, in a minute",
        "A real OpenBao server, a real agent and\nan app that catches SIGHUP are started, and all traces are removed.",
        config=False,
    )
    demo.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    return parser


def _add_run(command: Callable[..., argparse.ArgumentParser]) -> None:
    run = command(
        "run",
        "the sidecar: log in, render, watch, renew, notify, until stopped",
        "It waits for Vault as long as\nit takes. SIGTERM ends it and leaves the files; SIGHUP reads the file again.",
    )
    run.add_argument("--revoke", action="store_true", help="when stopped, revoke all leases and the token")
    _add_logging(run)


def _add_exec(command: Callable[..., argparse.ArgumentParser]) -> None:
    program = command(
        "exec",
        "the sidecar with the app as its child, with `environ` as its environment",
        "Signals are sent on to\nthe child. It ends as the child does: with its exit code, or 128 + n by signal n.",
    )
    program.usage = "lessee exec --app APP [OPTION…] -- CMD [ARG…]"
    program.add_argument("--app", metavar="APP", required=True, help="the app that CMD is")
    program.add_argument("--timeout", type=_duration, default=60.0, metavar="TIME", help="wait for Vault (60s)")
    program.add_argument("--once", action="store_true", help="become CMD when the files are there: no agent stays")
    program.add_argument("program", nargs="+", metavar="CMD", help="what to run, and its arguments")
    _add_logging(program)


def _add_render(command: Callable[..., argparse.ArgumentParser]) -> None:
    render = command(
        "render",
        "render once and end",
        "Without --output it publishes where `run` would, and tells the app.\n"
        "--diff shows the names in the files, also those that a secret gives.",
    )
    render.add_argument("--app", metavar="APP", help="this app alone")
    where = render.add_mutually_exclusive_group()
    where.add_argument("--output", metavar="DIR", help="write DIR/APP/NAME (with --app DIR/NAME), and tell nobody")
    where.add_argument("--diff", action="store_true", help="write nothing: show the names that would change")
    render.add_argument("--timeout", type=_duration, default=10.0, metavar="TIME", help="wait for Vault (10s)")
    _add_logging(render)


def _add_read(command: Callable[..., argparse.ArgumentParser]) -> None:
    read = command(
        "read",
        "print an app's files, all of one generation",
        "One file is printed as it is, several as\none JSON object. With --directory it needs no configuration.",
    )
    read.add_argument("app", metavar="APP", help="whose files they are")
    read.add_argument("files", nargs="+", metavar="FILE", help="their names")
    read.add_argument("--directory", metavar="DIR", help="where they are, instead of the configuration")
    read.add_argument("--format", choices=("raw", "json"), help="raw (of one file), or json (of several)")
    read.add_argument("--timeout", type=_duration, default=0.0, metavar="TIME", help="wait for the first files (0s)")


def _add_check(command: Callable[..., argparse.ArgumentParser]) -> None:
    check = command(
        "check",
        "check the configuration and the templates, without Vault",
        "It tells all that is wrong\nat once, and lists the secrets that each app reads.",
    )
    check.add_argument("--format", choices=_REPORTS, default="text", help="text, or for CI, editors and code scanners")
    check.add_argument(
        "--compose", nargs="+", action="extend", metavar="FILE", help="check the services of Compose files as well"
    )
    check.add_argument("--schema", action="store_true", help="print the JSON Schema of lessee.yaml, for editors")
    check.add_argument("--policy", action="store_true", help="print the smallest Vault policy that it needs")
    check.add_argument("--online", action="store_true", help="with --policy: ask the server what its mounts are like")


def _add_validate(command: Callable[..., argparse.ArgumentParser]) -> None:
    validate = command(
        "validate",
        "look whether the environment works",
        "Each check connects to the real thing, with\nVault's credentials. It ends with 1 where a critical one fails.",
    )
    validate.add_argument("--component", action="append", default=[], metavar="C", help="this one; may be repeated")
    validate.add_argument("--format", choices=_VALIDATIONS, default="text", help="text, or for programs and CI")
    validate.add_argument("--verbose", action="store_true", help="with names, and what could not be looked at")
    validate.add_argument(
        "--fail-on", choices=("critical", "warning"), default="critical", help="what makes it end with 1 (critical)"
    )


def _add_import(command: Callable[..., argparse.ArgumentParser]) -> None:
    imported = command(
        "import",
        "make lessee.yaml and templates of another agent's configuration",
        "FILE is the configuration of\nVault Agent, OpenBao Agent or consul-template (HCL or JSON), a template of"
        " theirs (.ctmpl, .tpl),\nor a Kubernetes manifest with annotations of their injector (YAML). What cannot"
        " be carried over is\nlisted, and marked with TODO in what is written.",
        config=False,
    )
    imported.set_defaults(command="import_")  # `import` is a keyword of Python.
    imported.add_argument("file", metavar="FILE", help="what to import")
    imported.add_argument("--output", metavar="DIR", help="write into this new or empty folder; default: to stdout")


def _add_setup(command: Callable[..., argparse.ArgumentParser]) -> None:
    setup = command(
        "setup",
        "make environments on a server: policies, roles, engines, audit log and first secrets",
        "It looks\nfirst, does only what is not done, and leaves what somebody changed by hand (exit code 75). With\n"
        "$VAULT_TOKEN, or a login as the configuration has it; no value is ever printed.",
    )
    setup.add_argument("--plan", action="store_true", help="change nothing: show what would be done")
    setup.add_argument("--force", action="store_true", help="overwrite what was changed by hand")
    setup.add_argument(
        "--only",
        nargs="+",
        action="extend",
        metavar="WHAT",
        help="environment=NAME, or audit, policies, roles, secrets, database, pki",
    )
    setup.add_argument("--output", metavar="DIR", help="write DIR/ENVIRONMENT/ROLE/{role_id,secret_id}, where missing")
    setup.add_argument("--wrap", type=_duration, metavar="TIME", help="write wrapping tokens instead of secret_ids")
    setup.add_argument("--remove", metavar="ENVIRONMENT", help="undo this environment, with all its secrets")
    setup.add_argument("--yes", action="store_true", help="with --remove: do not ask")
    _add_new_server(setup)
    _add_migration(setup)


def _add_new_server(setup: argparse.ArgumentParser) -> None:
    new = setup.add_argument_group("a new server, instead of all else")
    way = new.add_mutually_exclusive_group()
    way.add_argument("--init", metavar="DIR", help="initialise and unseal it; its keys go into this new folder")
    way.add_argument("--unseal", metavar="DIR", help="unseal it with the keys in this folder")
    new.add_argument("--shares", type=_count, metavar="N", help="with --init: so many keys (5)")
    new.add_argument("--threshold", type=_count, metavar="N", help="with --init: so many of them open it (3)")
    new.add_argument(
        "--pgp-key", action="append", default=[], metavar="FILE", help="with --init: encrypt a key to it; one a share"
    )
    new.add_argument("--root-token-pgp-key", metavar="FILE", help="with --init: encrypt the root token to it")


def _add_migration(setup: argparse.ArgumentParser) -> None:
    migration = setup.add_argument_group("secrets from before there were environments, instead of all else")
    migration.add_argument("--migrate-from", metavar="PATH", help="copy the secrets below it, such as secret/")
    migration.add_argument("--to", metavar="ENV", help="with --migrate-from: to this environment")


def _add_emergency(command: Callable[..., argparse.ArgumentParser]) -> None:
    emergency = command(
        "emergency",
        "after a leak: end all access to an environment, rotate, record",
        "With your token ($VAULT_TOKEN).\nIt looks first, shows what it will do, and asks. It may be run again.",
    )
    emergency.add_argument("--environment", metavar="ENV", required=True, help="the environment that leaked")
    emergency.add_argument("--path", metavar="PATH", help="only who may read this, such as database/postgres")
    emergency.add_argument("--dry-run", action="store_true", help="change nothing: show what would be done")
    emergency.add_argument("--yes", action="store_true", help="do not ask")
    emergency.add_argument("--record", metavar="FILE", help="where it is recorded; never over a file that is there")


def _add_backup(command: Callable[..., argparse.ArgumentParser]) -> None:
    backup = command(
        "backup",
        "save Vault's data, encrypted; try what was saved; bring it back",
        "Archives are files of age.\nThe key that opens them is in --key-file or $LESSEE_BACKUP_KEY_FILE.",
        config=False,
    )
    actions = backup.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)

    def action(name: str, short: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=short, description=f"{short[0].upper()}{short[1:]}.", allow_abbrev=False)
        sub.add_argument("--config", metavar="FILE", help="the configuration file")
        sub.add_argument("--key-file", metavar="FILE", help="an age identity, as `age-keygen -o FILE` makes it")
        return sub

    save = action("save", "save all that the token may read, where `backup:` says")
    save.add_argument("--every", type=_duration, metavar="TIME", help="go on: save again and again")
    verify = action("verify", "restore an archive into a private server, and compare")
    restore = action("restore", "write what an archive has and the server has not")
    for sub in (verify, restore):
        sub.add_argument("archive", metavar="ARCHIVE", help="a file, the name of one in a store, or `latest`")
    verify.add_argument(
        "--unseal-key-file", nargs="+", action="extend", default=[], metavar="FILE", help="try the raft snapshot too"
    )
    restore.add_argument("--plan", action="store_true", help="write nothing: tell what would be written")
    restore.add_argument("--path", metavar="PREFIX", default="", help="these secrets alone, such as secret/production/")
    restore.add_argument("--raft", action="store_true", help="replace all by the raft snapshot")
    restore.add_argument("--yes", action="store_true", help="do not ask")
    restore.add_argument(
        "--force", action="store_true", help="of another cluster, unsealed, newer, or over newer secrets, all the same"
    )


def _add_logging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-level",
        choices=_LEVELS,
        default=_from_environment("LESSEE_LOG_LEVEL", _LEVELS) or "info",
        help="what is logged to stderr (info, or $LESSEE_LOG_LEVEL)",
    )
    parser.add_argument(
        "--log-format",
        choices=_FORMS,
        default=_from_environment("LESSEE_LOG_FORMAT", _FORMS),
        help="text on a terminal, else json (or $LESSEE_LOG_FORMAT)",
    )


def _from_environment(name: str, choices: Sequence[str]) -> str | None:
    """Argparse would not look at a default's choices."""
    value = os.environ.get(name) or None
    if value is not None and value not in choices:
        raise UsageError(f"${name} is none of {', '.join(choices)}", todo="set it to one of them, or unset it")
    return value


def _duration(text: str) -> float:
    # Its package is the whole grammar of the configuration, which not every command needs.
    from lessee.core.config.durations import seconds

    try:
        return seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 500ms, 10s or 5m") from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _last_place(exc: BaseException) -> str:
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "nowhere"
    return f"{type(exc).__name__} at {place}"
