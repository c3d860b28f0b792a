"""Renders an app's files from the agent's environment, as `fallback` configures."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from lessee.config import SecretsFallback, VariablesFallback
from lessee.core.errors import DeniedError, LesseeError, TemplateError
from lessee.core.generation import Generation
from lessee.core.path_scope import PathScope
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret
from lessee.core.variables import Readable
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.document import Document
from lessee.rendering.fallback.masks import MISFIT, mask_secrets
from lessee.rendering.fallback.overrides import FORMATS, Overridden, override_variables
from lessee.rendering.render import ENV_FORMAT, Inputs, render, render_environment, render_file
from lessee.rendering.templates import CompiledTemplate, Renderer

UNUSED = "fallback-unused"
"""The rule's name in `lessee check` for parts of a fallback that no template reads."""

_TRIAL = "x"


def build(
    compiled_app: CompiledApp, fallback: VariablesFallback | SecretsFallback, environ: Mapping[str, str]
) -> Generation:
    """The files of one app. Raises LesseeError, which names variables, paths and keys, but contains no value."""
    if missing := unset(fallback, environ):
        what = f"the agent's environment has no {', '.join(missing)}"
        raise LesseeError(what, where=f"apps.{compiled_app.app.name}.fallback", todo="set them to non-empty values")
    if isinstance(fallback, VariablesFallback):
        return _Files(compiled_app, {name: environ[name] for name in fallback.variables}, environ).generation()
    secrets = {path: {key: environ[name] for key, name in keys.items()} for path, keys in fallback.secrets.items()}
    return render(compiled_app, _inputs(compiled_app, secrets, environ)).generation


def unset(fallback: VariablesFallback | SecretsFallback, environ: Mapping[str, str]) -> list[str]:
    """The variables that are unset or empty. Compose passes unset variables as empty ones."""
    return [name for name in fallback.variables if not environ.get(name)]


def problems(compiled_app: CompiledApp) -> Iterator[LesseeError]:
    """Why an app's fallback cannot work with any environment."""
    match compiled_app.app.fallback:
        case VariablesFallback(names):
            yield from _Files(compiled_app, dict.fromkeys(names, _TRIAL), _Environment()).problems()
        case SecretsFallback(secrets):
            invalid = [exc for path in secrets if (exc := _path_error(path, compiled_app.scope)) is not None]
            yield from invalid
            required = compiled_app.references - compiled_app.optional
            for need in sorted(required, key=str) if not invalid else ():
                if (todo := _todo(need, secrets, compiled_app.scope)) is not None:
                    yield TemplateError(f"{need} is not covered by `fallback`", todo=todo, rule=MISFIT)
        case _:
            pass


def unused(compiled_app: CompiledApp) -> Iterator[LesseeError]:
    """Parts of the fallback that no template reads, probably misspelled. Requires an app without `problems`."""
    match compiled_app.app.fallback:
        case VariablesFallback(names):
            with suppress(TemplateError):  # If an expression fails with sample values, the names are unknown.
                found = _Files(compiled_app, dict.fromkeys(names, _TRIAL), _Environment()).names()
                for name in sorted(set(names) - found):
                    todo = "correct its name, or remove it"
                    yield LesseeError(f"no file of the app sets {name}", todo=todo, rule=UNUSED)
        case SecretsFallback(secrets):
            for path in secrets:
                if not any(_is_read(path, need, compiled_app.scope) for need in compiled_app.references):
                    todo = "correct the path, or remove it"
                    yield LesseeError(f"no template of the app reads {path}", todo=todo, rule=UNUSED)
        case _:
            pass


class _Files:
    """The files of an app, with values for some of its variables."""

    def __init__(self, compiled_app: CompiledApp, values: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._compiled_app = compiled_app
        self._values = values
        self._environ = environ
        self._renderer = Renderer(compiled_app.scope, {}, {}, {}, environ)

    def generation(self) -> Generation:
        compiled_app, public = self._compiled_app, self._compiled_app.app.public_variables
        files = tuple(
            render_file(file, self._override(compiled, file.format).document, public)
            for file, compiled in compiled_app.files
        )
        environ = None
        if compiled_app.env_template is not None:
            environ = render_environment(
                self._override(compiled_app.env_template, ENV_FORMAT).document,
                Readable(self._environ, compiled_app.scope.variables),
                public,
            )
        return Generation(compiled_app.app.name, files, environ)

    def problems(self) -> Iterator[LesseeError]:
        for form, compiled in self._parts():
            if compiled.references:
                try:
                    self._override(compiled, form)
                except TemplateError as exc:
                    yield from (problem for problem in exc.problems if problem.rule == MISFIT)

    def names(self) -> frozenset[str]:
        parts = (self._override(compiled, form) for form, compiled in self._parts() if form in FORMATS)
        return frozenset[str]().union(*(part.names for part in parts))

    def _parts(self) -> list[tuple[str, CompiledTemplate]]:
        environ = self._compiled_app.env_template
        files = [(file.format, compiled) for file, compiled in self._compiled_app.files]
        return [*files, *([(ENV_FORMAT, environ)] if environ is not None else [])]

    def _override(self, compiled: CompiledTemplate, form: str) -> Overridden:
        if not compiled.references and form not in FORMATS:
            return Overridden(self._renderer.render(compiled), frozenset())
        if form not in FORMATS:
            what = f"`fallback` names variables of env files, but this file has the format {form} and contains secrets"
            todo = "name the secrets with `fallback: {env: {PATH: {KEY: VARIABLE}}}`, or use `last_known_good`"
            raise TemplateError(what, where=compiled.name, todo=todo, rule=MISFIT)
        return override_variables(self._document(compiled), form, self._values)

    def _document(self, compiled: CompiledTemplate) -> Document:
        return self._renderer.render(
            mask_secrets(compiled, self._compiled_app.scope) if compiled.references else compiled
        )


class _Environment(dict[str, str]):
    """Sample environment variables. If the template has a default, that is used."""

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]  # Of a narrower default.
        del name
        return _TRIAL if default is None else default


def _path_error(path: str, scope: PathScope) -> LesseeError | None:
    try:
        scope.secret(path)
    except DeniedError as exc:
        return LesseeError(exc.what, todo=exc.todo, rule=MISFIT)
    return None


def _todo(need: Need, secrets: Mapping[str, Mapping[str, str]], scope: PathScope) -> str | None:
    """What to do if the fallback does not cover a reference, or None if it does."""
    if isinstance(need, DynamicSecret):
        return "variables cannot replace dynamic secrets: remove it from the app, or use `last_known_good`"
    if need.identity:
        return "variables cannot replace what another identity reads: use `last_known_good`"
    if any(_is_read(path, need, scope) for path in secrets):
        return None
    return "add it: {PATH: {KEY: VARIABLE}}"


def _is_read(path: str, need: Need, scope: PathScope) -> bool:
    """Whether a reference reads a path of a template."""
    ref = scope.secret(path)
    match need:
        case Ref():
            return (ref.mount, ref.path, ref.identity) == (need.mount, need.path, need.identity)
        case Folder():
            return ref.folder == need
        case _:
            return False


def _inputs(compiled_app: CompiledApp, secrets: Mapping[str, Mapping[str, str]], environ: Mapping[str, str]) -> Inputs:
    scope = compiled_app.scope
    refs: dict[Ref, Secret] = {}
    folders: dict[Folder, dict[str, Secret]] = {}
    for need in compiled_app.references:
        for path, data in secrets.items():
            if not _is_read(path, need, scope):
                continue
            if isinstance(need, Folder):
                folders.setdefault(need, {})[scope.secret(path).path.removeprefix(need.path)] = Secret(data)
            else:
                assert isinstance(need, Ref)
                refs[need] = Secret(data)
    required = compiled_app.references - compiled_app.optional
    missing = [str(need) for need in required if need not in refs and need not in folders]
    if missing:
        raise LesseeError(
            f"`fallback` does not cover {', '.join(sorted(missing))}", where=f"apps.{compiled_app.app.name}"
        )
    return Inputs(refs, folders, {}, environ)
