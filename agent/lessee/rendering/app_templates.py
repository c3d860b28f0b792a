"""Compiles the templates of each app."""

from collections.abc import Iterator, Mapping

from lessee.config import App, Config, File, HttpProbe, HttpTarget, Login, Secrets, logins_of
from lessee.config.grammar.vault import credential_variables
from lessee.core.errors import LesseeError, TemplateError, TemplateListError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.path_scope import MountScope, PathScope
from lessee.core.paths import Need, source_mount
from lessee.core.variables import VariableScope, passwords_in
from lessee.rendering.templates import CompiledTemplate, Compiler


class CompiledApp(ImmutableStruct, frozen=True):
    """An app with its compiled templates."""

    app: App
    scope: PathScope
    files: tuple[tuple[File, CompiledTemplate], ...]
    env_template: CompiledTemplate | None = None
    """Renders the environment of a child process instead of a file."""

    @property
    def templates(self) -> tuple[CompiledTemplate, ...]:
        """All templates of the app."""
        return (
            *(compiled for _, compiled in self.files),
            *([self.env_template] if self.env_template is not None else []),
        )

    @property
    def references(self) -> frozenset[Need]:
        """All secrets that the templates can read."""
        return frozenset[Need]().union(*(compiled.needs for compiled in self.templates))

    @property
    def optional(self) -> frozenset[Need]:
        """The secrets without which all templates that name them can be rendered."""
        templates = self.templates
        if not any(compiled.optional for compiled in templates):
            return frozenset()
        optional = frozenset[Need]().union(*(compiled.optional for compiled in templates))
        return optional.difference(*(compiled.references - compiled.optional for compiled in templates))


class AppNeeds(ImmutableStruct, frozen=True):
    """Which login reads what for an app."""

    vault: Login
    """The login or source that serves the app."""
    own: frozenset[Need]
    """What that login must read for it."""
    supplied: Mapping[str, frozenset[Need]] = {}
    """The rest, by identity. What may be missing is supplied as well: by the app's own login, whose name is empty."""
    optional: frozenset[Need] = frozenset()


def needs_of(compiled_app: CompiledApp) -> AppNeeds:
    """Which login reads what. An app that reads nothing under its own login is served by the first of the others."""
    app, needs, optional = compiled_app.app, compiled_app.references, compiled_app.optional
    if not optional and not any(need.identity for need in needs):
        return AppNeeds(app.vault, needs)
    supplied: dict[str, frozenset[Need]] = {}
    for need in needs:
        if need.identity or need in optional:
            supplied[need.identity] = supplied.get(need.identity, frozenset()) | {need}
    own = needs.difference(*supplied.values())
    return AppNeeds(app.login_of("" if own else min(supplied)), own, supplied, optional)


def path_scope_of(config: Config) -> PathScope:
    """The paths and variables that the templates of this configuration may use."""
    variables = variable_scope_of(config)
    identities = {
        name: _scope(config, identity.secrets, variables, {}, name) for name, identity in config.identities.items()
    }
    scope = _scope(config, config.secrets, variables, identities)
    if not config.sources:
        return scope
    sources = {
        name: PathScope(
            source_mount(name),
            source.prefix,
            source.shared_prefixes,
            config.foreign_environments,
            config.environment,
            variables,
            identity=name,
        )
        for name, source in config.sources.items()
    }
    return replace(scope, sources=sources)


def _scope(
    config: Config,
    secrets: Secrets,
    variables: VariableScope,
    identities: Mapping[str, PathScope],
    identity: str = "",
) -> PathScope:
    return PathScope(
        secrets.mount,
        secrets.prefix,
        secrets.shared_prefixes,
        config.foreign_environments,
        config.environment,
        variables,
        {name: MountScope(mount.prefix, mount.shared_prefixes) for name, mount in secrets.mounts.items()},
        identities,
        identity,
    )


def variable_scope_of(config: Config) -> VariableScope:
    """The variables that the templates of this configuration may read."""
    logins = {name for vault in logins_of(config) for name in credential_variables(vault.auth)}
    logins |= {name for source in config.sources.values() for name in source.credential_variables}
    fallbacks = {name for app in config.apps.values() if app.fallback is not None for name in app.fallback.variables}
    return VariableScope(
        config.template_env, frozenset(logins), frozenset(fallbacks), passwords_in(dict.fromkeys(_urls(config)))
    )


def _urls(config: Config) -> Iterator[str]:
    """The URLs with which the agent may log in; those of Vault name no user."""
    if config.events is not None and config.events.redis is not None:
        yield config.events.redis
    for app in config.apps.values():
        if app.notify is not None and isinstance(app.notify.target, HttpTarget):
            yield app.notify.target.url
        if app.ready is not None and isinstance(app.ready.probe, HttpProbe):
            yield app.ready.probe.url


def compile_apps(
    config: Config,
    compiler: Compiler,
    *,
    prepare: bool = True,
    refused: dict[str, TemplateListError] | None = None,
) -> Mapping[str, CompiledApp]:
    """Compile the templates of every app. Raises TemplateListError with all problems.

    `prepare` False defers the generation of Python code, and its rare errors, to the first rendering. `refused`
    receives the problems of each app, which is then missing in the result; by default, all of them are raised.
    """
    scope = path_scope_of(config)
    compiled_apps: dict[str, CompiledApp] = {}
    problems: dict[str, list[LesseeError]] = {}

    def compiled(app: App, template: str) -> CompiledTemplate | None:
        try:
            result = compiler.compile(template)
            if prepare:
                result.prepare()
        except TemplateError as exc:
            problems.setdefault(app.name, []).extend(exc.problems)
            return None
        return result

    for app in config.apps.values():
        files = [(file, result) for file in app.files if (result := compiled(app, file.template)) is not None]
        env_template = compiled(app, app.env_template) if app.env_template is not None else None
        if app.name in problems:
            continue
        compiled_app = CompiledApp(app, scope, tuple(files), env_template)
        if denied := list(_denied_sources(config, compiled_app)):
            problems[app.name] = denied
        else:
            compiled_apps[app.name] = compiled_app
    if refused is not None:
        refused.update((name, TemplateListError(found)) for name, found in problems.items())
    elif problems:
        raise TemplateListError(problem for found in problems.values() for problem in found)
    return compiled_apps


def _denied_sources(config: Config, compiled_app: CompiledApp) -> Iterator[LesseeError]:
    """A problem for each source that the templates read, and that is for other apps."""
    name = compiled_app.app.name
    for source in config.sources.values():
        if source.apps is None or name in source.apps:
            continue
        if any(need.identity == source.name for need in compiled_app.references):
            what = f"its templates read the source {source.name!r}, which is for other apps"
            todo = f"add {name} to sources.{source.name}.apps, or omit the call"
            yield TemplateError(what, where=f"apps.{name}", todo=todo, rule="path-denied")
