"""Options of the commands that run an agent, query it, or work on its configuration."""

import argparse

from lessee.cli.options.shared import (
    AddCommand,
    Parser,
    add_logging,
    add_masking,
    add_quiet,
    duration,
    exit_codes,
    positive_integer,
)

_CHECK_FORMATS = ("text", "json", "sarif", "github", "gitlab")


def add_run(command: AddCommand) -> None:
    """Add `lessee run`."""
    run = command(
        "run",
        "run the sidecar: log in, render, renew, watch and notify until stopped",
        "It waits for Vault without a time limit. "
        "SIGTERM stops it; the rendered files stay. SIGHUP reloads the configuration. "
        "An app with an invalid setting, template or directory is refused alone.",
    )
    run.add_argument("--strict", action="store_true", help="end as soon as one app is refused")
    run.add_argument("--revoke", action="store_true", help="on stop, revoke all leases and the token")
    add_logging(run)


def add_exec(command: AddCommand) -> None:
    """Add `lessee exec`."""
    program = command(
        "exec",
        "run the sidecar with the app as its child process",
        "The child gets the app's `env_template` as its "
        "environment, and the signals that lessee receives. The exit code is the child's, or 128 + n after signal n.",
    )
    program.usage = "lessee exec --app APP [OPTION…] -- CMD [ARG…]"
    program.add_argument("--app", metavar="APP", required=True, help="the app in lessee.yaml that CMD starts")
    program.add_argument(
        "--timeout", type=duration, default=60.0, metavar="TIME", help="how long to wait for Vault (default: 60s)"
    )
    program.add_argument(
        "--once", action="store_true", help="render once, then replace this process with CMD; no agent remains"
    )
    program.add_argument(
        "--respawn",
        choices=("mcp-stdio",),
        help="CMD is an MCP server on stdio: restart it on a change without disconnecting its client",
    )
    add_masking(program)
    program.add_argument("program", nargs="+", metavar="CMD", help="the program to start, and its arguments")
    add_logging(program)


def add_render(command: AddCommand) -> None:
    """Add `lessee render`."""
    render = command(
        "render",
        "render once and exit",
        "Without --output it publishes to each app's directory and notifies the app. "
        "--diff prints the names in the files, including names that come from secrets.",
    )
    render.add_argument("--app", metavar="APP", help="render only this app")
    where = render.add_mutually_exclusive_group()
    where.add_argument("--output", metavar="DIR", help="write DIR/APP/NAME (with --app: DIR/NAME), and notify no app")
    where.add_argument("--diff", action="store_true", help="write nothing; print the names that would change")
    render.add_argument(
        "--export",
        metavar="FILE",
        help="append the app's `env_template` to FILE in the format of $GITHUB_ENV; needs --app, excludes --output",
    )
    add_masking(render)
    render.add_argument(
        "--timeout", type=duration, default=10.0, metavar="TIME", help="how long to wait for Vault (default: 10s)"
    )
    add_logging(render)


def add_clean(command: AddCommand) -> None:
    """Add `lessee clean`."""
    clean = command(
        "clean",
        "remove the apps' files and revoke their tokens and leases",
        "For CI jobs, and to uninstall an agent. It revokes the tokens and leases in `state_dir`, then removes "
        "`state_dir` and the files. No agent may be running.",
    )
    clean.add_argument(
        "--after",
        type=positive_integer,
        metavar="PID",
        help="return immediately, and clean in the background once process PID has exited",
    )
    clean.add_argument(
        "--unused",
        action="store_true",
        help="only remove the files that the agent published in directories that no app uses any more",
    )
    clean.add_argument(
        "--timeout", type=duration, default=10.0, metavar="TIME", help="how long to wait for Vault (default: 10s)"
    )
    add_logging(clean)


def add_read(command: AddCommand) -> None:
    """Add `lessee read`."""
    read = command(
        "read",
        "print files of an app, all from the same generation",
        "A single file is printed unchanged, several files as "
        "one JSON object. With --directory, no configuration is needed.",
    )
    read.add_argument("app", metavar="APP", help="the app that the files belong to")
    read.add_argument("files", nargs="+", metavar="FILE", help="the names of the files")
    read.add_argument("--directory", metavar="DIR", help="the directory of the files, instead of the configured one")
    read.add_argument("--format", choices=("raw", "json"), help="the output format (default: raw for one file)")
    read.add_argument(
        "--timeout",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="how long to wait for the first generation (default: 0s)",
    )


def add_check(command: AddCommand) -> None:
    """Add `lessee check`."""
    check = command(
        "check",
        "validate the configuration and the templates without contacting Vault",
        "It reports all problems in "
        "one run, and lists the secrets that each app reads. With --compose it "
        "ends with the lines that the stack lacks. Exit codes: 78 for the configuration, 65 for a template.",
    )
    check.add_argument(
        "--format",
        choices=_CHECK_FORMATS,
        default="text",
        help="the report format; all but text are for CI, editors and code scanners",
    )
    check.add_argument(
        "--compose", nargs="+", action="extend", metavar="FILE", help="also check the services in these Compose files"
    )
    check.add_argument(
        "--fix", action="store_true", help="show a diff of what can be fixed, without values, ask, and apply it"
    )
    check.add_argument("--dry-run", "--diff", action="store_true", help="with --fix: show the diff, and change nothing")
    check.add_argument("--yes", action="store_true", help="with --fix: apply it without asking")
    check.add_argument(
        "--dist",
        nargs="+",
        action="extend",
        metavar="DIR",
        help="also search the output of a frontend build for every secret of the environment; contacts Vault",
    )
    check.add_argument("--schema", action="store_true", help="print the JSON Schema of lessee.yaml, for editors")
    check.add_argument(
        "--sandbox", action="store_true", help="print what would confine `lessee run` on this machine, as this user"
    )
    check.add_argument(
        "--policy", action="store_true", help="print the smallest Vault policy that the configuration needs"
    )
    check.add_argument("--rotator", action="store_true", help="with --policy: print the policy for `lessee rotate`")
    check.add_argument(
        "--monitor",
        action="store_true",
        help="with --policy: print the policy for the login of `lessee monitor`",
    )
    check.add_argument("--issuer", action="store_true", help="with --policy: print the policy for `lessee issue`")
    check.add_argument("--online", action="store_true", help="with --policy: read the KV version from Vault")


def add_scan(command: AddCommand) -> None:
    """Add `lessee scan`."""
    scan = command(
        "scan",
        "find secrets in files and in the git history, without printing them",
        "It needs no Vault. It reads PATH (default: the current directory) and all commits of its repository, and runs "
        "nothing that they contain. The exit code is 1 if it finds a secret that is not in the baseline.",
    )
    scan.add_argument("path", metavar="PATH", nargs="?", default=".", help="the directory or file to search")
    what = scan.add_mutually_exclusive_group()
    what.add_argument("--staged", action="store_true", help="search only what `git commit` would add, for a git hook")
    what.add_argument("--commits", metavar="RANGE", help="search only what these commits add: origin/main..HEAD")
    what.add_argument("--no-history", action="store_true", help="search only files, not the git history")
    scan.add_argument("--format", choices=_CHECK_FORMATS, default="text", help="the report format")
    scan.add_argument(
        "--baseline", metavar="FILE", help="the accepted findings (default: .lessee-scan.json of the repository)"
    )
    scan.add_argument("--accept", action="store_true", help="write what is found into the baseline, to be reviewed")
    scan.add_argument(
        "--vault",
        action="store_true",
        help="also search for each secret of the environment of lessee.yaml, and name its path; contacts Vault",
    )


def add_import(command: AddCommand) -> None:
    """Add `lessee import`."""
    imported = command(
        "import",
        "convert an env file, or another agent's configuration, to lessee.yaml and templates",
        "FILE is an env file, whose secrets go to Vault (docs/how-to/import-env.md), or the configuration of "
        "Vault Agent, OpenBao Agent or consul-template (HCL or JSON), one of their templates (.ctmpl, .tpl), "
        "or a Kubernetes manifest with annotations of the Vault Agent Injector (YAML). lessee lists what it cannot "
        "convert, and marks it with TODO in the output.",
        config=False,
    )
    imported.add_argument("file", metavar="FILE", help="the file to convert")
    imported.add_argument(
        "--output",
        metavar="DIR",
        help="write into this new or empty directory (default: stdout); not for an env file",
    )
    add_quiet(imported)
    env = imported.add_argument_group("an env file")
    env.add_argument(
        "--reader",
        choices=ENV_READERS,
        help="FILE is an env file, and this program reads it (default: python-dotenv or Docker Compose, if both agree)",
    )
    env.add_argument(
        "--config",
        metavar="FILE",
        help="the lessee.yaml to create or extend (default: $LESSEE_CONFIG, or lessee.yaml next to the env file)",
    )
    env.add_argument("--app", metavar="NAME", help="the app's name in lessee.yaml (default: the env file's directory)")
    env.add_argument(
        "--environment",
        metavar="NAME",
        help="the environment in a new lessee.yaml (default: $LESSEE_ENVIRONMENT, or development)",
    )
    env.add_argument("--path", metavar="PREFIX", default="", help="store the secrets below PREFIX")
    env.add_argument(
        "--secret", action="append", default=[], metavar="NAME", help="also treat this variable as a secret; repeatable"
    )
    env.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="NAME",
        help="do not treat this variable as a secret; repeatable",
    )
    env.add_argument(
        "--prefer",
        choices=("vault", "files"),
        help="where Vault has another value: use it, or store that of FILE as a new version",
    )
    env.add_argument("--dry-run", action="store_true", help="change nothing; print the changes")
    env.add_argument("--yes", action="store_true", help="do not ask for confirmation")


ENV_READERS = ("python-dotenv", "compose", "node", "vite", "sh", "systemd", "docker")
"""As `ops.adopt.policy.env_readers` has them, which not every command should import."""


def add_mcp(command: AddCommand) -> None:
    """Add `lessee mcp`."""
    mcp = command("mcp", "move the secrets of an MCP client's configuration into Vault", config=False)
    actions = mcp.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    wrap = actions.add_parser(
        "wrap",
        help="start each MCP server that has secrets with `lessee exec`",
        description="Find secrets in FILE (an mcp.json, claude_desktop_config.json, .claude.json, or VS Code's), "
        "store them in Vault, and have `lessee exec` start the servers that use them. lessee prints the changes "
        "and asks before it makes them. It writes FILE last, after a backup copy.",
        epilog=exit_codes(),
        allow_abbrev=False,
    )
    wrap.add_argument("file", metavar="FILE", help="the client's configuration")
    wrap.add_argument(
        "--config",
        metavar="FILE",
        help="the lessee.yaml to create or extend (default: ~/.config/lessee/mcp/lessee.yaml)",
    )
    wrap.add_argument(
        "--path", metavar="PREFIX", default="mcp", help="store the secrets at PREFIX/SERVER (default: mcp)"
    )
    wrap.add_argument(
        "--secret", action="append", default=[], metavar="NAME", help="also treat this value as a secret; repeatable"
    )
    wrap.add_argument(
        "--exclude", action="append", default=[], metavar="NAME", help="do not treat this value as a secret; repeatable"
    )
    wrap.add_argument("--respawn", choices=("mcp-stdio",), help="restart a server when one of its secrets changes")
    wrap.add_argument(
        "--backup",
        metavar="DIR",
        help="the directory for the backup copy (default: ~/.local/state/lessee/mcp-backups)",
    )
    wrap.add_argument("--dry-run", action="store_true", help="change nothing; print the changes")
    wrap.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def add_status(command: AddCommand) -> None:
    """Add `lessee status`."""
    status = command(
        "status",
        "print the status of a running agent, rotator or monitor",
        "The status holds no secret value. The exit code is 1 if an app has no files, or a service is not ready.",
    )
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the agent's status.json")
    form.add_argument("--watch", action="store_true", help="print the status on each change, until Ctrl-C")
    form.add_argument(
        "--wait",
        type=duration,
        nargs="?",
        const=60.0,
        metavar="TIME",
        help="have the agent check its secrets now, and wait until each app is ready with the newest ones, or is named "
        "(exit code 1; default: 60s)",
    )
    form.add_argument(
        "--output",
        metavar="APP",
        help="print to a terminal what the programs of an app or of a rotation target printed: check, notify, ready, …",
    )
    _add_socket(status)


def add_refresh(command: AddCommand) -> None:
    """Add `lessee refresh`."""
    refresh = command(
        "refresh", "have a running agent check its secrets now", "Without PATH, the agent checks all of them."
    )
    refresh.add_argument("paths", nargs="*", metavar="PATH", help="a secret, such as database/postgres")
    _add_socket(refresh)


def add_demo(command: AddCommand) -> None:
    """Add `lessee demo`."""
    demo = command(
        "demo",
        "run the whole path of a secret on this machine, in under a minute",
        "It starts an OpenBao server, an agent and an app that handles SIGHUP, and removes everything at the end.",
        config=False,
    )
    demo.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")


def _add_socket(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--socket", metavar="FILE", help="the status socket of the agent or a service, instead of the configured one"
    )
