"""How an app's files are made: its templates, compiled, and what each file is to be."""

from collections.abc import Mapping

from lessee.config import App, Config, File
from lessee.core.errors import LesseeError, TemplateError, TemplateListError
from lessee.core.immutable import Record
from lessee.core.paths import Need, Space
from lessee.rendering.templates import Compiled, Compiler


class Recipe(Record, frozen=True):
    """An app's files and the templates that make them."""

    app: App
    space: Space
    files: tuple[tuple[File, Compiled], ...]
    environ: Compiled | None = None
    """What makes the environment of a child; it is no file."""

    @property
    def templates(self) -> tuple[Compiled, ...]:
        """All that take part."""
        return (*(compiled for _, compiled in self.files), *([self.environ] if self.environ is not None else []))

    @property
    def needs(self) -> frozenset[Need]:
        """All that the templates can touch."""
        return frozenset[Need]().union(*(compiled.needs for compiled in self.templates))


def space_of(config: Config) -> Space:
    """The paths that this configuration's templates may name."""
    secrets = config.secrets
    return Space(secrets.mount, secrets.prefix, secrets.shared, config.foreign_environments, config.environment)


def compile_recipes(config: Config, compiler: Compiler, *, prepare: bool = True) -> Mapping[str, Recipe]:
    """Compile every app's templates. Raises TemplateListError with all that is wrong.

    `prepare` False leaves the making of code, and the rare error in it, to whoever renders or prepares first.
    """
    space = space_of(config)
    recipes: dict[str, Recipe] = {}
    problems: list[LesseeError] = []

    def compiled(template: str) -> Compiled | None:
        try:
            made = compiler.compile(template)
            if prepare:
                made.prepare()
        except TemplateError as exc:
            problems.extend(exc.problems)
            return None
        return made

    for app in config.apps.values():
        files = [(file, made) for file in app.files if (made := compiled(file.template)) is not None]
        environ = compiled(app.environ) if app.environ is not None else None
        recipes[app.name] = Recipe(app, space, tuple(files), environ)
    if problems:
        raise TemplateListError(problems)
    return recipes
