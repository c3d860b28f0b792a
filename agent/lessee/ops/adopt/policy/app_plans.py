"""Decides for each service how it gets its secrets, and what of that is left to a person."""

import re
from collections.abc import Iterator, Mapping, Sequence

from lessee.core.immutable import replace
from lessee.ops.adopt.policy import programs
from lessee.ops.adopt.policy.model import (
    AppPlan,
    Delivery,
    ManualStep,
    Notification,
    Part,
    Project,
    Rendered,
    Service,
    StoredField,
    Use,
    text_of,
)
from lessee.ops.adopt.policy.template_texts import healthcheck
from lessee.ops.adopt.policy.use_names import ServiceField, index_of, key_of

_SECRETS = "/run/secrets"
_LEAST = 8
"""Characters: a shorter value may be a part of another word."""
_NOT_SECRET = frozenset({"host", "port", "database", "username", "user", "endpoint", "bucket", "region", "url"})
_ELSEWHERE = {
    ServiceField.LABEL: ("a label", "remove it from the labels, which each client of the Engine can read"),
    ServiceField.BUILD_ARGUMENT: (
        "an argument of the build",
        "use `RUN --mount=type=secret` instead: the image keeps arguments",
    ),
    ServiceField.CONFIG: ("a config", "render that file with a template of lessee"),
}


def app_plans(
    project: Project, stored: Sequence[StoredField], rendered: Sequence[Rendered]
) -> tuple[tuple[AppPlan, ...], tuple[ManualStep, ...]]:
    """The apps, in the order of the services, and the manual steps. A value that is in no app stays where it is."""
    uses = {(use.service, use.name): use for use in project.uses}
    values = {(field.path, field.field): field.value for field in stored}
    rendered = (*rendered, *_repeated(project, stored, rendered))
    apps: list[AppPlan] = []
    steps: list[ManualStep] = []
    for service in project.services.values():
        possible = []
        for item in rendered:
            if item.service == service.name:
                use = uses.get((item.service, item.name))
                step = _unsupported(service, item, use, values)
                steps += [step] if step else []
                possible += [] if step else [_with_end(item, use)]
        if possible:
            planned = tuple(_plan(service, tuple(possible), uses))
            apps += [item for item in planned if isinstance(item, AppPlan)]
            steps += [item for item in planned if isinstance(item, ManualStep)]
    return tuple(apps), tuple(steps)


def verified(
    project: Project, stored: Sequence[StoredField], rendered: Sequence[Rendered]
) -> tuple[tuple[StoredField, ...], tuple[Rendered, ...]]:
    """The same, but a value that its parts do not give back is one field of its own, as a whole."""
    values = {(field.path, field.field): field.value for field in stored}
    now = {(use.service, use.name): use.value for use in project.uses}
    added: dict[tuple[str, str], StoredField] = {}
    result = []
    for item in rendered:
        value = now.get((item.service, item.name))
        if value is None or text_of(item.parts, values) == value:
            result.append(item)
            continue
        path, field = f"applications/{item.service}", item.name.lower()
        added[path, field] = StoredField(path, field, value, ((item.service, item.name),))
        result.append(replace(item, parts=(Part(path=path, field=field),)))
    wanted = {(part.path, part.field) for item in result for part in item.parts}
    kept = [field for field in stored if (field.path, field.field) in wanted and (field.path, field.field) not in added]
    return (*kept, *added.values()), tuple(result)


def _repeated(project: Project, stored: Sequence[StoredField], rendered: Sequence[Rendered]) -> Iterator[Rendered]:
    """Other values with a secret in them, such as the password in a health check, which must not stay there."""
    known = {(item.service, item.name) for item in rendered}
    secrets = {
        field.value: Part(path=field.path, field=field.field)
        for field in stored
        if len(field.value) >= _LEAST and field.field not in _NOT_SECRET
    }
    if not secrets:
        return
    # The longest first: one secret may begin with another.
    any_of = re.compile("|".join(re.escape(value) for value in sorted(secrets, key=lambda value: (-len(value), value))))
    for use in project.uses:
        if (use.service, use.name) in known or not any_of.search(use.value):
            continue
        parts, at = [], 0
        for found in any_of.finditer(use.value):
            parts += [Part(text=use.value[at : found.start()]), secrets[found[0]]]
            at = found.end()
        parts = [part for part in (*parts, Part(text=use.value[at:])) if part.path or part.text]
        yield Rendered(use.service, use.name, tuple(parts))


def where(use: Use | None, service: str) -> str:
    """The place of a value, as `FILE:LINE`; the service where no file has it."""
    spans = (source.span for source in use.sources) if use is not None else ()
    return next((f"{span.file}:{span.line}" for span in spans if span is not None), service)


def _with_end(item: Rendered, use: Use | None) -> Rendered:
    return replace(item, parts=(*item.parts, Part(text=use.end))) if use is not None and use.end else item


def _unsupported(
    service: Service, item: Rendered, use: Use | None, values: Mapping[tuple[str, str], str]
) -> ManualStep | None:
    """Why this value cannot be rendered for the service, whatever its delivery."""
    place = where(use, service.name)
    if item.kind in _ELSEWHERE:
        kind, todo = _ELSEWHERE[item.kind]
        return ManualStep(place, f"{item.name} of service {service.name} is {kind}, which has a secret", todo)
    if use is not None and text_of(item.parts, values) != use.value:
        what = f"{item.name} of service {service.name} is not what its parts in Vault give"
        return ManualStep(place, what, "store the value in Vault as one field")
    if item.kind is ServiceField.SECRET:
        return _unsupported_file(service, key_of(item.name), place)
    if item.kind is ServiceField.WORD:
        return _unsupported_word(service, item.name, place)
    if not programs.can_export(item.name):
        what = f"{key_of(item.name)} of service {service.name} is no name that a shell can export"
        return ManualStep(place, what, "give the program this setting in a file that a template renders")
    return None


def _unsupported_file(service: Service, name: str, place: str) -> ManualStep | None:
    target = dict(service.secrets).get(name, f"{_SECRETS}/{name}")
    if target == f"{_SECRETS}/{name}":
        return None
    what = f"service {service.name} reads the secret {name} at {target}, outside of {_SECRETS}"
    return ManualStep(place, what, f"let it read {_SECRETS}/{name}, and run `lessee adopt` again")


def _unsupported_word(service: Service, name: str, place: str) -> ManualStep | None:
    index = index_of(name)
    assert index is not None
    test = healthcheck(service)
    if index[0] != "healthcheck.test" or (test[:1] in {("CMD",), ("CMD-SHELL",)} and 1 <= index[1] < len(test)):
        return None
    what = f"{name} of service {service.name} has a secret, and its health check is not known"
    return ManualStep(place, what, "write the health check as `CMD` or `CMD-SHELL` into the Compose file")


def _plan(
    service: Service, rendered: tuple[Rendered, ...], uses: Mapping[tuple[str, str], Use]
) -> Iterator[AppPlan | ManualStep]:
    rendered, steps = _without_partial_files(service, rendered, uses)
    yield from steps
    if not rendered:
        return
    names = [item.name for item in rendered]
    place = where(uses.get((service.name, names[0])), service.name)
    delivery = programs.delivery(service, names)
    if delivery is Delivery.VARIABLE_FILE and any(_ends_with_newline(uses, item) for item in rendered):
        # A shell that reads the file leaves the newline out.
        delivery = Delivery.LAUNCHER if programs.starts_in_a_shell(service) else Delivery.NOTHING
    group = programs.group_of(service)
    if delivery is Delivery.NOTHING:
        what = f"the entrypoint of service {service.name}, or a shell in its image, is not known"
        todo = "build or pull its image and run `lessee adopt` again, or use `lessee exec` (docs/how-to/exec.md)"
        yield ManualStep(place, what, todo, needs_image=service.image.shell_path is None)
    elif group is None:
        what = f"the group of user {service.user or service.image.user} of service {service.name} is not known"
        todo = "build or pull its image, or write `user:` in numbers, and run `lessee adopt` again"
        yield ManualStep(place, what, todo, needs_image=True)
    else:
        notification = programs.notification(service)
        if isinstance(notification, ManualStep):
            yield notification
        found = notification if isinstance(notification, Notification) else None
        has_files = any(item.kind is ServiceField.SECRET for item in rendered)
        directory = _SECRETS if has_files else f"{_SECRETS}/{service.name}"
        yield AppPlan(service.name, delivery, rendered, group, found, directory)


def _without_partial_files(
    service: Service, rendered: tuple[Rendered, ...], uses: Mapping[tuple[str, str], Use]
) -> tuple[tuple[Rendered, ...], list[ManualStep]]:
    """Compose's own secrets are replaced together: the folder of the others would hide one that stays."""
    names = {key_of(item.name) for item in rendered if item.kind is ServiceField.SECRET}
    staying = [name for name, target in service.secrets if name not in names and target.startswith(f"{_SECRETS}/")]
    if not names or not staying:
        return rendered, []
    what = f"service {service.name} has Compose secrets that adopt does not render: {', '.join(staying)}"
    step = ManualStep(
        where(uses.get((service.name, f"secrets.{min(names)}")), service.name),
        what,
        "mount them at another path than /run/secrets, and run `lessee adopt` again",
    )
    return tuple(item for item in rendered if item.kind is not ServiceField.SECRET), [step]


def _ends_with_newline(uses: Mapping[tuple[str, str], Use], item: Rendered) -> bool:
    use = uses.get((item.service, item.name))
    return use is not None and item.kind is not ServiceField.SECRET and use.value.endswith(("\n", "\r"))
