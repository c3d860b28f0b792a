"""`lessee adopt` in a clone of a project that is adopted already, and after a pull of another clone's adoption."""

import argparse
import secrets
import sys
from pathlib import Path

from lessee.core.errors import ConfigError, LesseeError, ManuallyChangedError, UsageError
from lessee.core.immutable import replace
from lessee.host.console import confirm
from lessee.ops.adopt.access import Access
from lessee.ops.adopt.agent_image import IMAGE, AgentImage, build, find_image
from lessee.ops.adopt.clones import Clone, CloneRun, read_clone
from lessee.ops.adopt.files import digest
from lessee.ops.adopt.policy.clone_text import LOCAL_FILE, ClonePlan, clone_lines, missing_lines
from lessee.ops.adopt.policy.committed import FILE
from lessee.ops.adopt.record import Phase, Record, RecordFolder
from lessee.ops.adopt.stack import Stack
from lessee.ops.adopt.store import Store


def clone_of(arguments: argparse.Namespace, folder: Path, record: Record | None) -> Clone | None:
    """The adoption that came with the project's files; None where this run has nothing to take over from it.

    Raises ConfigError for what adopt did not write, and UsageError for options that a clone cannot have.
    """
    if arguments.undo or (record is not None and record.phase not in {Phase.CLONING, Phase.DONE}):
        return None
    clone = read_clone(folder)
    if clone is None:
        if record is not None and record.phase is Phase.CLONING:
            todo = "restore it from the repository, or run `lessee adopt --undo`"
            raise ConfigError([LesseeError("the file is missing", where=str(folder / FILE), todo=todo)])
        return None
    if record is not None:
        is_known = record.generated.get(FILE) == digest(clone.texts[FILE].encode())
        if record.phase is Phase.DONE and is_known:
            return None
        if clone.committed.id != record.project_id:
            what = "this file is of another project than the one that was adopted here"
            todo = "restore it from the repository, or undo the adoption with `lessee adopt --undo`"
            raise ConfigError([LesseeError(what, where=str(folder / FILE), todo=todo)])
    environment = clone.committed.environment
    if arguments.environment not in {None, environment}:
        todo = "omit it, or undo the adoption where it was made, and adopt the project again"
        raise UsageError(f"this project was adopted with {environment}", where="--environment", todo=todo)
    if arguments.rotate:
        raise UsageError("--rotate is for an adopted project", todo="run `lessee adopt` without it first")
    return clone


def record_of(arguments: argparse.Namespace, clone: Clone, record: Record | None, access: Access) -> Record:
    """The record with what the clone's files say; `record`: the one that is there already."""
    committed = clone.committed
    if record is None:
        record = Record(
            id=secrets.token_hex(4),
            project=committed.project,
            environment=committed.environment,
            address=access.address,
            image=committed.deployment.image,
            labels=committed.deployment.labels,
            phase=Phase.CLONING,
            project_id=committed.id,
            is_clone=True,
            local_files=(LOCAL_FILE,),
            ca_file=access.ca_file,
            namespace=access.namespace or None,
            files=tuple(arguments.named_files),
            env_files=tuple(arguments.env_file),
        )
    return replace(
        record,
        image=arguments.image or record.image,
        deployment=committed.deployment if record.is_clone else None,
        files=record.files or committed.files,
        references=committed.references,
        uses=committed.uses,
        stored=committed.stored,
        rendered=committed.rendered,
    )


def adopt_clone(
    arguments: argparse.Namespace, records: RecordFolder, run: CloneRun, record: Record, stack: Stack, store: Store
) -> int:
    """Plan, ask, and adopt the clone. Raises LesseeError."""
    plan = run.plan(record)
    for line in (*clone_lines(plan, store.data_path), *missing_lines(plan, is_dev=run.access.is_dev)):
        print(line, flush=True)
    _require_secrets(plan, run.access)
    if arguments.plan:
        return 0
    image = None if arguments.no_up else _image(arguments, stack, record)
    for line in image.lines() if image is not None else ():
        print(line, flush=True)
    run.check(record, stack, image)
    _require_consent(plan, arguments)
    confirm("adopt this clone, and start it?", yes=arguments.yes, todo="add --yes, or see it with --plan")
    if image is not None:
        build(stack, image, _say)
    record = run.write(records, record)
    if arguments.no_up:
        run.done(records, record)
        print("the files are written. Start the stack: `docker compose up -d`")
        return 0
    record = run.start(records, record, stack, arguments.timeout)
    run.done(records, record)
    print("adopted")
    if left := run.plaintext():
        names = ", ".join(left)
        _say(f"note: {names} may have plaintext that Vault has too; `lessee adopt` takes it out")
    return 0


def _image(arguments: argparse.Namespace, stack: Stack, record: Record) -> AgentImage:
    """The agent's image; adopt builds the one that neither the user nor the clone's files have named."""
    may_build = arguments.image is None and record.image == IMAGE
    return find_image(stack, record.image, may_build=may_build, rotates=False, base=arguments.base_image)


def _require_secrets(plan: ClonePlan, access: Access) -> None:
    if plan.missing:
        what = f"your Vault does not have {len(plan.missing)} of the project's secrets, and nothing was changed"
        todo = "store them with the commands above, and run `lessee adopt` again"
        raise ManuallyChangedError(what, where=access.address, todo=todo)


def _require_consent(plan: ClonePlan, arguments: argparse.Namespace) -> None:
    """Raises UsageError where --yes alone would give secrets to a project that this Vault does not know."""
    if arguments.yes and not plan.is_known and arguments.environment is None:
        committed = plan.committed
        what = f"your Vault knows no clone of {committed.project}, so it is not known what its services may read"
        todo = f"if they may read the secrets above, add --environment {committed.environment}, or omit --yes"
        raise UsageError(what, where="--yes", todo=todo)


def _say(text: str) -> None:
    print(f"lessee: {text}", file=sys.stderr, flush=True)
