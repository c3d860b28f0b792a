"""`lessee backup`: saves Vault's data, verifies, pins and prunes archives, and restores them."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TextIO

from lessee.audit_trail.operator_actions import recorded_action
from lessee.config import Config
from lessee.config.grammar.backup import Retention
from lessee.core.errors import DeniedError, LesseeError, UsageError, VaultUnreachableError
from lessee.host.clock import boot_time, wall_time
from lessee.host.progress import Progress, progress
from lessee.host.project import find, read
from lessee.ops.backup import server
from lessee.ops.backup.catalog import LATEST, Cluster, catalog, expired, open_archive
from lessee.ops.backup.keys import keys, require_keys
from lessee.ops.backup.metrics import save_metrics, verification_metrics
from lessee.ops.backup.pinning import set_pin
from lessee.ops.backup.policy.archive_format import SNAPSHOT, ArchiveError, Counts
from lessee.ops.backup.policy.retention import next_delay
from lessee.ops.backup.policy.secret_restore import SecretStatus
from lessee.ops.backup.restore import Restore, RestoreOptions, RestorePlan
from lessee.ops.backup.save import SaveResult, save
from lessee.ops.backup.stores import stores
from lessee.ops.backup.verification import Verified, verify
from lessee.process.hardening import harden
from lessee.vault.admin import AdminClient, admin_client, unauthenticated_client

_DIFFERENT = 1
"""The exit code of a verification that found differences."""
_SHORTEST, _LONGEST = 1.0, 365 * 86400.0
"""The limits of --interval in seconds; the names of archives have whole seconds."""
_FEW = 5


def run(arguments: argparse.Namespace) -> int:
    """0 on success; `verify` returns 1 for differences. SIGTERM ends it like Ctrl-C, so that it cleans up."""
    harden()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    config = read(path, environ, blocks=("backup",))
    interval = getattr(arguments, "interval", None)
    if interval is not None and getattr(arguments, "archive", LATEST) != LATEST:
        todo = "use `verify latest --interval 7d`"
        raise UsageError("--interval verifies the latest archive each time", where=arguments.archive, todo=todo)
    # A service's output is a log.
    with progress(quiet=arguments.quiet or interval is not None) as shown:

        def act() -> int:
            return _ACTIONS[arguments.action](arguments, config, environ, shown)

        return act() if interval is None else _repeat(interval, act)


def _repeat(interval: float, act: Callable[[], int]) -> int:
    """Run until SIGTERM. Only what failed with an error is tried again sooner."""
    if not _SHORTEST <= interval <= _LONGEST:
        raise UsageError("--interval must be from 1s to 365d", todo="use 24h, for example")
    try:
        while True:
            began = boot_time()
            try:
                failed = act() not in {0, _DIFFERENT}
            except LesseeError as exc:
                failed = True
                print(f"lessee: {exc}", file=sys.stderr)
            time.sleep(next_delay(began, boot_time(), interval, failed=failed))
    except KeyboardInterrupt:
        return 0  # Stopping it is not an error.


def _save(arguments: argparse.Namespace, config: Config, environ: Mapping[str, str], shown: Progress) -> int:
    with (
        save_metrics(config) as attempt,
        recorded_action(
            config.audit_trail, environ, "backup saved", config.environment, server=config.vault.address
        ) as action,
    ):
        saved = save(config, keys(arguments.key_file, environ), environ, shown, pinned=arguments.pin)
        attempt.succeeded = not saved.problems
        for place in saved.places:
            action.step(str(place))
        for place in saved.removed:
            action.step(f"removed {place}")
        if saved.problems:
            action.fail(str(saved.problems[0]))
    _print_saved(saved)
    for problem in saved.problems:
        print(f"lessee: {problem}", file=sys.stderr)
    return saved.problems[0].exit_code if saved.problems else 0


def _print_saved(saved: SaveResult) -> None:
    for place in saved.places:
        print(f"saved {place} ({saved.size:,} bytes)")
    print(f"  {_counts_text(saved.manifest.counts)}")
    if any(member.name == SNAPSHOT for member in saved.manifest.members):
        print("  with a raft snapshot of everything")
    elif saved.snapshot_error:
        print(f"  no raft snapshot: {saved.snapshot_error}")
    print("not in a logical backup:")
    for gap in saved.manifest.gaps:
        print(f"  {gap}")
    for place in saved.removed:
        print(f"removed {place}")
    _print_others(saved.not_ours)
    if saved.retained_all:
        print("no old archive removed: that takes the key file; run `lessee backup prune` where it is")
    print(end="", flush=True)


def _print_others(others: Sequence[LesseeError], most: int = _FEW, out: TextIO | None = None) -> None:
    """What has an archive's name and no seal of the key. A flood of such files must not flood the output."""
    for error in others[:most]:
        print(f"left alone: {error}", file=out)
    if len(others) > most:
        print(f"left alone: {len(others) - most:,} more; `lessee backup list` lists them", file=out)


def _list(arguments: argparse.Namespace, config: Config, environ: Mapping[str, str], shown: Progress) -> int:
    identities = require_keys(keys(arguments.key_file, environ))
    found = [(store, catalog(store, identities, shown)) for store in stores(config.backup, environ, shown)]
    for store, cataloged in found:
        for one in cataloged.ours:
            print(f"{one.created:%Y-%m-%dT%H:%M:%SZ} {'pinned' if one.pinned else '':6} {store.where(one.name)}")
    _print_others([error for _, cataloged in found for error in cataloged.others], sys.maxsize)
    return 0


def _prune(arguments: argparse.Namespace, config: Config, environ: Mapping[str, str], shown: Progress) -> int:
    identities = require_keys(keys(arguments.key_file, environ))
    places = stores(config.backup, environ)
    keep = config.backup.keep if config.backup is not None else Retention()
    now = datetime.fromtimestamp(wall_time(), UTC)
    others: list[LesseeError] = []
    planned = []
    for store in places:
        cataloged = catalog(store, identities, shown)
        others += cataloged.others
        planned += [(store, name) for name in expired(cataloged, keep, now)]
    if arguments.plan:
        for store, name in planned:
            print(f"to remove: {store.where(name)}")
    elif planned:
        with recorded_action(config.audit_trail, environ, "backups pruned", config.environment) as action:
            for store, name in planned:
                store.remove(name)
                action.step(f"removed {store.where(name)}")
                print(f"removed {store.where(name)}")
    _print_others(others)
    return 0


def _pin(arguments: argparse.Namespace, config: Config, environ: Mapping[str, str], shown: Progress) -> int:
    identities = require_keys(keys(arguments.key_file, environ))
    verb = f"{arguments.action}ned"
    with recorded_action(config.audit_trail, environ, f"backup {verb}", config.environment) as action:
        pinned = arguments.action == "pin"
        cluster = partial(_cluster, config, environ)
        done = set_pin(config, identities, environ, arguments.archive, cluster, shown, pinned=pinned)
        for place in done.changed:
            action.step(f"{verb} {place}")
    for place in done.changed:
        print(f"{verb} {place}")
    for place in done.unchanged:
        print(f"already {verb} {place}")
    _print_others(done.broken)
    if done.broken and not pinned:
        what = "a copy that is not complete is still pinned, and so is the archive"
        raise ArchiveError(what, where=done.broken[0].where, todo="delete this copy")
    return 0


def _verify(arguments: argparse.Namespace, config: Config, environ: Mapping[str, str], shown: Progress) -> int:
    if arguments.archive != LATEST:
        return _DIFFERENT if _verify_one(arguments, config, environ, shown).differences else 0
    with verification_metrics(config) as attempt:
        verified = _verify_one(arguments, config, environ, shown)
        attempt.succeeded, attempt.archive = not verified.differences, verified.inspected.manifest
    return _DIFFERENT if verified.differences else 0


def _verify_one(arguments: argparse.Namespace, config: Config, environ: Mapping[str, str], shown: Progress) -> Verified:
    identities = require_keys(keys(arguments.key_file, environ))
    unseal_keys = [_read_unseal_key(Path(name)) for name in arguments.unseal_key_file]
    cluster = partial(_cluster, config, environ)
    opened = open_archive(arguments.archive, config.backup, environ, identities, _report, cluster, shown)
    with opened as (file, where):
        verified = verify(file, where, identities, unseal_keys, shown)
    manifest = verified.inspected.manifest
    for difference in verified.differences:
        print(difference)
    outcome = f"{len(verified.differences)} DIFFERENCES" if verified.differences else "restored and equal"
    print(f"{where}: {outcome}")
    print(f"  of {manifest.cluster_name} at {manifest.created}: {_counts_text(manifest.counts)}")
    if not verified.inspected.authenticated:
        print("  not authenticated with this key: any client that knows its public key could have made it")
    for place in verified.unsupported:
        print(f"  not verified, because a scratch server lacks its engine: {place}")
    if verified.snapshot is not None:
        print(f"  raft snapshot: {verified.snapshot}")
    print(end="", flush=True)
    return verified


def _cluster(config: Config, environ: Mapping[str, str], client: AdminClient | None = None) -> Cluster:
    """The configured server, whose archives are meant where the stores have those of several."""
    if client is None:
        try:
            with unauthenticated_client(config.vault, environ) as public:
                return _cluster(config, environ, public)
        except VaultUnreachableError as exc:
            what = "the stores have archives of several clusters, and the server does not say which one it is"
            todo = "name the archive; `lessee backup list` lists them"
            raise VaultUnreachableError(f"{what}: {exc.what}", where=exc.where, todo=todo) from None
    found = server.describe(client, config.vault.namespace)
    return found.cluster_id, found.namespace


def _restore(arguments: argparse.Namespace, config: Config, environ: Mapping[str, str], shown: Progress) -> int:
    if arguments.raft and (arguments.path or arguments.plan):
        raise UsageError("--raft replaces everything", todo="omit --path and --plan")
    identities = require_keys(keys(arguments.key_file, environ))
    recipients = config.backup.recipients if config.backup is not None else None
    options = RestoreOptions(
        force=arguments.force,
        only=arguments.path,
        authentication_expected=recipients is None,
        namespace=config.vault.namespace,
    )
    cluster = partial(_cluster, config, environ)
    with (
        open_archive(arguments.archive, config.backup, environ, identities, _report, cluster, shown) as (file, where),
        admin_client(config.vault, environ, boot_time) as client,
    ):
        restore = Restore(file, where, identities, client, options, shown)
        about = {"archive": str(where), "server": config.vault.address, "only": arguments.path}
        if arguments.raft:
            _confirm(arguments, restore, f"replaces all data and unseal keys by those of {restore.created} in")
            with recorded_action(config.audit_trail, environ, "raft snapshot restored", config.environment, **about):
                restore.apply_snapshot()
            print(f"restored the raft snapshot of {where}; unseal the server with the keys of that time")
            return 0
        restore_plan = restore.plan()
        _print_plan(restore_plan, in_full=arguments.plan)
        if arguments.plan:
            return 0
        restore.check_overwrites(restore_plan)
        writes = 0
        if restore_plan.writes:
            _confirm(arguments, restore, "writes to")
            with recorded_action(config.audit_trail, environ, "backup restored", config.environment, **about) as action:
                writes = restore.apply()
                action.step(f"{writes} writes")
        print(f"restored {where} with {writes} writes")
    _print_unrestorable(restore_plan, restore.inspected.manifest.gaps)
    return 0


def _report(others: Sequence[LesseeError]) -> None:
    _print_others(others, out=sys.stderr)


def _print_plan(restore_plan: RestorePlan, *, in_full: bool) -> None:
    for change in restore_plan.changes:
        print(f"{'new     ' if change.new else 'changed '} {change.path}")
    if in_full:
        for where, status, writes in restore_plan.secrets:
            print(f"{status:<9}{where} ({writes} writes)")
        for where in restore_plan.overwritten_newer:
            print(f"newer on the server, or without versions there: {where}")
    statuses = [status for _, status, _ in restore_plan.secrets]
    counts = ", ".join(
        f"{statuses.count(status)} {status}" for status in SecretStatus if status is not SecretStatus.EQUAL
    )
    print(f"secrets: {restore_plan.equal} equal, {counts}; {restore_plan.writes} writes in all")


def _print_unrestorable(restore_plan: RestorePlan, gaps: Sequence[str]) -> None:
    for unrestorable in restore_plan.unrestorable:
        print(f"to be written again by you: {unrestorable.path} ({unrestorable.what})")
    print("a logical backup cannot restore:")
    for gap in gaps:
        print(f"  {gap}")


def _confirm(arguments: argparse.Namespace, restore: Restore, does: str) -> None:
    if arguments.yes:
        return
    name = restore.server.cluster_name or restore.server.cluster_id
    print(f"This {does} the cluster {name}. Type its name to continue: ", end="", flush=True)
    if sys.stdin is None or sys.stdin.readline().strip() != name:  # None: it is closed.
        print()
        raise DeniedError("nothing was written: the cluster's name was not typed", todo="type it, or add --yes")


def _counts_text(counts: Counts) -> str:
    return (
        f"{counts.secrets:,} secrets in {counts.versions:,} versions, {counts.mounts} mounts, "
        f"{counts.auth} auth methods, {counts.policies} policies, {counts.roles} roles"
    )


_ACTIONS = {
    "save": _save,
    "verify": _verify,
    "list": _list,
    "prune": _prune,
    "pin": _pin,
    "unpin": _pin,
    "restore": _restore,
}


def _read_unseal_key(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError("cannot read the unseal key", where=str(path), todo="check the file") from None
