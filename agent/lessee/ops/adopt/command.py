"""`lessee adopt`: moves the secrets of a Compose project to Vault, and adds the agent that renders them."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path

from lessee.config.grammar import scalars
from lessee.core.errors import ManuallyChangedError, UsageError
from lessee.core.immutable import replace
from lessee.host.clock import boot_time
from lessee.host.console import agrees, confirm, escape_unknown
from lessee.ops.adopt import planning
from lessee.ops.adopt.access import Access, NoVaultError, find_access, no_access
from lessee.ops.adopt.agent_image import IMAGE, AgentImage, build, find_image
from lessee.ops.adopt.apply import ENV, Apply, Prepared
from lessee.ops.adopt.clone_command import adopt_clone, clone_of, record_of
from lessee.ops.adopt.clones import Clone, CloneRun
from lessee.ops.adopt.files import objection
from lessee.ops.adopt.planning import Request
from lessee.ops.adopt.policy.edits import secret_values
from lessee.ops.adopt.policy.model import ManualStep, Project
from lessee.ops.adopt.policy.override_text import OVERRIDE
from lessee.ops.adopt.policy.report import plan_lines, summary
from lessee.ops.adopt.policy.rotation import StoreTarget
from lessee.ops.adopt.project import find_files, project_above
from lessee.ops.adopt.record import Phase, Record, RecordFolder
from lessee.ops.adopt.seal import MovedError
from lessee.ops.adopt.stack import Stack
from lessee.ops.adopt.store import VAULT, Store
from lessee.ops.adopt.undo import Undo
from lessee.process.hardening import harden
from lessee.vault.admin import admin_client

_ADOPTED = "nothing to do: this project is adopted"
_ROTATED = (
    "nothing to do: adopt has rotated these passwords; again: `docker compose run --rm lessee-rotator rotate NAME`"
)
_NO_STORE = "nothing to do: the project has no store whose password adopt rotates"


def run(arguments: argparse.Namespace) -> int:
    """0 where nothing is left to do. Raises ManuallyChangedError (75) where manual steps remain."""
    escape_unknown()
    arguments.rotate = arguments.rotate or bool(arguments.rotate_only)
    harden()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    environ = dict(os.environ)
    _check(arguments)
    folder = _project_folder(arguments, environ)
    records = RecordFolder(folder, environ)
    record = _loaded(arguments, records)
    if arguments.undo and record is None:
        if records.exists:
            with records.held(_say):
                pass  # It removes what a killed run has left.
        print("nothing to undo: this project is not adopted")
        return 0
    clone = clone_of(arguments, folder, record)
    if arguments.dev and not (arguments.plan or arguments.no_up or arguments.undo):
        Stack(folder, "", (), environ).require_engine()  # Before a server is started for it.
    known = record.address if record is not None else None
    try:
        may_ask = not arguments.plan
        access = find_access(
            environ, known, dev=arguments.dev, starts=may_ask, agree=lambda what: may_ask and agrees(what), say=_say
        )
    except NoVaultError as exc:
        if not arguments.plan or clone is not None:
            raise
        access = no_access(environ, dev=arguments.dev)
        request = _request(arguments, folder, record, access, environ)
        return _plan(arguments, record, request, access, None, str(exc))
    if record is not None:
        _require_same(record, arguments, access)
    try:
        if clone is not None:
            return _take_over(arguments, records, clone, access, environ)
        request = _request(arguments, folder, record, access, environ)
        config = access.config(request.environment)
        with admin_client(config.vault, access.environ, boot_time) as client:
            store = Store(client, config, arguments.prefer)
            if arguments.plan:
                return _plan(arguments, record, request, access, store)
            return _run(arguments, records, request, access, store)
    except KeyboardInterrupt:
        if not arguments.plan:
            _say("interrupted; run it again to continue, or with --undo to reverse")
        raise


def _loaded(arguments: argparse.Namespace, records: RecordFolder) -> Record | None:
    """The record. One that was moved here with its project is sealed for this folder, if the user says so."""
    arguments.is_moved = False
    try:
        return records.load()
    except MovedError as exc:
        named = arguments.moved_from is not None and Path(arguments.moved_from).absolute() == Path(exc.old)
        if arguments.plan or not (named or exc.is_same_folder):
            raise
        print(f"this project was moved: {exc.old} → {records.path.parent}", flush=True)
        todo = f"add --moved-from {shlex.quote(exc.old)}"
        confirm("continue in its new place?", yes=named, todo=todo)
        records.take_over(exc.old, _say)
        arguments.is_moved = True
    return records.load()


def _take_over(
    arguments: argparse.Namespace, records: RecordFolder, clone: Clone, access: Access, environ: Mapping[str, str]
) -> int:
    """Adopt a clone of an adopted project, or take over what another clone has adopted since then."""
    config = access.config(clone.committed.environment)
    with admin_client(config.vault, access.environ, boot_time) as client:
        store = Store(client, config)
        with records.held(_say) if not arguments.plan else nullcontext(records) as folder:
            record = record_of(arguments, clone, folder.load(), access)
            run = CloneRun(clone, folder.path.parent, access, store, _say)
            stack = Stack(folder.path.parent, record.compose_name, record.env_files, environ, folder.lock)
            return adopt_clone(arguments, folder, run, record, stack, store)


def _request(
    arguments: argparse.Namespace,
    folder: Path,
    record: Record | None,
    access: Access,
    environ: Mapping[str, str],
) -> Request:
    if record is not None:
        return Request(
            folder,
            tuple(arguments.files) or record.files,
            tuple(arguments.env_file) or record.env_files,
            record.environment,
            arguments.image or record.image,
            environ,
        )
    if arguments.environment is not None:
        _require_name(arguments.environment)
    environment = arguments.environment or access.environment
    return Request(
        folder,
        tuple(arguments.files),
        tuple(arguments.env_file),
        environment,
        arguments.image or IMAGE,
        environ,
        arguments.labels,
    )


def _run(arguments: argparse.Namespace, records: RecordFolder, request: Request, access: Access, store: Store) -> int:
    while True:
        with records.held(_say) as folder:
            record = folder.load()
            stack = _stack(folder, record, request)
            if record is None and arguments.undo:
                return 0  # Another run has undone it meanwhile.
            if arguments.undo:
                assert record is not None
                confirm("undo the adoption?", yes=arguments.yes)
                return _finish(_undo(arguments, folder, record, stack, store), "undone")
            if record is None or record.phase is not Phase.UNDOING:
                return _adopt(arguments, folder, record, request, access, store, stack)
            _say("an undo was not finished: it is finished first")
            confirm("finish the undo?", yes=arguments.yes)
            steps = _undo(arguments, folder, record, stack, store)
            if folder.load() is not None:
                return _finish(steps, "undone")


def _plan(
    arguments: argparse.Namespace,
    record: Record | None,
    request: Request,
    access: Access,
    store: Store | None,
    note: str = "",
) -> int:
    stack = Stack(request.folder, "", request.env_files, request.environ)
    has_engine = stack.answers()
    project = planning.read(request)
    known = record or planning.new_record(project, request, access)
    prepared, _ = planning.prepare(project, replace(known, files=request.files), access, store)
    rotating = _rotating(arguments, prepared, known)
    image = _image(arguments, stack, known, rotating) if has_engine and not arguments.no_up else None
    if not has_engine:
        print("the Docker Engine does not answer, so this plan guesses what is in the images")
        print("steps with ? depend on an image: they may not be needed once the Engine answers and has it")
    _print_plan(prepared, request.folder, image, is_guessed=not has_engine)
    _print_rotation(rotating)
    if store is not None:
        store.missing(prepared.plan.secrets)
        _print_conflicts(prepared, store)
    is_done = record is not None and record.phase is Phase.DONE and not rotating
    if is_done and planning.is_unchanged(prepared, known, request.folder):
        print(_ADOPTED)
    problems = (image.problem if image is not None else None, objection(request.folder, prepared.texts, known))
    for text in filter(None, (note, *(str(problem) for problem in problems if problem is not None))):
        print(f"note: {text}")
    return _finish(prepared.plan.manual_steps, "", is_listed=True, marks="!" if has_engine else "! or ?")


def _adopt(
    arguments: argparse.Namespace,
    folder: RecordFolder,
    record: Record | None,
    request: Request,
    access: Access,
    store: Store,
    stack: Stack,
) -> int:
    apply = Apply(folder, stack, store, access.environ, _say)
    if record is not None and record.phase is Phase.EDITING:
        _say("an adoption was interrupted: it is continued")
        confirm("continue the adoption?", yes=arguments.yes)
        record = apply.finish_edits(record)
    project = planning.read(request)
    known = record or planning.new_record(project, request, access)
    if known.phase is Phase.DONE or record is None:
        known = replace(known, files=request.files, image=request.image)
        if not arguments.no_up:
            stack.require_engine()
            known = replace(known, services=_running(stack, project))
    prepared, planned = planning.prepare(project, known, access, store)
    steps = (*_of_another_name(project, known), *prepared.plan.manual_steps)
    rotating = _rotating(arguments, prepared, known)
    if known.phase is Phase.DONE and record is not None and planning.is_unchanged(prepared, record, request.folder):
        return _adopted(arguments, apply, prepared, record, stack, rotating, steps)
    if not prepared.plan.apps and record is None:
        print("nothing to do: no secret that lessee can move was found")
        return _finish(steps, "")
    planned_image = None if arguments.no_up else _image(arguments, stack, known, rotating)
    _print_plan(prepared, request.folder, planned_image)
    apply.check(prepared, known, planned_image)
    if planned_image is not None:
        access.require_reachable()
    _print_conflicts(prepared, store)
    _print_rotation(rotating)
    more = f", and rotate {_names(rotating)}" if rotating else ""
    confirm(f"adopt this project{more}?", yes=arguments.yes, todo="add --yes, or see it with --plan")
    if planned_image is not None:
        build(stack, planned_image, _say)
    done = apply.prepare(prepared, planned)
    if arguments.no_up:
        words = " ".join(f"-f {name}" for name in (*done.files, OVERRIDE))
        print(f"the files are written, and yours are unchanged. Start the stack: `docker compose {words} up -d`")
        print("then run `lessee adopt` again: it takes the plaintext out of your files")
        return _finish(steps, "", is_listed=True)
    apply.start(prepared, done, arguments.timeout)
    done = apply.edit(prepared, done)
    done = apply.verify(prepared, done, planning.read(request, project))
    apply.write_model(done)
    apply.share(prepared, done)
    done = apply.wrap_mcp(prepared, apply.remove_obsolete_roles(prepared, done), access)
    if arguments.rotate:
        return _rotate(arguments, apply, prepared, done, rotating, is_started=True)
    if pending := prepared.rotations.pending(done.rotated):
        _say(f"note: the old passwords of {_names(pending)} stay valid; `lessee adopt --rotate` lets them end")
    return _finish(steps, "adopted", is_listed=True)


def _adopted(
    arguments: argparse.Namespace,
    apply: Apply,
    prepared: Prepared,
    record: Record,
    stack: Stack,
    rotating: tuple[StoreTarget, ...],
    steps: Iterable[ManualStep],
) -> int:
    """What is left to do for a project that is adopted."""
    apply.write_model(record)
    if arguments.rotate:
        image = _image(arguments, stack, record, rotating)
        _print_lines(image.lines())
        _print_rotation(rotating)
        apply.check(prepared, record, image)
        if rotating:
            confirm(f"rotate {_names(rotating)}?", yes=arguments.yes, todo="add --yes, or see it with --plan")
            build(stack, image, _say)
        return _rotate(arguments, apply, prepared, record, rotating, is_started=False)
    if arguments.is_moved and not arguments.no_up:
        stack.up(record.stack_files, record.services or stack.services(record.stack_files), arguments.timeout, _say)
        return _finish(steps, "adopted, in its new place")
    print(_ADOPTED)
    return _finish(steps, "")


def _rotating(arguments: argparse.Namespace, prepared: Prepared, record: Record) -> tuple[StoreTarget, ...]:
    """The targets that this run rotates. Raises UsageError for a name that none has."""
    if unknown := prepared.rotations.unknown(arguments.rotate_only):
        names = ", ".join(prepared.rotations.services) or "no service"
        raise UsageError(
            f"adopt rotates no password of {', '.join(unknown)}", where="--rotate-only", todo=f"it rotates {names}"
        )
    return prepared.rotations.pending(record.rotated, arguments.rotate_only) if arguments.rotate else ()


def _image(
    arguments: argparse.Namespace, stack: Stack, record: Record, rotating: tuple[StoreTarget, ...]
) -> AgentImage:
    """The image of agent and rotator; adopt builds the one that a user has not named."""
    may_build = arguments.image is None and record.image == IMAGE
    return find_image(stack, record.image, may_build=may_build, rotates=bool(rotating), base=arguments.base_image)


def _print_conflicts(prepared: Prepared, store: Store) -> None:
    if store.prefer is None:
        return  # Each would have been an error before.
    how = "the value of Vault is used" if store.prefer == VAULT else "Vault gets a new version with that of your files"
    for field in store.conflicts(prepared.plan.secrets):
        print(f"{field.path}#{field.field} has another value in Vault: {how}", flush=True)


def _print_rotation(targets: Iterable[StoreTarget]) -> None:
    targets = tuple(targets)
    if targets:
        print("passwords that change, in the store and in Vault; your files' old ones end:")
    for target in targets:
        print(f"  ~ {target.service}: {target.path}", flush=True)


def _names(targets: Iterable[StoreTarget]) -> str:
    return ", ".join(target.name for target in targets)


def _rotate(
    arguments: argparse.Namespace,
    apply: Apply,
    prepared: Prepared,
    record: Record,
    targets: tuple[StoreTarget, ...],
    *,
    is_started: bool,
) -> int:
    """Let the passwords end that were in the user's files, also in their history."""
    if not targets and not is_started:
        steps = (*prepared.plan.manual_steps, *prepared.rotations.steps)
        return _finish(steps, _ROTATED if record.rotated else _NO_STORE)
    prepared = replace(prepared, rotations=replace(prepared.rotations, targets=targets))
    steps = (*prepared.plan.manual_steps, *apply.rotate(prepared, record, arguments.timeout, is_started=is_started))
    return _finish(steps, "adopted, and rotated" if prepared.rotations.targets else "adopted")


def _undo(
    arguments: argparse.Namespace, folder: RecordFolder, record: Record, stack: Stack, store: Store
) -> tuple[ManualStep, ...]:
    stack.hide("adopted", secret_values(planning.adopted(record, store).stored).values())
    return Undo(folder, stack, store, _say).run(record, arguments.timeout, with_engine=not arguments.no_up)


def _stack(folder: RecordFolder, record: Record | None, request: Request) -> Stack:
    project = record.compose_name if record is not None else ""
    return Stack(request.folder, project, request.env_files, request.environ, folder.lock)


def _running(stack: Stack, project: Project) -> tuple[str, ...]:
    """The services that have a container, if one of them runs; empty: none."""
    stack.project = stack.project or project.name
    found = [one for one in stack.containers() if one.service in project.services]
    return tuple(sorted({one.service for one in found})) if any(one.is_running for one in found) else ()


def _of_another_name(project: Project, record: Record) -> tuple[ManualStep, ...]:
    """A step where a plain `docker compose` would start another stack, with empty volumes: the folder was renamed."""
    if project.name == record.compose_name:
        return ()
    what = f"Compose names this project {project.name} here, and its containers and volumes are those of"
    todo = f"write `COMPOSE_PROJECT_NAME={record.compose_name}` into it"
    return (ManualStep(ENV, f"{what} {record.compose_name}", todo),)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.plan and arguments.undo:
        raise UsageError("--plan has no effect with --undo", todo="omit one of them")
    for name in ("rotate", "environment", "image", "base_image", "labels") if arguments.undo else ():
        if getattr(arguments, name):
            raise UsageError(f"--{name.replace('_', '-')} has no effect with --undo", todo="omit it")
    if arguments.image is not None and arguments.base_image is not None:
        raise UsageError("adopt builds no image that --image names", where="--base-image", todo="omit one of them")
    if arguments.rotate and arguments.no_up:
        raise UsageError("--rotate needs the running stack", todo="omit --no-up")


def _require_name(environment: str) -> None:
    word = scalars.scalar_of(scalars.Name)
    try:
        word.read(environment)
    except ValueError:
        raise UsageError(f"--environment wants {word.expected}", todo="name it as in --environment staging") from None


def _require_same(record: Record, arguments: argparse.Namespace, access: Access) -> None:
    """Raises UsageError where the project was adopted with something else."""
    given = {
        "--environment": (record.environment, arguments.environment),
        "VAULT_ADDR": (record.address, access.address),
    }
    if arguments.labels and not record.labels:
        todo = "undo that adoption first: `lessee adopt --undo`"
        raise UsageError("this project was adopted with entries in lessee.yaml", where="--labels", todo=todo)
    for where, (known, asked) in given.items():
        if asked and asked.rstrip("/") != known.rstrip("/"):
            todo = f"use that, or undo that adoption first: `lessee adopt --undo` with {where} {known}"
            raise UsageError(f"this project was adopted with {known}", where=where, todo=todo)


def _project_folder(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Path:
    """The folder of the first Compose file; it makes the named files relative to it."""
    here = Path.cwd()
    arguments.named_files = []
    if arguments.files:
        folder: Path = (here / arguments.files[0]).parent
        arguments.files = [os.path.relpath(here / name, folder) for name in arguments.files]
        arguments.named_files = arguments.files
    else:
        start = project_above(here, environ)
        folder = start
        if not RecordFolder(start, environ).has_record:
            files = find_files(start, environ)
            folder = files[0].parent
            arguments.files = [os.path.relpath(name, folder) for name in files]
        if start != here:
            _say(f"the project is in {folder}; type `docker compose` there too")
    arguments.env_file = [os.path.relpath(here / name, folder) for name in arguments.env_file]
    return folder


def _print_plan(prepared: Prepared, folder: Path, image: AgentImage | None, *, is_guessed: bool = False) -> None:
    new = [name for name in prepared.texts if not os.path.lexists(folder / name)]
    edits = [edit for change in (*prepared.early, *prepared.edits) for edit in change.edits]
    _print_lines(plan_lines(prepared.plan, new, edits, is_guessed=is_guessed))
    _print_lines(prepared.mcp.lines())
    _print_lines(image.lines() if image is not None else ())
    _print_lines((summary(prepared.plan),))


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _finish(steps: Iterable[ManualStep], done: str, *, is_listed: bool = False, marks: str = "!") -> int:
    """Raises ManuallyChangedError if there are steps left to a person."""
    steps = tuple(steps)
    for step in () if is_listed else steps:
        print(f"  ! {step}")
    if steps:
        what = f"{len(steps)} manual step{'s' * (len(steps) != 1)} remain{'s' * (len(steps) == 1)}"
        raise ManuallyChangedError(f"{done}, but {what}" if done else what, todo=f"see the lines marked with {marks}")
    if done:
        print(done)
    return 0


def _say(text: str) -> None:
    print(f"lessee: {text}", file=sys.stderr, flush=True)
