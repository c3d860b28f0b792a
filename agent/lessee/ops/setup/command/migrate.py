"""`lessee setup --migrate-from`: copies existing secrets into an environment."""

import argparse
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from lessee.audit_trail.operator_actions import recorded_action
from lessee.config import Config
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, LesseeError, UsageError, WriteError
from lessee.core.paths import Folder
from lessee.host.clock import boot_time
from lessee.host.progress import progress
from lessee.host.project import environments_of, find, text_of
from lessee.ops.setup.migration import Migration, Mount, Outcome, SecretResult, mount_at
from lessee.ops.setup.policy.migration import Move
from lessee.process.hardening import harden
from lessee.vault.admin import admin_client


def run(arguments: argparse.Namespace) -> int:
    """0 where every copy is equal, or with --plan can be made; 73 where a different secret is in its place."""
    if not arguments.to:
        raise UsageError("the target environment is missing", where="--migrate-from", todo="add --to ENVIRONMENT")
    harden()
    environ = dict(os.environ)
    configs = _configs(find(arguments.config, environ), environ)
    if arguments.to not in configs:
        what = f"no environment {arguments.to!r} in the configuration"
        raise UsageError(what, where="--to", todo=f"use one of: {', '.join(configs)}")
    config = configs[arguments.to]
    with admin_client(config.vault, environ, boot_time) as server, progress(quiet=arguments.quiet) as shown:
        source = mount_at(server, arguments.migrate_from.strip("/"))
        target = mount_at(server, config.secrets.mount)
        move = _move(arguments, configs, source, target)
        totals = Counter[str]()
        trail = None if arguments.plan else config.audit_trail
        subject = {"source": str(move.source), "target": str(move.target)}
        with recorded_action(trail, environ, "secrets migrated", arguments.to, **subject) as action:
            for item in Migration(server, move, source, target).run(shown, apply_changes=not arguments.plan):
                shown.print(_line(item, move))
                action.step(_line(item, move))
                totals[item.outcome.name] += 1
                totals["versions"] += item.versions
                totals["lost"] += item.lost
            if totals["REFUSED"]:
                action.fail(f"{totals['REFUSED']} refused")
    _print_summary(totals, move, plan=arguments.plan)
    return WriteError.exit_code if totals["REFUSED"] else 0


def _configs(path: Path, environ: Mapping[str, str]) -> dict[str, Config]:
    """The configuration of each environment. Raises ConfigError."""
    text = text_of(path)
    configs = {
        name: parse(text, source=path.name, environ=environ, environment=name)
        for name in environments_of(path, environ)
    }
    prefixes = {config.secrets.prefix for config in configs.values()}
    if "" in prefixes or len(prefixes) < len(configs):
        todo = 'include {environment} in it, as in `prefix: "{environment}/"`'
        what = "two environments have the same folder"
        raise ConfigError([LesseeError(what, where=f"{path.name}: secrets.prefix", todo=todo)])
    return configs


def _move(arguments: argparse.Namespace, configs: Mapping[str, Config], source: Mount, target: Mount) -> Move:
    name, secrets = arguments.migrate_from.strip("/"), configs[arguments.to].secrets
    below = name.removeprefix(source.path).strip("/")
    folder = Folder(source.path, f"{below}/" if below else "")
    if not target.is_versioned:
        todo = f"upgrade it with `bao kv enable-versioning {target.path}`"
        raise WriteError("the mount is KV version 1, which has no versions", where=target.path, todo=todo)
    is_same = source.path == target.path
    prefixes = tuple(config.secrets.prefix for config in configs.values()) if is_same else ()
    if folder.path.startswith(prefixes):
        raise UsageError("the path is already in an environment's folder", where=name, todo="name another folder")
    return Move(
        source=folder,
        target=Folder(target.path, secrets.prefix),
        environments=frozenset(configs),
        prefixes=prefixes,
        shared=secrets.shared_prefixes if is_same else (),
    )


def _line(item: SecretResult, move: Move) -> str:
    path = item.path if item.path.isprintable() else repr(item.path)
    match item.outcome:
        case Outcome.COPIED:
            lost = f", {item.lost} of them deleted, destroyed or no longer stored" if item.lost else ""
            return f"+ {move.target}{path}: {item.versions} version{'s' * (item.versions != 1)}{lost}"
        case Outcome.EQUAL:
            return f"= {move.target}{path}: already copied"
        case Outcome.REFUSED:
            return f"! {move.target}{path}: {item.why}"
        case Outcome.SKIPPED:
            return f"- {move.source}{path}: skipped: {item.why}"


def _print_summary(totals: Counter[str], move: Move, *, plan: bool) -> None:
    if not totals["COPIED"] + totals["EQUAL"] + totals["REFUSED"]:
        raise UsageError("no secret below this path", where=str(move.source), todo="name a mount or a folder in one")
    done = "to copy" if plan else "copied and verified"
    print(
        f"{totals['COPIED']} {done} ({totals['versions']} versions), {totals['EQUAL']} already copied, "
        f"{totals['REFUSED']} refused; the source is unchanged"
    )
    if totals["lost"]:
        print(
            f"{totals['lost']} versions are unreadable in the source, and in the copy too: to migrate the data of a "
            "deleted version, undelete it in the source first"
        )
    if totals["REFUSED"]:
        print("refused: nothing was overwritten; remove or equalize the secret in the target, and run this again")
