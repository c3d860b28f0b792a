"""Compiles the templates of each app."""

from collections.abc import Iterator, Mapping

from lessee.config import App, Config, File, HttpProbe, HttpTarget
from lessee.config.grammar.vault import credential_variables
from lessee.core.errors import LesseeError, TemplateError, TemplateListError
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Need, PathScope
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


def path_scope_of(config: Config) -> PathScope:
    """The paths and variables that the templates of this configuration may use."""
    secrets = config.secrets
    return PathScope(
        secrets.mount,
        secrets.prefix,
        secrets.shared_prefixes,
        config.foreign_environments,
        config.environment,
        variable_scope_of(config),
    )


def variable_scope_of(config: Config) -> VariableScope:
    """The variables that the templates of this configuration may read."""
    auths = [config.vault.auth, *(app.vault.auth for app in config.apps.values())]
    logins = {name for auth in auths for name in credential_variables(auth)}
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
        if app.name not in problems:
            compiled_apps[app.name] = CompiledApp(app, scope, tuple(files), env_template)
    if refused is not None:
        refused.update((name, TemplateListError(found)) for name, found in problems.items())
    elif problems:
        raise TemplateListError(problem for found in problems.values() for problem in found)
    return compiled_apps
