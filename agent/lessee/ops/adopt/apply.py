"""Applies a plan: each step can be repeated, and the record says how far a killed run was."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from lessee.config import Config
from lessee.core.errors import LesseeError, ManuallyChangedError, WriteError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.printable import counted
from lessee.host.directories import translate_write_errors
from lessee.host.project import Project as Configuration
from lessee.host.project import load
from lessee.host.user_file import symbolic_links, write_beneath
from lessee.ops.adopt import files as project_files
from lessee.ops.adopt.access import Access
from lessee.ops.adopt.agent_image import AgentImage
from lessee.ops.adopt.files import digest
from lessee.ops.adopt.logins import Logins
from lessee.ops.adopt.mcp import CONFIG as MCP_CONFIG
from lessee.ops.adopt.mcp import McpPlan, apply_mcp, written_files
from lessee.ops.adopt.policy.committed import CONFIG, is_contained
from lessee.ops.adopt.policy.edits import apply_edits, changed_values, lines_after, secret_values
from lessee.ops.adopt.policy.guard import without_guard
from lessee.ops.adopt.policy.model import Edit, ManualStep, Plan, Project
from lessee.ops.adopt.policy.override_text import AGENT, OVERRIDE, OWN_SERVICES
from lessee.ops.adopt.policy.rotation import RotatedStore, Rotations
from lessee.ops.adopt.policy.service_labels import reduced_model
from lessee.ops.adopt.policy.shown import shown, words
from lessee.ops.adopt.record import IDENTITY, EditedFile, Phase, Record, RecordFolder
from lessee.ops.adopt.rotation import first_rotation
from lessee.ops.adopt.stack import Stack, StackError, leaks
from lessee.ops.adopt.store import Store
from lessee.ops.setup.command import set_up_server
from lessee.ops.setup.policy.desired_state import ROTATOR, Desired
from lessee.ops.setup.policy.objects import Group, Kind, Object
from lessee.ops.setup.policy.plan import Conflict, ServerConfigRequired, Step
from lessee.ops.setup.policy.plan_report import step_lines
from lessee.vault.admin import AdminClient

ENV = ".env"
IGNORE = ".dockerignore"
_GROUPS = (Group.MOUNTS, Group.POLICIES, Group.ROLES, Group.SECRETS)

Say = Callable[[str], None]


class Prepared(ImmutableStruct, frozen=True):
    """A plan with all that it writes."""

    plan: Plan
    texts: Mapping[str, str]
    """The files that adopt writes, by their paths."""
    early: tuple[EditedFile, ...]
    """Changes of the user's files before the stack starts: they keep the login out of images."""
    edits: tuple[EditedFile, ...]
    """Changes of the user's files, `.env` first: from then on a plain `docker compose up` uses the override."""
    contents: Mapping[str, bytes]
    """What these files have now."""
    rotations: Rotations = Rotations()
    mcp: McpPlan = McpPlan()

    hidden = ("contents",)


class Apply:
    """One run of `lessee adopt`. It raises LesseeError; then the next run continues, or `--undo` reverses."""

    def __init__(self, folder: RecordFolder, stack: Stack, store: Store, environ: Mapping[str, str], say: Say) -> None:
        self._folder = folder
        self._project = folder.path.parent
        self._stack = stack
        self._store = store
        self._logins = Logins(store.client)
        self._environ = environ
        self._say = say

    def check(self, prepared: Prepared, record: Record, image: AgentImage | None) -> None:
        """Raises LesseeError for all that can be known to fail before anything is changed.

        `image`: None where no container is to be started.
        """
        if image is not None:
            self._stack.require_engine()
            image.require()
        names = [change.path for change in (*prepared.early, *prepared.edits)]
        project_files.check_editable(self._project, names)
        # The names of the templates for MCP clients are not known yet.
        links = symbolic_links(self._project / MCP_CONFIG.partition("/")[0])
        own = [MCP_CONFIG, *(str(link.relative_to(self._project)) for link in links)]
        project_files.check_generated(self._project, (*prepared.texts, *(own if prepared.mcp.files else ())))
        if (objection := project_files.objection(self._project, prepared.texts, record)) is not None:
            raise objection
        self._store.missing(prepared.plan.secrets)
        self._logins.check(record, self._configuration(prepared.texts))

    def prepare(self, prepared: Prepared, record: Record) -> Record:
        """Write to Vault, and write adopt's own files. The user's files and the stack are as before."""
        own = project_files.own_files(self._project, prepared.texts, record)
        generated = {**record.generated, **{name: digest(text.encode()) for name, text in prepared.texts.items()}}
        # Saved first: a killed run may have written some of it.
        missing = self._store.missing(prepared.plan.secrets)
        written = tuple(dict.fromkeys((*record.written, *missing)))
        record = self._folder.save(
            replace(record, phase=Phase.PREPARING, generated=generated, replaced=own.replaced, written=written)
        )
        for content in prepared.contents.values():
            self._store.back_up(record, content)
        for change in prepared.early:
            record = self._change(record, change)
        self._store.save(prepared.plan.secrets, self._say)
        new = {field.path for field in prepared.plan.secrets} - record.versions.keys()
        versions = {**record.versions, **{path: self._store.version(path) for path in new}}
        record = self._folder.save(replace(record, versions=versions))
        record = self._set_up(prepared, record)
        project_files.write_generated(self._project, own.texts)
        for name in own.texts:
            self._say(f"+ {name}")
        return record

    def start(self, prepared: Prepared, record: Record, timeout: float) -> None:
        """Start the stack with the override. Raises StackError; then the stack runs without it, if it can."""
        values = secret_values(prepared.plan.secrets)
        now = secret_values(self._store.current(prepared.plan.secrets))
        self._stack.hide("plan", (*values.values(), *now.values()))
        every = self._stack.services(record.stack_files)
        ours = [name for name in every if name in OWN_SERVICES]
        services = record.services or [name for name in every if name not in ours]
        try:
            self._stack.up(record.stack_files, (*services, *ours), timeout, self._say)
            self._check_inspected(prepared, values)
        except LesseeError as exc:
            self._say("the stack is not well with the rendered secrets; starting it as it was")
            take_back = self._restored if _uses_override(record) else self._without_override
            raise take_back(str(exc), record, services, timeout) from None
        self._say("the stack is healthy with the rendered secrets")

    def edit(self, prepared: Prepared, record: Record) -> Record:
        """Take the plaintext out of the user's files. Raises WriteError where another program changes one meanwhile."""
        edited = (*record.edited, *(change for change in prepared.edits if change not in record.edited))
        record = self._folder.save(replace(record, phase=Phase.EDITING, edited=edited, replaced={}))
        for change in prepared.edits:
            project_files.edit(self._project, change)
            self._say(f"~ {change.path}")
        return record

    def wrap_mcp(self, prepared: Prepared, record: Record, access: Access) -> Record:
        """Have the servers of MCP clients get their secrets from lessee. Raises LesseeError; the next run continues."""
        if not prepared.mcp.files:
            return record
        # Saved first: a killed run may have written the file.
        record = self._folder.save(replace(record, generated={MCP_CONFIG: "", **record.generated}))
        environ = {**self._environ, "LESSEE_ENVIRONMENT": record.environment}
        for edit in apply_mcp(prepared.mcp, self._project, environ, self._say, access.of_programs()):
            generated = {**record.generated, **written_files(self._project)}
            others = tuple(one for one in record.mcp if one != edit)
            record = self._folder.save(replace(record, mcp=(*others, edit), generated=generated))
        return record

    def rotate(self, prepared: Prepared, record: Record, timeout: float, *, is_started: bool) -> tuple[ManualStep, ...]:
        """Let the passwords end that were in the user's files. Returns what is left to a person. Raises LesseeError.

        `is_started`: this run has started the stack, so it need not do so again.
        """
        files = record.stack_files

        def save(rotated: RotatedStore) -> None:
            nonlocal record
            others = tuple(one for one in record.rotated if one.name != rotated.name)
            record = self._folder.save(replace(record, rotated=(*others, rotated)))

        run = partial(self._stack.run, files)
        steps = first_rotation(self._store, run, prepared.rotations.targets, record, save, self._say)
        settle = self._stack.wait if is_started else self._stack.up
        settle(files, record.services or self._stack.services(files), timeout, self._say)
        return (*prepared.rotations.steps, *steps)

    def finish_edits(self, record: Record) -> Record:
        """Make the changes that a killed run has recorded and not made. A file that changed meanwhile is left as it is.

        The next plan then has what is still in it.
        """
        edited = list(record.edited)
        for change in record.edited:
            if any(later.path == change.path for later in edited[edited.index(change) + 1 :]):
                continue
            try:
                project_files.edit(self._project, change)
            except WriteError:
                if project_files.is_reachable(self._project, change):
                    raise
                edited.remove(change)
        return self._folder.save(replace(record, edited=tuple(edited), phase=Phase.DONE))

    def verify(self, prepared: Prepared, record: Record, project: Project) -> Record:
        """Done. Raises LesseeError where the edited project is not as planned; then the files are as before.

        `project`: as Compose reads it without the override, and without what the edits have removed.
        """
        edited = {
            (change.path, line)
            for change in prepared.edits
            for line in lines_after(prepared.contents[change.path], change.edits)
        }
        moved = set(record.uses)
        left = sorted(
            f"{use.name} of {use.service}"
            for use in project.uses
            if (use.service, use.name) in moved
            and any(one.span is not None and (one.span.file, one.span.line) in edited for one in use.sources)
        )
        before = {(use.service, use.name): use.value for use in prepared.plan.project.uses}
        now = {(use.service, use.name): use.value for use in project.uses}
        changed = sorted(
            f"{name} of {service}"
            for (service, name), value in before.items()
            if (service, name) not in moved and now.get((service, name)) != value
        )
        for name, service in prepared.plan.project.services.items():
            same = frozenset(project.services[name].other) if name in project.services else frozenset()
            changed += [f"{one[0]} of {name}" for one in service.other if one not in same]
        has_agent = AGENT in self._stack.services_by_default()
        if has_agent and not left and not changed:
            return self._folder.save(replace(record, phase=Phase.DONE))
        for change in reversed(prepared.edits):
            before_edit = prepared.contents[change.path]
            after = apply_edits(before_edit, change.edits)
            project_files.put_back(self._project, change, after, None if change.is_new else before_edit)
        kept = tuple(change for change in record.edited if change not in prepared.edits)
        self._folder.save(replace(record, phase=Phase.PREPARING, edited=kept))
        names = ", ".join(left or changed)
        what = f"without the plaintext, Compose would {'still read' if left else 'change'} {names}"
        if not names:
            what = f"a plain `docker compose` would not use {OVERRIDE}"
        raise LesseeError(what, where=str(self._project), todo="your files are as before; please report this")

    def share(self, prepared: Prepared, record: Record) -> None:
        """Store the edited files that git may ignore, for other clones. A clone's own are not stored."""
        if record.is_clone:
            return
        project = prepared.plan.project
        setting = (record.env_files or (ENV,))[-1]
        every = dict.fromkeys([setting, *record.references, *project.project_env, *project.inputs])
        names = [name for name in every if is_contained(name) and name not in project.files]
        shared = {}
        for name, content in project_files.read_files(self._project, names).items():
            if len(content) <= _LARGEST_SHARED:
                with suppress(UnicodeDecodeError):  # No file of variables.
                    shared[name] = content.decode()
        self._store.save_clones_files(record, shared)

    def write_model(self, record: Record) -> None:
        """Write the labels of the services for the agent, as a person may have changed them."""
        if record.labels:
            text = reduced_model(self._stack.model(record.stack_files))
            if project_files.read_files(self._project, [project_files.MODEL]) != {project_files.MODEL: text.encode()}:
                project_files.write_generated(self._project, {project_files.MODEL: text})
                self._say(f"+ {project_files.MODEL}")

    def remove_obsolete_roles(self, prepared: Prepared, record: Record) -> Record:
        """Remove the roles that earlier plans needed, and this one does not."""
        needed = role_names(self._configuration(prepared.texts).config) if prepared.texts else ()
        obsolete = [role for role in record.roles if role not in needed]
        if obsolete:
            self._logins.remove(record, self._folder.path / IDENTITY, obsolete)
            record = self._folder.save(replace(record, roles=tuple(needed)))
        return record

    def _change(self, record: Record, change: EditedFile) -> Record:
        if change not in record.edited:
            record = self._folder.save(replace(record, edited=(*record.edited, change)))
        project_files.edit(self._project, change)
        return record

    def _set_up(self, prepared: Prepared, record: Record) -> Record:
        configuration = self._configuration(prepared.texts)
        set_up_roles(self._store.client, configuration, self._environ, self._say)
        roles = role_names(configuration.config)
        record = self._folder.save(replace(record, roles=tuple(dict.fromkeys((*record.roles, *roles)))))
        for role in roles:
            self._logins.write_identity(role, self._folder.path, f"{IDENTITY}/{record.environment}/{role}", record)
        return record

    def _configuration(self, texts: Mapping[str, str]) -> Configuration:
        """The agent's configuration, compiled from a copy: the project's folder has none yet."""
        with translate_write_errors(Path(gettempdir())), TemporaryDirectory(prefix="lessee-adopt-") as folder:
            for name, text in texts.items():
                write_beneath(Path(folder), name, text.encode())
            return load(Path(folder) / CONFIG, dict(self._environ), blocks=("setup", "rotation"))

    def _check_inspected(self, prepared: Prepared, values: Mapping[str, str]) -> None:
        """Raises StackError where `docker inspect` shows a value that the plan does not leave there."""
        project = prepared.plan.project
        by_chance = words(project)
        values = {name: value for name, value in values.items() if len(value) >= _SHORTEST and value not in by_chance}
        expected = {(service, name) for service, _, name in shown(project, prepared.plan.apps, values)}
        found = [
            (one.name, name)
            for one in self._stack.containers()
            for name in leaks(one, values)
            if (one.service, name) not in expected
        ]
        if found:
            container, name = found[0]
            what = f"`docker inspect` still shows the value of {name}"
            raise StackError(what, where=container, todo="please report this")

    def _without_override(self, cause: str, record: Record, services: Sequence[str], timeout: float) -> StackError:
        """Start the stack of a project that was not adopted before this run; `cause`: why the run failed."""
        todo = "correct the cause and run `lessee adopt` again, or remove its files with --undo"
        try:
            ours = [name for name in self._stack.services(record.stack_files) if name in OWN_SERVICES]
            self._stack.up(record.files, services, timeout, self._say)
            self._stack.remove_services(record.stack_files, ours)
        except StackError as exc:
            return StackError(f"{cause}\nstarting it as it was failed too: {exc}\n{todo}")
        return StackError(f"{cause}\nthe stack runs as before, and no file of yours was changed; {todo}")

    def _restored(self, cause: str, record: Record, services: Sequence[str], timeout: float) -> StackError:
        """Start the adopted stack with adopt's files of before this run: without them, its files have no secrets."""
        todo = "correct the cause and run `lessee adopt` again, or reverse the whole adoption with --undo"
        texts = {name: texts[0] for name, texts in reversed(list(record.replaced.items()))}
        try:
            project_files.write_generated(self._project, texts)
            generated = {**record.generated, **{name: digest(text.encode()) for name, text in texts.items()}}
            record = self._folder.save(replace(record, generated=generated, replaced={}))
            every = self._stack.services(record.stack_files)
            wanted = (*(name for name in services if name in every), *(one for one in every if one in OWN_SERVICES))
            self._stack.up(record.stack_files, wanted, timeout, self._say)
        except LesseeError as exc:
            return StackError(f"{cause}\nstarting it as it was failed too: {exc}\n{todo}")
        what = "the stack runs as before with adopt's files of before, and no file of yours was changed"
        return StackError(f"{cause}\n{what}; {todo}")


def _uses_override(record: Record) -> bool:
    """Whether an earlier run has edited the project's files, so that Compose starts nothing without the override."""
    return any(change.path != IGNORE for change in record.edited)


def set_up_roles(
    client: AdminClient,
    configuration: Configuration,
    environ: Mapping[str, str],
    say: Say,
    only: Collection[str] | None = None,
) -> None:
    """Create what the agents need in Vault; of roles and policies, `only` these. Raises LesseeError."""
    left: list[Step] = []

    def report(step: Step) -> None:
        say(next(iter(step_lines(step))).strip())
        if isinstance(step, Conflict | ServerConfigRequired):
            left.append(step)

    def is_wanted(item: Desired) -> bool:
        is_role = isinstance(item, Object) and item.kind in {Kind.POLICY, Kind.ROLE}
        return only is None or not is_role or item.name in only

    set_up_server(client, configuration, _GROUPS, environ, report, is_wanted)
    if left:
        differ = "differs" if len(left) == 1 else "differ"
        what = f"{counted(len(left), 'object')} in Vault {differ} from what the agent needs (marked with !)"
        raise ManuallyChangedError(what, where=client.address, todo="correct them, or pass another --environment")


def changes_of(contents: Mapping[str, bytes], edits: Sequence[Edit], first: str = ENV) -> tuple[EditedFile, ...]:
    """The edits by file, `first` before all others. Raises LesseeError if a Compose file would mean something else."""
    changes = []
    for name in sorted({edit.span.file for edit in edits}, key=lambda name: (name != first, name)):
        own = tuple(edit for edit in edits if edit.span.file == name)
        before = contents.get(name, b"")
        after = apply_edits(before, own)
        bare = without_guard(before), without_guard(after)
        if name.endswith((".yaml", ".yml")) and changed_values(*bare) is None:
            raise LesseeError("the edited file would mean something else", where=name, todo="please report this")
        changes.append(EditedFile(name, digest(before), digest(after), own, is_new=name not in contents))
    return tuple(changes)


def role_names(config: Config) -> tuple[str, ...]:
    """The AppRoles of adopt's configuration, named as `lessee setup` does."""
    names = [*config.apps, *config.setup.components, *([ROTATOR] if config.rotation else [])]
    return tuple(config.setup.role_name(str(config.environment), name) for name in names)


_LARGEST_SHARED = 1 << 16
"""Bytes of a file of variables."""
_SHORTEST = 6
"""Characters. A shorter value is in any text by chance."""
