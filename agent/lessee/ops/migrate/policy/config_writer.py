"""lessee.yaml for what an imported configuration asks for."""

from collections.abc import Iterable, Iterator, Sequence
from posixpath import basename

from lessee.config import format_of
from lessee.config.yaml_writer import Entry, Keys, Noted, Plain, write
from lessee.ops.migrate.policy.apps import App, Rendered
from lessee.ops.migrate.policy.commands import notify
from lessee.ops.migrate.policy.jinja.layout import Layout
from lessee.ops.migrate.policy.plan import Plan


def config(plan: Plan, layout: Layout, apps: Sequence[App], environ: str, source: str) -> str:
    """`environ`: the name of the first app's `environ` template, if there is one."""
    head = f"Imported by `lessee import` from {basename(source)}, {plan.of}. `lessee check` says what it reads."
    entries: list[Entry] = [head, *plan.notes]
    if layout.environment:
        entries.append(("environment", Plain(layout.environment)))
    vault = _vault(plan)
    entries += [("vault", Keys((*plan.vault_notes, *vault)))] if vault else plan.vault_notes
    entries.append(("secrets", Keys(tuple(_secrets(plan, layout)))))
    if plan.on_stop:
        entries.append(("leases", Keys((("on_stop", plan.on_stop),), flow=True)))
    if any(app.files for app in apps):
        entries.append(_FORMAT)
    told = [(app.name, Keys(tuple(_app(app, plan, apps, "" if at else environ)))) for at, app in enumerate(apps)]
    entries.append(("apps", Keys(tuple(told), flow=not told)))
    return write(Keys(tuple(entries)))


def template_path(app: App, file: Rendered, apps: Sequence[App]) -> str:
    """Where the file's template is to lie."""
    name = f"{basename(file.destination)}.j2"
    return f"{app.name}/{name}" if len(apps) > 1 else name


_FORMAT = (
    "`format: text` writes each value as it is, so that the files are what they were, byte for byte. Without that line"
    " each value is quoted as the file's own grammar wants it, and none can change its structure: recommended, once its"
    " reader was tried with it. The templates then need no quotes around their values."
)


def _vault(plan: Plan) -> list[Entry]:
    entries = [*plan.vault]
    if plan.auth is not None:
        entries.append(("auth", plan.auth))
    return entries


def _secrets(plan: Plan, layout: Layout) -> Iterator[Entry]:
    yield "mount", Plain(layout.mount)
    yield "prefix", layout.prefix
    if layout.shared:
        yield "shared", layout.shared
    if plan.refresh:
        yield "refresh", plan.refresh


def _app(app: App, plan: Plan, apps: Sequence[App], environ: str) -> Iterator[Entry]:
    yield from app.notes
    yield "directory", app.directory
    shared = {key: next(iter(said)) for key in _OWN if len(said := {getattr(file, key) for file in app.files}) == 1}
    yield from ((key, value) for key, value in shared.items() if value)
    if app.files:
        yield "files", [Keys(tuple(_file(app, file, apps, shared.keys()))) for file in app.files]
    if environ:
        yield "environ", environ
    if app.command is not None:
        yield "notify", notify(app.command)
    elif plan.child is not None and plan.child.action:
        child = (("child", True), ("action", plan.child.action), ("grace", plan.child.grace))
        yield "notify", Keys(child, flow=True)


_OWN = ("owner", "mode")


def _file(app: App, file: Rendered, apps: Sequence[App], shared: Iterable[str]) -> Iterator[Entry]:
    yield from file.notes
    yield "template", template_path(app, file, apps)
    better = format_of(basename(file.destination))
    yield "format", Noted("text", f"without it: {better}") if better != "text" else "text"
    yield from ((key, value) for key in _OWN if key not in shared and (value := getattr(file, key)))
