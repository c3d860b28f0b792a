"""Options of the commands of an operator."""

import argparse
from collections.abc import Callable, Mapping

from lessee.cli.options.shared import Command, Parser, add_logging, count, duration, moment

_VALIDATIONS = ("text", "json", "yaml", "junit")
_REPORTS = ("text", "json", "csv")


def _add_setup(command: Command) -> None:
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
        help="environment=NAME, or mounts, audit, policies, roles, secrets, database, pki",
    )
    setup.add_argument("--output", metavar="DIR", help="write DIR/ENVIRONMENT/ROLE/{role_id,secret_id}, where missing")
    setup.add_argument("--wrap", type=duration, metavar="TIME", help="write wrapping tokens instead of secret_ids")
    setup.add_argument("--remove", metavar="ENVIRONMENT", help="undo this environment, with all its secrets")
    setup.add_argument("--yes", action="store_true", help="with --remove: do not ask")
    _add_new_server(setup)
    _add_migration(setup)


def _add_new_server(setup: argparse.ArgumentParser) -> None:
    new = setup.add_argument_group("a new server, instead of all else")
    way = new.add_mutually_exclusive_group()
    way.add_argument("--init", metavar="DIR", help="initialise and unseal it; its keys go into this new folder")
    way.add_argument("--unseal", metavar="DIR", help="unseal it with the keys in this folder")
    new.add_argument("--shares", type=count, metavar="N", help="with --init: so many keys (5)")
    new.add_argument("--threshold", type=count, metavar="N", help="with --init: so many of them open it (3)")
    new.add_argument(
        "--pgp-key", action="append", default=[], metavar="FILE", help="with --init: encrypt a key to it; one a share"
    )
    new.add_argument("--root-token-pgp-key", metavar="FILE", help="with --init: encrypt the root token to it")


def _add_migration(setup: argparse.ArgumentParser) -> None:
    migration = setup.add_argument_group("secrets from before there were environments, instead of all else")
    migration.add_argument("--migrate-from", metavar="PATH", help="copy the secrets below it, such as secret/")
    migration.add_argument("--to", metavar="ENV", help="with --migrate-from: to this environment")


def _add_validate(command: Command) -> None:
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


def _add_rotate(command: Command) -> None:
    rotate = command(
        "rotate",
        "change credentials in the systems that own them, and in Vault",
        "TARGET is a target of `rotation:`,\n"
        "a kind, or the first folder of secrets, such as database. Without one, those that are due are rotated, and\n"
        "what was left open is finished. Nothing is lost wherever it is ended: the next one goes on.",
    )
    rotate.add_argument("targets", nargs="*", metavar="TARGET", help="what to rotate now")
    rotate.add_argument("--all", action="store_true", help="all targets, due or not")
    rotate.add_argument("--environment", metavar="ENV", help="of this environment, instead of the configuration's")
    rotate.add_argument("--force", action="store_true", help="although it was just rotated, or is rotated too often")
    rotate.add_argument("--no-wait", action="store_true", help="leave the old ones for the next time, unless confirmed")
    rotate.add_argument(
        "--timeout",
        type=duration,
        default=60.0,
        metavar="TIME",
        help="wait so long for another rotator, or Vault (60s)",
    )
    way = rotate.add_mutually_exclusive_group()
    way.add_argument("--dry-run", action="store_true", help="change nothing: show what would be done, and what lacks")
    way.add_argument("--status", action="store_true", help="change nothing: show how all targets stand")
    way.add_argument("--watch", action="store_true", help="go on: rotate when it is time, as a service")
    rotate.add_argument("--json", action="store_true", help="with --status: for programs")
    add_logging(rotate)


def _add_emergency(command: Command) -> None:
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


def _add_backup(command: Command) -> None:
    backup = command(
        "backup",
        "save Vault's data, encrypted; try what was saved; bring it back",
        "Archives are files of age.\nThe key that opens them is in --key-file or $LESSEE_BACKUP_KEY_FILE.",
        config=False,
    )
    actions = backup.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)

    def action(name: str, short: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=short, description=f"{short[0].upper()}{short[1:]}.", allow_abbrev=False)
        sub.add_argument("--config", metavar="FILE", help="the configuration file")
        sub.add_argument("--key-file", metavar="FILE", help="an age identity, as `age-keygen -o FILE` makes it")
        return sub

    save = action("save", "save all that the token may read, where `backup:` says")
    save.add_argument("--every", type=duration, metavar="TIME", help="go on: save again and again")
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


def _add_monitor(command: Command) -> None:
    monitor = command(
        "monitor",
        "follow Vault's audit log: who reads what, and what has changed",
        "It needs no\nlogin, and keeps no value. Ended anywhere, it goes on where it was.",
    )
    monitor.add_argument("--once", action="store_true", help="read to the end that there is now, keep that, and end")
    add_logging(monitor)


def _add_audit(command: Command) -> None:
    audit = command(
        "audit",
        "what was done, by whom: is the trail whole, and what does it say",
        "The trail is where `trail:`\nof the configuration has it recorded, chained and signed.",
        config=False,
    )
    actions = audit.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)

    def action(name: str, short: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=short, description=f"{short[0].upper()}{short[1:]}.", allow_abbrev=False)
        sub.add_argument("--config", metavar="FILE", help="the configuration file")
        return sub

    verify = action("verify", "find what was removed, changed, put in or moved; it ends with 1 where something was")
    verify.add_argument("directory", nargs="?", metavar="DIR", help="the trail, instead of the configuration's")
    verify.add_argument("--public-key", metavar="FILE", help="as `lessee audit key` printed it, kept elsewhere")
    verify.add_argument(
        "--head", action="append", default=[], metavar="FILE", help="an older head.json, kept elsewhere"
    )
    verify.add_argument("--json", action="store_true", help="for programs")
    action("key", "print the public key, and make the key where there is none")
    _add_report(action("report", "who had access to what, rotation against its policy, exceptions, separation"))


def _add_report(report: argparse.ArgumentParser) -> None:
    report.add_argument("--from", dest="begins", type=moment, metavar="TIME", help="a date, or a time in RFC 3339")
    report.add_argument("--to", dest="ends", type=moment, metavar="TIME", help="as above; that moment is outside")
    report.add_argument("--format", choices=_REPORTS, default="text", help="text, or for programs and spreadsheets")
    report.add_argument("--accesses", metavar="FILE", help="the status.json of `lessee monitor`, for what was read")
    report.add_argument("--offline", action="store_true", help="ask no Vault")


COMMANDS: Mapping[str, Callable[[Command], None]] = {
    "setup": _add_setup,
    "validate": _add_validate,
    "rotate": _add_rotate,
    "backup": _add_backup,
    "emergency": _add_emergency,
    "monitor": _add_monitor,
    "audit": _add_audit,
}
"""What adds each, in the order in which they are listed."""
