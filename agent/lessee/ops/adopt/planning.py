"""Makes the plan of a run: from the project as it is, and what earlier runs have adopted."""

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.adopt.access import Access
from lessee.ops.adopt.apply import ENV, IGNORE, Prepared, changes_of
from lessee.ops.adopt.files import MODEL, digest, read_files, with_modes
from lessee.ops.adopt.images import with_images
from lessee.ops.adopt.mcp import CONFIG as MCP_CONFIG
from lessee.ops.adopt.mcp import McpPlan, plan_mcp
from lessee.ops.adopt.policy.app_plans import app_plans, verified
from lessee.ops.adopt.policy.classification import classified
from lessee.ops.adopt.policy.committed import CONFIG, Committed, is_contained, references_in, text_of
from lessee.ops.adopt.policy.committed import FILE as ADOPTION
from lessee.ops.adopt.policy.config_text import lessee_yaml
from lessee.ops.adopt.policy.edits import apply_edits, ignoring, is_reference, planned_edits, with_compose_files
from lessee.ops.adopt.policy.frontend import plan_frontends
from lessee.ops.adopt.policy.guard import guards
from lessee.ops.adopt.policy.layout import stored_fields
from lessee.ops.adopt.policy.leftovers import Left, leftovers, searchable, unplaced
from lessee.ops.adopt.policy.merge import Adopted, merged
from lessee.ops.adopt.policy.model import AdoptedField, Deployment, Edit, Origin, Plan, Project, StoredField, Use
from lessee.ops.adopt.policy.override_text import OVERRIDE, override
from lessee.ops.adopt.policy.root_logins import with_root_logins
from lessee.ops.adopt.policy.rotation import Rotations, rotation_block, rotations
from lessee.ops.adopt.policy.rotator_text import rotator_service
from lessee.ops.adopt.policy.service_labels import compose_model
from lessee.ops.adopt.policy.service_names import check_service_names
from lessee.ops.adopt.policy.shell_values import without_shell_values
from lessee.ops.adopt.policy.shown import shown_steps
from lessee.ops.adopt.policy.sources import Scope, Text, expand
from lessee.ops.adopt.policy.template_texts import templates
from lessee.ops.adopt.project import read_project
from lessee.ops.adopt.record import FOLDER, EditedFile, Record
from lessee.ops.adopt.store import Store
from lessee.ops.scan.policy.classifier import Verdict

CA_FILE = "lessee/ca.pem"


class Request(ImmutableStruct, frozen=True):
    """What the user asked for."""

    folder: Path
    files: tuple[str, ...]
    """As the user named them; empty: Compose's own choice."""
    env_files: tuple[str, ...]
    environment: str
    image: str
    environ: Mapping[str, str]
    """What `docker compose` gets in the user's shell, without what adopt adds for clients of Vault."""

    labels: bool = False
    """Whether the apps become labels of their services, if the project was never adopted."""

    hidden = ("environ",)


def read(request: Request, known: Project | None = None) -> Project:
    """The classified project; without what earlier runs have moved. Raises ConfigError.

    `known`: read before, so that its images are known too.
    """
    environ = request.environ
    found = read_project(request.files, environ, folder=str(request.folder), env_files=request.env_files)
    if known is None:
        found = with_images(found, request.folder, environ)
    else:
        images = {name: service.image for name, service in known.services.items()}
        services = {name: replace(one, image=images.get(name, one.image)) for name, one in found.services.items()}
        found = replace(found, services=services)
    found = classified(found)
    return replace(found, uses=tuple(use for use in found.uses if not is_reference(use.value)))


def new_record(project: Project, request: Request, access: Access) -> Record:
    """The record of a project that was never adopted."""
    return Record(
        id=secrets.token_hex(4),
        project_id=secrets.token_hex(8),
        project=project.name,
        environment=request.environment,
        address=access.address,
        image=request.image,
        labels=request.labels,
        ca_file=access.ca_file,
        namespace=access.namespace or None,
        env_files=request.env_files,
    )


def prepare(project: Project, record: Record, access: Access, store: Store | None) -> tuple[Prepared, Record]:
    """The plan with all that it writes, and the record as it is when the plan is applied. Raises LesseeError.

    Without a `store`, what earlier runs have adopted is not in it.
    """
    earlier = adopted(record, store) if store is not None else Adopted((), (), ())
    setting = (record.env_files or (ENV,))[-1]
    project, shell_steps = without_shell_values(project, record.uses)
    frontends = plan_frontends(project)
    project = frontends.project
    stored, rendered = verified(project, *with_root_logins(*stored_fields(project)))
    fresh = project
    everything = merged(project, Adopted(project.uses, stored, rendered), earlier)
    project = replace(project, uses=everything.uses)
    apps, steps = app_plans(project, everything.stored, everything.rendered)
    check_service_names(project, apps)
    names = [source.span.file for use in project.uses for source in use.sources if source.span is not None]
    folder = Path(project.folder)
    contents = read_files(folder, [*names, *project.inputs, setting, IGNORE])
    edits, more_steps = planned_edits(project, everything.stored, apps, contents)
    delivered = {(one.service, one.name) for app in apps for one in app.rendered}
    secrets_ = tuple(field for field in everything.stored if delivered.intersection(field.uses))
    more_steps += unplaced(fresh, delivered)
    more_steps += shown_steps(project, searchable(project, secrets_))
    more_steps += leftovers(Left(project, contents, edits, (*steps, *more_steps)), secrets_)
    found = rotations(project, everything.stored, apps)
    secrets_ += found.fields
    known = {(field.path, field.field) for field in everything.stored}
    keys = [one.stored for one in frontends.keys if (one.stored.path, one.stored.field) not in known]
    secrets_ += tuple(keys) if apps else ()
    mcp = _mcp(folder, record, access) if apps else McpPlan()
    steps = (*shell_steps, *steps, *more_steps, *frontends.steps, *mcp.steps)
    used: tuple[Edit, ...] = ()
    if apps:
        own = [name for name in record.files if name in contents and is_contained(name)]
        used = (
            *_compose_file(setting, contents, record, project, access.environ),
            *guards((name, contents[name]) for name in own),
        )
    changes = with_modes(folder, changes_of(contents, (*edits, *used) if apps else (), setting))
    record = replace(
        record,
        uses=tuple(sorted(delivered)),
        stored=tuple(AdoptedField(field.path, field.field, field.uses) for field in secrets_),
        rendered=tuple(one for app in apps for one in app.rendered),
        references={**record.references, **_references(project, contents, changes)},
    )
    # Roles keep the name that the project had when it was adopted.
    plan = Plan(replace(project, name=record.project), record.environment, secrets_, apps, edits, steps)
    more = frontends.files | {f"lessee/templates/{name}": text for name, text in frontends.templates.items()}
    texts = _texts(plan, access, record, found, setting, more)
    early = _early(contents, project) if apps else ()
    touched = {change.path for change in (*changes, *early)}
    originals = {name: content for name, content in contents.items() if name in touched}
    for change in changes:
        originals.setdefault(change.path, b"")
    return Prepared(plan, texts, early, changes, originals | mcp.originals, found, mcp), record


def adopted(record: Record, store: Store) -> Adopted:
    """What earlier runs have moved, with the values that Vault has now."""
    found: dict[str, Mapping[str, object]] = {}
    fields = []
    for field in record.stored:
        if field.path not in found:
            found[field.path] = store.existing(field.path)
        value = found[field.path].get(field.field)
        if isinstance(value, str):
            fields.append(StoredField(field.path, field.field, value, field.uses))
    uses = tuple(Use(service, name, "", (), Verdict.SECRET) for service, name in record.uses)
    return Adopted(uses, tuple(fields), record.rendered)


def is_unchanged(prepared: Prepared, record: Record, folder: Path) -> bool:
    """Whether the plan changes nothing: an earlier run has written all of it."""
    if prepared.edits or prepared.early or prepared.mcp.files or not record.generated.keys() >= prepared.texts.keys():
        return False
    if record.is_clone:  # Its files may have what the first person, or another machine, made of them.
        return all(os.path.lexists(folder / name) for name in prepared.texts)
    # A person may edit the files; then they are not what adopt wrote, and stay.
    return all(
        os.path.lexists(folder / name) and record.generated[name] == digest(text.encode())
        for name, text in prepared.texts.items()
    )


def _mcp(folder: Path, record: Record, access: Access) -> McpPlan:
    """The plan for the MCP servers of the project. A configuration of lessee that a person wrote stays as it is."""
    if os.path.lexists(folder / MCP_CONFIG) and MCP_CONFIG not in record.generated:
        return McpPlan()
    environ = {**access.environ, "LESSEE_ENVIRONMENT": record.environment}
    return plan_mcp(folder, environ, access.of_programs())


def _texts(
    plan: Plan, access: Access, record: Record, found: Rotations, setting: str, more: Mapping[str, str]
) -> dict[str, str]:
    if not plan.apps:
        return {}
    deployment = record.deployment or access.deployment(record.image, labels=record.labels)
    texts = {
        CONFIG: lessee_yaml(plan, deployment, rotation_block(found)),
    }
    if deployment.labels:
        texts[MODEL] = compose_model(plan)
    else:
        texts.update({f"lessee/templates/{name}": text for name, text in templates(plan).items()})
    texts |= more
    certificates = access.ca_text() if record.deployment is None else _committed(plan.project.folder, CA_FILE)
    if certificates is not None:
        texts[CA_FILE] = certificates
    texts[OVERRIDE] = override(plan, deployment, rotator_service(plan, deployment, found), setting)
    texts[ADOPTION] = _adoption(plan, record, deployment, texts)
    return texts


def _adoption(plan: Plan, record: Record, deployment: Deployment, texts: Mapping[str, str]) -> str:
    shared = Committed(
        record.project_id,
        record.project,
        record.environment,
        record.files or plan.project.files,
        deployment,
        record.uses,
        tuple(sorted((replace(one, uses=tuple(sorted(one.uses))) for one in record.stored), key=_place)),
        record.rendered,  # In the order of the templates.
        dict(sorted(record.references.items())),
        {name: digest(text.encode()) for name, text in sorted(texts.items()) if name != MODEL},
    )
    return text_of(shared)


def _place(field: AdoptedField) -> tuple[str, str]:
    return field.path, field.field


def _committed(folder: str, name: str) -> str | None:
    """The text of a file that came with a clone, which stays as it is."""
    content = read_files(Path(folder), [name]).get(name)
    return content.decode(errors="replace") if content is not None else None


def _references(
    project: Project, contents: Mapping[str, bytes], changes: Iterable[EditedFile]
) -> dict[str, tuple[str, ...]]:
    """The lines with references in the edited files that are no Compose files."""
    found = {
        change.path: references_in(apply_edits(contents.get(change.path, b""), change.edits))
        for change in changes
        if change.path not in project.files
    }
    return {name: lines for name, lines in found.items() if lines}


def _compose_file(
    name: str, contents: Mapping[str, bytes], record: Record, project: Project, environ: Mapping[str, str]
) -> Sequence[Edit]:
    """The edit of `.env` that makes Compose use the override; none where it does already."""
    content = contents.get(name, b"")
    files = [*(record.files or project.files), OVERRIDE, *record.local_files]
    known = Scope(environ, ((Origin.PROJECT_ENV, Text(name, content.decode(errors="surrogateescape"))),))
    edit = with_compose_files(name, content, files, expand("${COMPOSE_PATH_SEPARATOR}", known) or ":")
    return () if apply_edits(content, [edit]) == content else (edit,)


def _early(contents: Mapping[str, bytes], project: Project) -> tuple[EditedFile, ...]:
    """The change of `.dockerignore` that keeps `.lessee` out of images that are built from the project's folder."""
    if not any(service.build_context in {".", ""} for service in project.services.values()):
        return ()
    edit = ignoring(contents.get(IGNORE, b""), FOLDER)
    return with_modes(Path(project.folder), changes_of(contents, [edit])) if edit is not None else ()
