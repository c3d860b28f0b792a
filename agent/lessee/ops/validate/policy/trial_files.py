"""Renders an app's files in memory as they would be now, and keeps only their fingerprints."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lessee.config import File
from lessee.core.errors import TemplateError
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.render import Inputs
from lessee.rendering.sample_secrets import KINDS, sample_secrets
from lessee.rendering.serialization import content
from lessee.rendering.templates import CompiledTemplate, Renderer

if TYPE_CHECKING:
    from lessee.core.secrets import Secret

_ENVIRON = "environ"


class RenderedFiles(ImmutableStruct, frozen=True):
    """`fingerprints`: by file name. `uncompared`: files with sample credentials, or with variables of the agent."""

    fingerprints: Mapping[str, bytes]
    uncompared: tuple[str, ...]
    errors: tuple[str, ...]
    """Why files cannot be rendered, without a value."""

    def matches(self, name: str, published: bytes) -> bool:
        """Whether a published file is as it would be rendered."""
        return hmac.compare_digest(self.fingerprints[name], _fingerprint(published))


def render_files(compiled_app: CompiledApp, inputs: Inputs) -> RenderedFiles:
    """Render the files; `inputs` has no dynamic secrets, so sample credentials replace them."""
    fingerprints: dict[str, bytes] = {}
    uncompared: list[str] = []
    errors: list[str] = []
    for file, compiled in _templates(compiled_app):
        # The agent may have other environment variables than this process.
        differs = any(isinstance(need, DynamicSecret) for need in compiled.references) or "env" in compiled.words
        try:
            rendered = _render(file, compiled, compiled_app, inputs)
        except TemplateError as exc:
            errors.append(str(exc))
            continue
        if differs or file.name == _ENVIRON:
            uncompared.append(file.name)
        else:
            fingerprints[file.name] = _fingerprint(rendered)
    return RenderedFiles(fingerprints, tuple(uncompared), tuple(errors))


def _templates(compiled_app: CompiledApp) -> Iterable[tuple[File, CompiledTemplate]]:
    yield from compiled_app.files
    if compiled_app.env_template is not None:
        name = compiled_app.env_template.name
        yield File(template=name, name=_ENVIRON, format="dotenv", mode=0, owner=None), compiled_app.env_template


def _render(file: File, compiled: CompiledTemplate, compiled_app: CompiledApp, inputs: Inputs) -> bytes:
    """Raises TemplateError where it cannot be rendered with any kind of sample values."""
    dynamic = [need for need in compiled.references if isinstance(need, DynamicSecret)]
    error: TemplateError | None = None
    for kind in KINDS if dynamic else KINDS[:1]:
        issued: Mapping[DynamicSecret, Secret] = sample_secrets(dynamic, {}, kind).dynamic
        renderer = Renderer(compiled_app.scope, inputs.secrets, inputs.folders, issued, inputs.environ)
        try:
            return content(renderer.render(compiled), file.format)
        except TemplateError as exc:
            error = error or exc
    assert error is not None
    raise error


def _fingerprint(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
