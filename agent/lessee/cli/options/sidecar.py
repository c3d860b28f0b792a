"""Options of the commands of a sidecar and of who writes its configuration."""

import argparse
from collections.abc import Callable, Mapping

from lessee.cli.options.shared import Command, Parser, add_logging, add_masking, count, duration

_REPORTS = ("text", "json", "sarif", "github", "gitlab")


def _add_run(command: Command) -> None:
    run = command(
        "run",
        "the sidecar: log in, render, watch, renew, notify, until stopped",
        "It waits for Vault as long as\nit takes. SIGTERM ends it and leaves the files; SIGHUP reads the file again.",
    )
    run.add_argument("--revoke", action="store_true", help="when stopped, revoke all leases and the token")
    add_logging(run)


def _add_exec(command: Command) -> None:
    program = command(
        "exec",
        "the sidecar with the app as its child, with `environ` as its environment",
        "Signals are sent on to\nthe child. It ends as the child does: with its exit code, or 128 + n by signal n.",
    )
    program.usage = "lessee exec --app APP [OPTION…] -- CMD [ARG…]"
    program.add_argument("--app", metavar="APP", required=True, help="the app that CMD is")
    program.add_argument("--timeout", type=duration, default=60.0, metavar="TIME", help="wait for Vault (60s)")
    program.add_argument("--once", action="store_true", help="become CMD when the files are there: no agent stays")
    program.add_argument(
        "--respawn", choices=("mcp-stdio",), help="CMD is an MCP server: on a change it is started anew, unnoticed"
    )
    add_masking(program)
    program.add_argument("program", nargs="+", metavar="CMD", help="what to run, and its arguments")
    add_logging(program)


def _add_render(command: Command) -> None:
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
    render.add_argument(
        "--export",
        metavar="FILE",
        help="append `environ` to FILE, as $GITHUB_ENV is read; with --app, without --output",
    )
    add_masking(render)
    render.add_argument("--timeout", type=duration, default=10.0, metavar="TIME", help="wait for Vault (10s)")
    add_logging(render)


def _add_clean(command: Command) -> None:
    clean = command(
        "clean",
        "remove the apps' files and end what they hold: for jobs of CI, and to take an agent out",
        "Tokens and\nleases in `state` are revoked, and `state` and the files are removed. No agent may run on it.",
    )
    clean.add_argument(
        "--after", type=count, metavar="PID", help="go to the background, and do it when this process is gone"
    )
    clean.add_argument("--timeout", type=duration, default=10.0, metavar="TIME", help="wait for Vault (10s)")
    add_logging(clean)


def _add_read(command: Command) -> None:
    read = command(
        "read",
        "print an app's files, all of one generation",
        "One file is printed as it is, several as\none JSON object. With --directory it needs no configuration.",
    )
    read.add_argument("app", metavar="APP", help="whose files they are")
    read.add_argument("files", nargs="+", metavar="FILE", help="their names")
    read.add_argument("--directory", metavar="DIR", help="where they are, instead of the configuration")
    read.add_argument("--format", choices=("raw", "json"), help="raw (of one file), or json (of several)")
    read.add_argument("--timeout", type=duration, default=0.0, metavar="TIME", help="wait for the first files (0s)")


def _add_check(command: Command) -> None:
    check = command(
        "check",
        "check the configuration and the templates, without Vault",
        "It tells all that is wrong\nat once, and lists the secrets that each app reads.",
    )
    check.add_argument("--format", choices=_REPORTS, default="text", help="text, or for CI, editors and code scanners")
    check.add_argument(
        "--compose", nargs="+", action="extend", metavar="FILE", help="check the services of Compose files as well"
    )
    check.add_argument(
        "--dist",
        nargs="+",
        action="extend",
        metavar="DIR",
        help="search what a build wrote for every secret of the environment; asks Vault",
    )
    check.add_argument("--schema", action="store_true", help="print the JSON Schema of lessee.yaml, for editors")
    check.add_argument("--policy", action="store_true", help="print the smallest Vault policy that it needs")
    check.add_argument("--rotator", action="store_true", help="with --policy: that of `lessee rotate` instead")
    check.add_argument("--online", action="store_true", help="with --policy: ask the server what its mounts are like")


def _add_import(command: Command) -> None:
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


def _add_mcp(command: Command) -> None:
    mcp = command("mcp", "move the secrets of an MCP client's configuration into Vault", config=False)
    actions = mcp.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    wrap = actions.add_parser(
        "wrap",
        help="put `lessee exec` before each server that has secrets",
        description="Look for secrets in FILE (an mcp.json, claude_desktop_config.json, .claude.json, or VS Code's),\n"
        "put them into Vault, and let `lessee exec` start the servers that have them. It shows what changes,\n"
        "and asks. FILE comes last, and a copy is kept.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    wrap.add_argument("file", metavar="FILE", help="the client's configuration")
    wrap.add_argument(
        "--config",
        metavar="FILE",
        help="the lessee.yaml to add to, or to make (~/.config/lessee/mcp/lessee.yaml)",
    )
    wrap.add_argument("--path", metavar="PREFIX", default="mcp", help="the secrets' folder (mcp): PREFIX/SERVER")
    wrap.add_argument("--secret", action="append", default=[], metavar="NAME", help="this is a secret too; repeatable")
    wrap.add_argument("--leave", action="append", default=[], metavar="NAME", help="this is no secret; repeatable")
    wrap.add_argument("--respawn", choices=("mcp-stdio",), help="start servers anew when a secret changes")
    wrap.add_argument("--backup", metavar="DIR", help="where the copy goes (~/.local/state/lessee/mcp-backups)")
    wrap.add_argument("--dry-run", action="store_true", help="change nothing: show what would be done")
    wrap.add_argument("--yes", action="store_true", help="do not ask")


def _add_status(command: Command) -> None:
    status = command("status", "ask a running agent, rotator or monitor how it is", "Values are never told.")
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as status.json")
    form.add_argument("--watch", action="store_true", help="show it as it changes, until Ctrl-C")
    status.add_argument("--socket", metavar="FILE", help="the agent's socket, instead of its configuration")


def _add_refresh(command: Command) -> None:
    refresh = command("refresh", "tell a running agent to look now", "Without PATH it looks at everything.")
    refresh.add_argument("paths", nargs="*", metavar="PATH", help="a secret, such as database/postgres")
    refresh.add_argument("--socket", metavar="FILE", help="the agent's socket, instead of its configuration")


def _add_demo(command: Command) -> None:
    demo = command(
        "demo",
        "show the main job on this machine, in a minute",
        "A real OpenBao server, a real agent and\nan app that catches SIGHUP are started, and all traces are removed.",
        config=False,
    )
    demo.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")


COMMANDS: Mapping[str, Callable[[Command], None]] = {
    "run": _add_run,
    "exec": _add_exec,
    "render": _add_render,
    "clean": _add_clean,
    "read": _add_read,
    "check": _add_check,
    "import": _add_import,
    "mcp": _add_mcp,
    "status": _add_status,
    "refresh": _add_refresh,
    "demo": _add_demo,
}
"""What adds each, in the order in which they are listed."""
