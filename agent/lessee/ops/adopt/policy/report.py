"""The plan as text, without any value."""

from collections.abc import Iterable, Iterator, Mapping

from lessee.ops.adopt.policy.guard import is_guard
from lessee.ops.adopt.policy.model import AppPlan, Delivery, Edit, Plan, Use
from lessee.ops.adopt.policy.override_text import AGENT
from lessee.ops.scan.policy.classifier import Verdict

_DELIVERIES = {
    Delivery.VARIABLE_FILE: "a file that its image reads",
    Delivery.LAUNCHER: "its environment, from a file",
    Delivery.NOTHING: "as before",
}


def plan_lines(
    plan: Plan, new_files: Iterable[str], edits: Iterable[Edit], *, is_guessed: bool = False
) -> Iterator[str]:
    """What the plan does, in the order of a reader's questions.

    `is_guessed`: no Engine was asked about the images, so a step that names one may not be needed.
    """
    services = len(plan.project.services)
    yield f"project {plan.project.name}: {services} service{'s' * (services != 1)}, environment {plan.environment}"
    yield from _services(plan)
    files = sorted(new_files)
    if files:
        yield "new files, without a secret:"
        yield from (f"  + {name}" for name in files)
    changed = list(_edit_lines(plan.project.uses, edits))
    if changed:
        yield "changes of your files, once the stack is healthy; plaintext becomes a reference:"
        yield from changed
    if plan.manual_steps:
        yield "left to you:"
        yield from (f"  {'?' if is_guessed and step.needs_image else '!'} {step}" for step in plan.manual_steps)


def summary(plan: Plan) -> str:
    """The plan in one line."""
    paths = len({field.path for field in plan.secrets})
    parts = [
        f"{len(plan.secrets)} value{'s' * (len(plan.secrets) != 1)} in {paths} secret{'s' * (paths != 1)}",
        f"{len(plan.apps)} app{'s' * (len(plan.apps) != 1)}",
        f"{len(plan.manual_steps)} manual step{'s' * (len(plan.manual_steps) != 1)}",
    ]
    return f"plan: {', '.join(parts)}"


def _services(plan: Plan) -> Iterator[str]:
    apps = {app.service: app for app in plan.apps}
    paths = _paths(plan)
    for name in plan.project.services:
        uses = [
            use
            for use in plan.project.uses
            if use.service == name and (use.is_variable or use.verdict is Verdict.SECRET)
        ]
        uses.sort(key=lambda use: (not use.is_variable, use.name if use.is_variable else ""))
        if not uses:
            continue
        app = apps.get(name)
        yield f"{name}:{f' gets its secrets in {_how(app)}' if app is not None else ''}"
        width = max(len(use.name) for use in uses)
        for use in uses:
            place = ", ".join(paths.get((use.service, use.name), ()))
            verdict = _verdict(use)
            yield f"  {use.name:{width}}  {verdict:6}{f'  {place}' if place else ''}".rstrip()


def _verdict(use: Use) -> str:
    if use.verdict is Verdict.SECRET:
        return "placeholder" if use.is_placeholder else "secret"
    return use.verdict.value if use.value.strip() else "empty"


def _how(app: AppPlan) -> str:
    how = _DELIVERIES[app.delivery]
    if app.notification is None:
        return f"{how}; it reads them when it starts"
    return f"{how}; notified by {app.notification.action}"


def _paths(plan: Plan) -> Mapping[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for app in plan.apps:
        for one in app.rendered:
            fields: dict[str, list[str]] = {}
            for part in one.parts:
                if part.path:
                    fields.setdefault(part.path, []).append(part.field)
            found[one.service, one.name] = tuple(f"{path}#{','.join(names)}" for path, names in fields.items())
    return found


def _edit_lines(uses: Iterable[Use], edits: Iterable[Edit]) -> Iterator[str]:
    names = {
        (source.span.file, source.span.start): source.name
        for use in uses
        for source in use.sources
        if source.span is not None
    }
    for edit in edits:
        name = names.get((edit.span.file, edit.span.start))
        if name is not None:
            yield f"  ~ {edit.span.file}:{edit.span.line}  {name}"
        elif is_guard(edit):
            yield f"  ~ {edit.span.file}:{edit.span.line}  {AGENT}, so that Compose starts nothing without the override"
        elif "COMPOSE_FILE=" in edit.text or edit.text.endswith((".yaml", ".yml")):
            yield f"  ~ {edit.span.file}:{edit.span.line}  COMPOSE_FILE, so that `docker compose up` uses the override"
