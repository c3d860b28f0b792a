"""Renders templates with sample secrets, to find files that no secret can make valid."""

from collections.abc import Collection, Mapping
from contextlib import suppress

from lessee.core.errors import FormatError, TemplateError
from lessee.core.path_scope import PathScope
from lessee.core.paths import Need
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
    """The file as rendered with sample values, or the error that every sample gives; `public` as in the app.

    None where that is unknown, because an expression fails on the sample values.
    """
    outcomes: list[str | FormatError | None] = []
    for known in (shapes, {}):
        for kind in KINDS:
            outcome = _render_as_text(compiled, format, scope, sample_secrets(compiled.references, known, kind), public)
            if isinstance(outcome, str):
                return outcome
            outcomes.append(outcome)
    # Nearly every expression accepts a string.
    as_text, as_digits = outcomes[:2]
    return as_text if as_digits is not None else None


def failure_without_optional(
    compiled: CompiledTemplate,
    format: str,  # noqa: A002  # As above.
    scope: PathScope,
    shapes: Mapping[Need, Shape],
) -> TemplateError | None:
    """Why the template cannot be rendered without what it says is optional, whatever else it reads."""
    errors: list[TemplateError] = []
    for kind in KINDS if compiled.optional else ():
        try:
            present = compiled.references - compiled.optional
            text_in(_document(compiled, scope, sample_secrets(present, shapes, kind)), format)
        except TemplateError as exc:
            errors.append(exc)
        else:
            return None
    return errors[0] if errors else None


def document(compiled: CompiledTemplate, scope: PathScope, shapes: Mapping[Need, Shape]) -> Document | None:
    """The document that the first sample renders; None where an expression fails on it."""
    with suppress(TemplateError):
        return _document(compiled, scope, sample_secrets(compiled.references, shapes, text))
    return None


def _render_as_text(
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
