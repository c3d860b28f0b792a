"""`lessee setup --migrate-from`: secrets from before there were environments, into one of them."""

import argparse
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from lessee.audit_trail.operator_acts import acting
from lessee.config import Config
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError, LesseeError, UsageError, WriteError
from lessee.core.paths import Folder
from lessee.host.clock import boot_time
from lessee.host.project import environments_of, find, text_of
from lessee.ops.setup.migration import Migration, Mount, SecretResult, Outcome, mount_at
from lessee.ops.setup.policy.migration import Move
from lessee.process.hardening import make_private
from lessee.vault.admin import admin_client


def run(arguments: argparse.Namespace) -> int:
    """0 where all is there, or with a plan can be; 73 where something else is in its place."""
    if not arguments.to:
        raise UsageError("it does not say to which environment", where="--migrate-from", todo="add --to ENVIRONMENT")
    make_private()
    environ = dict(os.environ)
    configs = _configs(find(arguments.config, environ), environ)
    if arguments.to not in configs:
        what = f"there is no environment {arguments.to!r}"
        raise UsageError(what, where="--to", todo=f"there are: {', '.join(configs)}")
    config = configs[arguments.to]
    with admin_client(config.vault, environ, boot_time) as server:
        source = mount_at(server, arguments.migrate_from.strip("/"))
        target = mount_at(server, config.secrets.mount)
        move = _move(arguments, configs, source, target)
        describe = Counter[str]()
        trail = None if arguments.plan else config.trail
        said = {"source": str(move.source), "target": str(move.target)}
        with acting(trail, environ, "secrets migrated", arguments.to, **said) as doing:
            for one in Migration(server, move, source, target).run(act=not arguments.plan):
                print(_line(one, move), flush=True)
                doing.step(_line(one, move))
                describe[one.outcome.name] += 1
                describe["versions"] += one.versions
                describe["lost"] += one.lost
            if describe["REFUSED"]:
                doing.fail(f"{describe['REFUSED']} refused")
    _sum_up(describe, move, plan=arguments.plan)
    return WriteError.exit_code if describe["REFUSED"] else 0


def _configs(path: Path, environ: Mapping[str, str]) -> dict[str, Config]:
    """The configuration as each environment has it. Raises ConfigError."""
    text = text_of(path)
    configs = {
        name: parse(text, source=path.name, environ=environ, environment=name)
        for name in environments_of(path, environ)
    }
    prefixes = {config.secrets.prefix for config in configs.values()}
    if "" in prefixes or len(prefixes) < len(configs):
        todo = 'write {environment} in it, as in `prefix: "{environment}/"`'
        what = "two environments have the same folder"
        raise ConfigError([LesseeError(what, where=f"{path.name}: secrets.prefix", todo=todo)])
    return configs


def _move(arguments: argparse.Namespace, configs: Mapping[str, Config], source: Mount, target: Mount) -> Move:
    name, secrets = arguments.migrate_from.strip("/"), configs[arguments.to].secrets
    below = name.removeprefix(source.path).strip("/")
    folder = Folder(source.path, f"{below}/" if below else "")
    if not target.is_versioned:
        todo = "make it one: `bao kv enable-versioning`"
        raise WriteError("the mount is KV version 1, which keeps no versions", where=target.path, todo=todo)
    is_same = source.path == target.path
    prefixes = tuple(config.secrets.prefix for config in configs.values()) if is_same else ()
    if folder.path.startswith(prefixes):
        raise UsageError("it lies in an environment's folder already", where=name, todo="name a folder that does not")
    return Move(
        source=folder,
        target=Folder(target.path, secrets.prefix),
        environments=frozenset(configs),
        prefixes=prefixes,
        shared=secrets.shared if is_same else (),
    )


def _line(one: SecretResult, move: Move) -> str:
    path = one.path if one.path.isprintable() else repr(one.path)
    match one.outcome:
        case Outcome.COPIED:
            lost = f", {one.lost} of them deleted, destroyed or gone" if one.lost else ""
            return f"+ {move.target}{path}: {one.versions} version{'s' * (one.versions != 1)}{lost}"
        case Outcome.EQUAL:
            return f"= {move.target}{path}: there already"
        case Outcome.REFUSED:
            return f"! {move.target}{path}: {one.why}"
        case Outcome.LEFT_OUT:
            return f"- {move.source}{path} stays: {one.why}"


def _sum_up(describe: Counter[str], move: Move, *, plan: bool) -> None:
    if not describe["COPIED"] + describe["EQUAL"] + describe["REFUSED"]:
        raise UsageError("there is no secret below it", where=str(move.source), todo="name a mount or a folder of one")
    done = "to copy" if plan else "copied and read back equal"
    print(
        f"{describe['COPIED']} {done} ({describe['versions']} versions), {describe['EQUAL']} there already, "
        f"{describe['REFUSED']} refused; the source stays as it is"
    )
    if describe["lost"]:
        print(
            f"{describe['lost']} versions cannot be read any more, and are so in the copy too: to keep what is in a "
            "deleted one, undelete it in the source first"
        )
    if describe["REFUSED"]:
        print("refused: nothing was overwritten; move away what is there, or make it equal, and run this again")
