"""Renders the files of an app. A file with unchanged templates and secrets is not rendered again."""

from collections.abc import Collection, Mapping
from contextlib import closing
from typing import assert_never

from lessee.config import File
from lessee.core.errors import DeniedError, FormatError, TemplateError
from lessee.core.generation import File as Rendered
from lessee.core.generation import Generation
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret
from lessee.core.variables import Readable
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.document import Document
from lessee.rendering.public_variables import refuse_public
from lessee.rendering.sandbox.bounds import SlowRenderingError
from lessee.rendering.serialization import content, text, weight
from lessee.rendering.templates import CompiledTemplate, Renderer

ENV_FORMAT = "dotenv"
"""The format of `env_template`."""
MAX_SIZE = 64 * 2**20
"""Bytes of all files of an app."""
QUICK_WEIGHT = 10_000
"""Characters of an app's files together. The slowest parsers take twenty microseconds for each."""


class Inputs(ImmutableStruct, frozen=True):
    """The secrets and the environment variables that templates can read."""

    hidden = ("secrets", "folders", "dynamic", "environ")

    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[DynamicSecret, Secret]
    environ: Mapping[str, str]


class Rendering(ImmutableStruct, frozen=True):
    """A generation with its templates and inputs."""

    compiled_app: CompiledApp
    inputs: Inputs
    generation: Generation


def render(
    compiled_app: CompiledApp, inputs: Inputs, before: Rendering | None = None, *, quick: bool = False
) -> Rendering:
    """Render all files from one set of secrets. Files that did not change since `before` are reused.

    Raises TemplateError, whose text never contains a value; or, if `quick`, SlowRenderingError for what may take longer
    than a tenth of a second.
    """
    with closing(_Renderer(compiled_app, inputs, quick=quick)) as renderer:
        return _render(renderer, compiled_app, inputs, before)


def _render(renderer: "_Renderer", compiled_app: CompiledApp, inputs: Inputs, before: Rendering | None) -> Rendering:
    unchanged = _unchanged(before, inputs) if before is not None and before.compiled_app is compiled_app else {}
    public = compiled_app.app.public_variables
    files = tuple(
        unchanged.get(file.name) or render_file(file, renderer.render(compiled), public)
        for file, compiled in compiled_app.files
    )
    if sum(len(file.content) for file in files) > MAX_SIZE:
        what, todo = f"the app's files have more than {MAX_SIZE // 2**20} MiB", "distribute them over several apps"
        raise TemplateError(what, where=f"apps.{compiled_app.app.name}.files", todo=todo)
    environ = None
    if compiled_app.env_template is not None:
        variables = Readable(inputs.environ, compiled_app.scope.variables)
        environ = render_environment(renderer.render(compiled_app.env_template), variables, public)
    return Rendering(compiled_app, inputs, Generation(compiled_app.app.name, files, environ))


class _Renderer:
    """Renders the templates of one app; if `quick`, only as long as their files are small together."""

    def __init__(self, compiled_app: CompiledApp, inputs: Inputs, *, quick: bool) -> None:
        self._quick = quick
        self._left = QUICK_WEIGHT
        self._renderer = Renderer(
            compiled_app.scope, inputs.secrets, inputs.folders, inputs.dynamic, inputs.environ, quick=quick
        )

    def close(self) -> None:
        self._renderer.close()

    def render(self, compiled: CompiledTemplate) -> Document:
        document = self._renderer.render(compiled)
        if self._quick:
            self._left -= weight(document)
            if self._left < 0:
                raise SlowRenderingError
        return document


def render_file(file: File, document: Document, public: Collection[str]) -> Rendered:
    """The file's content and metadata. `public` are the app's public variables. Raises FormatError."""
    refuse_public(document, file.format, public)
    uid, gid = file.owner or (None, None)
    return Rendered(file.name, content(document, file.format), file.mode, uid, gid)


def render_environment(
    document: Document, environ: Mapping[str, str], public: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """The variables that the document adds to a child's environment. Raises FormatError."""
    refuse_public(document, ENV_FORMAT, public)
    from lessee.rendering.formats.dotenv import variables  # noqa: PLC0415  # Imported only when used, as in `write`.

    written = text(document, ENV_FORMAT)
    try:
        return tuple(sorted(variables(written, environ).items()))
    except (DeniedError, FormatError) as exc:
        raise FormatError(exc.what, where=document.name, todo=exc.todo) from None


def _unchanged(before: Rendering, inputs: Inputs) -> Mapping[str, Rendered]:
    pairs = zip(before.compiled_app.files, before.generation.files, strict=True)
    return {file.name: file for (_, compiled), file in pairs if _is_unchanged(compiled, before.inputs, inputs)}


def _is_unchanged(compiled: CompiledTemplate, before: Inputs, now: Inputs) -> bool:
    return before.environ is now.environ and all(_is_same(need, before, now) for need in compiled.needs)


def _is_same(need: Need, before: Inputs, now: Inputs) -> bool:
    match need:
        case Ref():
            return _is_same_read(before.secrets.get(need), now.secrets.get(need))
        case Folder():
            # An optional one may be missing.
            then, inside = before.folders.get(need), now.folders.get(need)
            if then is None or inside is None:
                return then is inside
            return then.keys() == inside.keys() and all(_is_same_read(then[name], inside[name]) for name in inside)
        case DynamicSecret():
            return _is_same_read(before.dynamic.get(need), now.dynamic.get(need))
        case _:
            assert_never(need)


def _is_same_read(before: Secret | None, now: Secret | None) -> bool:
    if before is None or now is None:
        return before is now
    # The data of an unchanged secret is the same object. Comparing with == would take True for 1.
    return before.data is now.data
