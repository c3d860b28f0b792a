"""Rendering with made-up secrets: what no secret can make fit is told before one is read."""

from collections.abc import Collection, Mapping
from contextlib import suppress

from lessee.core.errors import FormatError, TemplateError
from lessee.core.paths import Need, PathScope
from lessee.rendering.document import Document
from lessee.rendering.public_variables import refuse_public
from lessee.rendering.sample_secrets import KINDS, SampleSecrets, sample_secrets, text
from lessee.rendering.serialization import text as text_in
from lessee.rendering.templates import CompiledTemplate, Renderer
from lessee.rendering.value_shapes import Shape


def trial_render(
    compiled: CompiledTemplate,
    format: str,  # noqa: A002  # The word that users write.
    scope: PathScope,
    shapes: Mapping[Need, Shape],
    public: Collection[str] = (),
) -> str | FormatError | None:
    """The file as it would be with some made-up values, or why it can be written with none; `public` as the app has it.

    None where that cannot be known, since an expression fails on what is made up.
    """
    ends: list[str | FormatError | None] = []
    for known in (shapes, {}):
        for kind in KINDS:
            end = _written(compiled, format, scope, sample_secrets(compiled.references, known, kind), public)
            if isinstance(end, str):
                return end
            ends.append(end)
    # Nearly every expression takes a text.
    as_text, as_digits = ends[:2]
    return as_text if as_digits is not None else None


def document(compiled: CompiledTemplate, scope: PathScope, shapes: Mapping[Need, Shape]) -> Document | None:
    """What the first trial rendered; None where an expression failed on it."""
    with suppress(TemplateError):
        return _document(compiled, scope, sample_secrets(compiled.references, shapes, text))
    return None


def _written(
    compiled: CompiledTemplate,
    format: str,  # noqa: A002  # As above.
    scope: PathScope,
    inputs: SampleSecrets,
    public: Collection[str],
) -> str | FormatError | None:
    try:
        rendered = _document(compiled, scope, inputs)
    except TemplateError:
        return None
    try:
        refuse_public(rendered, format, public)
        return text_in(rendered, format)
    except FormatError as exc:
        return exc


def _document(compiled: CompiledTemplate, scope: PathScope, inputs: SampleSecrets) -> Document:
    renderer = Renderer(scope, inputs.secrets, inputs.folders, inputs.dynamic, inputs.environ)
    return renderer.render(compiled)
