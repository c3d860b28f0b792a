"""An app's files from the agent's environment, as its `fallback` says."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from lessee.config import FromSecrets, FromVariables
from lessee.core.errors import LesseeError, RefusedError, TemplateError
from lessee.core.generation import Generation
from lessee.core.paths import Dynamic, Folder, Need, Ref, Space
from lessee.core.secrets import Secret
from lessee.rendering.app_templates import Recipe
from lessee.rendering.document import Document
from lessee.rendering.fallback.masks import MISFIT, masked
from lessee.rendering.fallback.overrides import FORMATS, Filled, filled
from lessee.rendering.render import ENVIRON, Inputs, environ_of, file_of, render
from lessee.rendering.templates import Compiled, Renderer

UNUSED = "fallback-unused"
"""The name under which `lessee check` tells of what a fallback names and nothing reads."""

_TRIAL = "x"


def make(recipe: Recipe, fallback: FromVariables | FromSecrets, environ: Mapping[str, str]) -> Generation:
    """The files of one app. Raises LesseeError, which names variables, paths and keys, and holds no value."""
    if missing := unset(fallback, environ):
        what = f"the agent's environment has no {', '.join(missing)}"
        raise LesseeError(what, where=f"apps.{recipe.app.name}.fallback", todo="set them, and not to nothing")
    if isinstance(fallback, FromVariables):
        return _Files(recipe, {name: environ[name] for name in fallback.variables}, environ).generation()
    secrets = {path: {key: environ[name] for key, name in keys.items()} for path, keys in fallback.secrets.items()}
    return render(recipe, _inputs(recipe, secrets, environ)).generation


def unset(fallback: FromVariables | FromSecrets, environ: Mapping[str, str]) -> list[str]:
    """Those that an environment has not, or has as empty: Compose makes these of what is not set."""
    return [name for name in fallback.variables if not environ.get(name)]


def problems(recipe: Recipe) -> Iterator[LesseeError]:
    """Why the fallback of an app can never serve it, whatever the environment is."""
    match recipe.app.fallback:
        case FromVariables(names):
            yield from _Files(recipe, dict.fromkeys(names, _TRIAL), _Environment()).problems()
        case FromSecrets(secrets):
            wrong = [exc for path in secrets if (exc := _wrong(path, recipe.space)) is not None]
            yield from wrong
            for need in sorted(recipe.needs, key=str) if not wrong else ():
                if (todo := _todo(need, secrets, recipe.space)) is not None:
                    yield TemplateError(f"{need} is not covered by `fallback`", todo=todo, rule=MISFIT)
        case _:
            pass


def unused(recipe: Recipe) -> Iterator[LesseeError]:
    """What the fallback names and nothing reads: most likely it is misspelt. `recipe` is whole, and has no problems."""
    match recipe.app.fallback:
        case FromVariables(names):
            with suppress(TemplateError):  # an expression fails on what is made up: then it cannot be known
                found = _Files(recipe, dict.fromkeys(names, _TRIAL), _Environment()).names()
                for name in sorted(set(names) - found):
                    todo = "mend its name, or leave it out"
                    yield LesseeError(f"no file of the app sets {name}", todo=todo, rule=UNUSED)
        case FromSecrets(secrets):
            for path in secrets:
                if not any(_is_read(path, need, recipe.space) for need in recipe.needs):
                    todo = "mend the path, or leave it out"
                    yield LesseeError(f"no template of the app reads {path}", todo=todo, rule=UNUSED)
        case _:
            pass


class _Files:
    """The files of an app with values for some variables."""

    def __init__(self, recipe: Recipe, values: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._recipe = recipe
        self._values = values
        self._environ = environ
        self._renderer = Renderer(recipe.space, {}, {}, {}, environ)

    def generation(self) -> Generation:
        recipe, public = self._recipe, self._recipe.app.public
        files = tuple(
            file_of(file, self._filled(compiled, file.format).document, public) for file, compiled in recipe.files
        )
        environ = None
        if recipe.environ is not None:
            environ = environ_of(self._filled(recipe.environ, ENVIRON).document, self._environ, public)
        return Generation(recipe.app.name, files, environ)

    def problems(self) -> Iterator[LesseeError]:
        for form, compiled in self._parts():
            if compiled.needs:
                try:
                    self._filled(compiled, form)
                except TemplateError as exc:
                    yield from (problem for problem in exc.problems if problem.rule == MISFIT)

    def names(self) -> frozenset[str]:
        parts = (self._filled(compiled, form) for form, compiled in self._parts() if form in FORMATS)
        return frozenset[str]().union(*(part.names for part in parts))

    def _parts(self) -> list[tuple[str, Compiled]]:
        environ = self._recipe.environ
        files = [(file.format, compiled) for file, compiled in self._recipe.files]
        return [*files, *([(ENVIRON, environ)] if environ is not None else [])]

    def _filled(self, compiled: Compiled, form: str) -> Filled:
        if not compiled.needs and form not in FORMATS:
            return Filled(self._renderer.render(compiled), frozenset())
        if form not in FORMATS:
            what = f"a file of format {form} holds secrets, and `fallback` names variables of env files"
            todo = "name its secrets: `fallback: {env: {PATH: {KEY: VARIABLE}}}`, or `last_good`"
            raise TemplateError(what, where=compiled.name, todo=todo, rule=MISFIT)
        return filled(self._document(compiled), form, self._values)

    def _document(self, compiled: Compiled) -> Document:
        return self._renderer.render(masked(compiled, self._recipe.space) if compiled.needs else compiled)


class _Environment(dict[str, str]):
    """Nothing is known of it, but for the defaults that the author gave."""

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]  # Of a narrower default.
        del name
        return _TRIAL if default is None else default


def _wrong(path: str, space: Space) -> LesseeError | None:
    try:
        space.secret(path)
    except RefusedError as exc:
        return LesseeError(exc.what, todo=exc.todo, rule=MISFIT)
    return None


def _todo(need: Need, secrets: Mapping[str, Mapping[str, str]], space: Space) -> str | None:
    """What there is to do about a need that is not covered; None where it is."""
    if isinstance(need, Dynamic):
        return "what Vault makes cannot be made of variables: leave it out of the app, or use `last_good`"
    if any(_is_read(path, need, space) for path in secrets):
        return None
    return "add it: {PATH: {KEY: VARIABLE}}"


def _is_read(path: str, need: Need, space: Space) -> bool:
    """Whether a need reads a path, as templates have it."""
    ref = space.secret(path)
    match need:
        case Ref():
            return (ref.mount, ref.path) == (need.mount, need.path)
        case Folder():
            return ref.folder == need
        case _:
            return False


def _inputs(recipe: Recipe, secrets: Mapping[str, Mapping[str, str]], environ: Mapping[str, str]) -> Inputs:
    space = recipe.space
    refs: dict[Ref, Secret] = {}
    folders: dict[Folder, dict[str, Secret]] = {}
    for need in recipe.needs:
        for path, data in secrets.items():
            if not _is_read(path, need, space):
                continue
            if isinstance(need, Folder):
                folders.setdefault(need, {})[space.secret(path).path.removeprefix(need.path)] = Secret(data)
            else:
                assert isinstance(need, Ref)
                refs[need] = Secret(data)
    missing = [str(need) for need in recipe.needs if need not in refs and need not in folders]
    if missing:
        raise LesseeError(f"`fallback` does not cover {', '.join(sorted(missing))}", where=f"apps.{recipe.app.name}")
    return Inputs(refs, folders, {}, environ)
