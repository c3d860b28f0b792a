"""Variables that a build puts into the download of every visitor: public ones, and keys that may not be there.

Such a value is public as soon as the site is built. So a public one stays where it is. A key cannot stay: a server has
to add it to the requests. For the providers that `upstreams` knows, adopt stores the key and writes what nginx needs;
the app itself a person has to change.
"""

from collections.abc import Iterator, Sequence

from lessee.config.grammar.validate import PUBLIC_PREFIXES
from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.adopt.policy.layout import bare
from lessee.ops.adopt.policy.model import ManualStep, Project, Service, StoredField, Use
from lessee.ops.adopt.policy.programs import can_export
from lessee.ops.adopt.policy.providers import provider_of
from lessee.ops.adopt.policy.upstreams import UPSTREAMS, Upstream
from lessee.ops.adopt.policy.use_names import ServiceField
from lessee.ops.scan.policy.classifier import Verdict

_KEY = "browser-key"
FOLDER = "lessee/frontend"
"""Below the project's folder: the locations to include in nginx."""


_APP = """\
# Include this in the server block of the site. It reads what an agent next to nginx renders. Its lines in `apps`:
#   frontend:
#     directory: /run/secrets/frontend
#     files: [{{template: {}}}]
#     notify: {{process: {{name: nginx}}, action: SIGHUP}}
"""


class BrowserKey(ImmutableStruct, frozen=True):
    """A key of a provider that `upstreams` knows, which nginx adds in place of the browser."""

    hidden = ("stored",)

    upstream: Upstream
    stored: StoredField
    services: tuple[str, ...]
    """The frontends that have the key now."""

    @property
    def template(self) -> str:
        """The name of its template below `lessee/templates/`."""
        return f"frontend/{self.upstream.name}.nginx.conf.j2"

    @property
    def file(self) -> str:
        """The path of the file that nginx includes, in nginx's container."""
        return f"/run/secrets/frontend/{self.upstream.name}.nginx.conf"


class FrontendPlan(ImmutableStruct, frozen=True):
    """What becomes of the variables of a project's frontends."""

    project: Project
    """The project, in which no key for browsers is a secret to render: no other part of adopt may write it."""
    keys: tuple[BrowserKey, ...]
    steps: tuple[ManualStep, ...]

    @property
    def templates(self) -> dict[str, str]:
        """The texts of the templates by their names below `lessee/templates/`."""
        return {one.template: one.upstream.template(one.stored.path, one.stored.field) for one in self.keys}

    @property
    def files(self) -> dict[str, str]:
        """The texts of the locations by their paths below the project's folder. They have no secret."""
        return {
            f"{FOLDER}/{one.upstream.name}.location.conf": _APP.format(one.template) + one.upstream.nginx(one.file)
            for one in self.keys
        }


def plan_frontends(project: Project) -> FrontendPlan:
    """Plan a classified project."""
    exposed = [use for use in project.uses if is_for_browsers(use) and use.verdict is Verdict.SECRET]
    return FrontendPlan(
        replace(project, uses=tuple(_left_alone(use) if use in exposed else use for use in project.uses)),
        tuple(_keys(exposed)),
        tuple(_step(project, *group, uses) for group, uses in _grouped(exposed).items()),
    )


def is_for_browsers(use: Use) -> bool:
    """Whether a build makes the value public: a variable or a build argument with a prefix of such."""
    return use.kind in {ServiceField.VARIABLE, ServiceField.BUILD_ARGUMENT} and bare(use.name).startswith(
        PUBLIC_PREFIXES
    )


def public_names(project: Project, service: str) -> tuple[str, ...]:
    """The variables of a service that a build gives to every visitor, without those that are keys."""
    found = (use for use in project.uses if use.service == service and is_for_browsers(use))
    names = {bare(use.name) for use in found if use.verdict is not Verdict.SECRET and use.rule != _KEY}
    return tuple(sorted(filter(can_export, names)))


def _left_alone(use: Use) -> Use:
    return replace(use, verdict=Verdict.PUBLIC, rule=_KEY)


def _keys(exposed: Sequence[Use]) -> Iterator[BrowserKey]:
    """The keys that nginx can add: of each provider one."""
    by_upstream: dict[str, list[tuple[str, Use]]] = {}
    for use in exposed:
        if (known := _upstream_of(use)) is not None:
            by_upstream.setdefault(known[0].name, []).append((known[1], use))
    for name, uses in by_upstream.items():
        field, first = uses[0]
        own = [use for _, use in uses if use.value == first.value]
        stored = StoredField(f"api-keys/{name}", field, first.value, tuple((use.service, use.name) for use in own))
        yield BrowserKey(UPSTREAMS[name], stored, tuple(dict.fromkeys(use.service for use in own)))


def _upstream_of(use: Use) -> tuple[Upstream, str] | None:
    """The provider of a key, and the field of its secret."""
    name = bare(use.name)
    prefix = next(prefix for prefix in PUBLIC_PREFIXES if name.startswith(prefix))
    provider = provider_of(name.removeprefix(prefix))
    return (UPSTREAMS[provider[0]], provider[1]) if provider is not None and provider[0] in UPSTREAMS else None


def _grouped(exposed: Sequence[Use]) -> dict[tuple[str, str], list[Use]]:
    """By service and variable: as an argument of the build and as a variable it is one."""
    found: dict[tuple[str, str], list[Use]] = {}
    for use in exposed:
        found.setdefault((use.service, bare(use.name)), []).append(use)
    return found


def _step(project: Project, service: str, name: str, uses: Sequence[Use]) -> ManualStep:
    """What a person has to do, once for each variable of a service."""
    places = [f"{one.span.file}:{one.span.line}" for use in uses for one in use.sources if one.span is not None]
    where = f"{service}.{name}"
    what = "the build puts this key into the download of every visitor"
    if places:
        what += f" ({', '.join(dict.fromkeys(places))})"
    known = _upstream_of(uses[0])
    if known is None:
        todo = (
            f"let a server of yours send these requests and add the key (templates/frontend/README.md), remove {name}, "
            "build again, and rotate the key; if the value is public, the provider's page says so"
        )
        return ManualStep(where, what, todo)
    upstream, _ = known
    server = _nginx(project, service)
    todo = (
        f"add `include {FOLDER}/{upstream.name}.location.conf;` to the server block of {server}, let the app send its "
        f"requests to {upstream.location} in place of https://{upstream.host}/ and without the key, remove {name}, "
        "build again, and rotate the key"
    )
    return ManualStep(where, what, todo)


def _words(service: Service) -> tuple[str, ...]:
    image = service.image
    return (*(service.entrypoint or image.entrypoint or ()), *(service.command or image.command or ()))


def _nginx(project: Project, frontend: str) -> str:
    """The nginx that serves the site: the frontend's own, or the only one of the project."""
    servers = [name for name, service in project.services.items() if "nginx" in service.image.reference]
    servers += [name for name, service in project.services.items() if "nginx" in _words(service)]
    if frontend in servers:
        return f"nginx in {frontend}"
    return f"nginx in {servers[0]}" if len(set(servers)) == 1 else "your nginx"
