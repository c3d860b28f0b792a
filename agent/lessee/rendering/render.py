"""From recipes and secrets to generations: a file whose templates and secrets stayed is not rendered again."""

from collections.abc import Collection, Mapping
from typing import assert_never

from lessee.config import File
from lessee.core.generation import File as Rendered
from lessee.core.generation import Generation
from lessee.core.immutable import Record
from lessee.core.paths import Dynamic, Folder, Need, Ref
from lessee.core.secrets import Secret
from lessee.rendering.app_templates import Recipe
from lessee.rendering.document import Document
from lessee.rendering.public_variables import refuse_public
from lessee.rendering.serialization import content, text
from lessee.rendering.templates import Compiled, Renderer

ENVIRON = "dotenv"
"""The format of what `environ` renders."""


class Inputs(Record, frozen=True):
    """What templates are rendered from: all that they can touch, and the environment of whom they run in."""

    hidden = ("secrets", "folders", "dynamic", "environ")

    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[Dynamic, Secret]
    environ: Mapping[str, str]


class Rendering(Record, frozen=True):
    """A generation, and what it was made from."""

    recipe: Recipe
    inputs: Inputs
    generation: Generation


def render(recipe: Recipe, inputs: Inputs, before: Rendering | None = None) -> Rendering:
    """All files of one set of secrets; those that would be as they were `before` are taken over.

    Raises TemplateError; its text never holds a value.
    """
    renderer = Renderer(recipe.space, inputs.secrets, inputs.folders, inputs.dynamic, inputs.environ)
    kept = _kept(before, inputs) if before is not None and before.recipe is recipe else {}
    public = recipe.app.public
    files = tuple(
        kept.get(file.name) or file_of(file, renderer.render(compiled), public) for file, compiled in recipe.files
    )
    environ = None
    if recipe.environ is not None:
        environ = environ_of(renderer.render(recipe.environ), inputs.environ, public)
    return Rendering(recipe, inputs, Generation(recipe.app.name, files, environ))


def file_of(file: File, document: Document, public: Collection[str]) -> Rendered:
    """The file as it is to stand there; `public` as the app has it. Raises FormatError."""
    refuse_public(document, file.format, public)
    uid, gid = file.owner or (None, None)
    return Rendered(file.name, content(document, file.format), file.mode, uid, gid)


def environ_of(document: Document, environ: Mapping[str, str], public: Collection[str]) -> tuple[tuple[str, str], ...]:
    """What the document, of dotenv, adds to the environment of a child; `public` as above. Raises FormatError."""
    refuse_public(document, ENVIRON, public)
    from lessee.rendering.formats.dotenv import variables  # noqa: PLC0415  # As `write` imports it.

    return tuple(sorted(variables(text(document, ENVIRON), environ).items()))


def _kept(before: Rendering, inputs: Inputs) -> Mapping[str, Rendered]:
    pairs = zip(before.recipe.files, before.generation.files, strict=True)
    return {file.name: file for (_, compiled), file in pairs if _stays(compiled, before.inputs, inputs)}


def _stays(compiled: Compiled, before: Inputs, now: Inputs) -> bool:
    return before.environ is now.environ and all(_same(need, before, now) for need in compiled.needs)


def _same(need: Need, before: Inputs, now: Inputs) -> bool:
    match need:
        case Ref():
            return _unread(before.secrets[need], now.secrets[need])
        case Folder():
            then, inside = before.folders[need], now.folders[need]
            return then.keys() == inside.keys() and all(_unread(then[name], inside[name]) for name in inside)
        case Dynamic():
            return _unread(before.dynamic[need], now.dynamic[need])
        case _:
            assert_never(need)


def _unread(before: Secret, now: Secret) -> bool:
    # What was not read anew, or was read as it had been, is the same object; == would take True for 1.
    return before.data is now.data
