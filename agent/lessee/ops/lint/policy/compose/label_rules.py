"""The rules for labels and references in place: each is read by something."""

from collections.abc import Iterator

from lessee.config.grammar.labels import PREFIX
from lessee.core.inline_references import InlineReferenceError, may_have_reference, split
from lessee.ops.lint.policy.compose.model import Service
from lessee.ops.lint.policy.compose.stack import Stack
from lessee.ops.lint.policy.findings import Finding

_MODEL = "docker compose config --no-interpolate --format json"


def label_findings(stack: Stack) -> Iterator[Finding]:
    """Findings for labels that no agent reads, and for references that nothing replaces."""
    for name, service in stack.services.items():
        yield from _unread_labels(stack, service)
        if name not in stack.execs and not _has_rendered_environment(service):
            yield from _unreplaced(service)
        yield from _malformed(service)


def without_references(text: str, other: str) -> str:
    """The text with something else in place of each reference."""
    if not may_have_reference(text):
        return text
    try:
        return "".join(part if isinstance(part, str) else other for part in split(text))
    except InlineReferenceError:
        return other


def _has_rendered_environment(service: Service) -> bool:
    label = service.labels.get(f"{PREFIX}env")
    return label is not None and label.value not in {None, "false"}


def _unread_labels(stack: Stack, service: Service) -> Iterator[Finding]:
    own = [variable for name, variable in service.labels.items() if name.startswith(PREFIX)]
    read = {labels.service for labels in stack.config.labeled_apps.values()}
    if not own or service.name in read:
        return
    file = stack.config.compose_file
    if file is None:
        what = f"service {service.name} has labels of lessee, and lessee.yaml has no `compose:` to read them"
        todo = "write `compose: {file: compose.json}` in it"
    else:
        what = f"service {service.name} has labels of lessee, and {file} has none of it"
        todo = f"write it again: {_MODEL}"
    yield Finding("labels-unread", "warning", what, todo, own[0].place.file, own[0].place.line)


def _unreplaced(service: Service) -> Iterator[Finding]:
    for name, variable in service.environment.items():
        if may_have_reference(variable.value or ""):
            what = f"{name} of service {service.name} is a reference, and nothing replaces it in its container"
            todo = f'write the label {PREFIX}env: "true", or start the service with `lessee exec`'
            yield Finding("reference-unread", "error", what, todo, variable.place.file, variable.place.line)


def _malformed(service: Service) -> Iterator[Finding]:
    for name, variable in service.environment.items():
        try:
            split(variable.value or "")
        except InlineReferenceError as exc:
            what, place = f"{name} of service {service.name}: {exc.what}", variable.place
            yield Finding("reference-malformed", "error", what, exc.todo, place.file, place.line)
