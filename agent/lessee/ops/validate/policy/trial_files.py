"""An app's files as they would be now, rendered in memory, of which only fingerprints are kept."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lessee.config import File
from lessee.core.errors import TemplateError
from lessee.core.immutable import Record
from lessee.core.paths import Dynamic
from lessee.rendering.app_templates import Recipe
from lessee.rendering.render import Inputs
from lessee.rendering.sample_secrets import KINDS, made_up
from lessee.rendering.serialization import content
from lessee.rendering.templates import Compiled, Renderer

if TYPE_CHECKING:
    from lessee.core.secrets import Secret

_ENVIRON = "environ"


class Tried(Record, frozen=True):
    """`files`: the fingerprints of files by name. `made_up`: those that hold what Vault would have had to make."""

    files: Mapping[str, bytes]
    made_up: tuple[str, ...]
    faults: tuple[str, ...]
    """Why files cannot be rendered, without a value."""

    def is_same(self, name: str, there: bytes) -> bool:
        """Whether a file is as it would be rendered."""
        return hmac.compare_digest(self.files[name], _fingerprint(there))


def try_files(recipe: Recipe, inputs: Inputs) -> Tried:
    """`inputs` without what is dynamic: for that no credentials are issued, and it is made up."""
    files: dict[str, bytes] = {}
    others: list[str] = []
    faults: list[str] = []
    for file, compiled in _sheets(recipe):
        # A variable of the agent's own may be another than ours.
        theirs = any(isinstance(need, Dynamic) for need in compiled.needs) or "env" in compiled.words
        try:
            written = _written(file, compiled, recipe, inputs)
        except TemplateError as exc:
            faults.append(str(exc))
            continue
        if theirs or file.name == _ENVIRON:
            others.append(file.name)
        else:
            files[file.name] = _fingerprint(written)
    return Tried(files, tuple(others), tuple(faults))


def _sheets(recipe: Recipe) -> Iterable[tuple[File, Compiled]]:
    yield from recipe.files
    if recipe.environ is not None:
        name = recipe.environ.name
        yield File(template=name, name=_ENVIRON, format="dotenv", mode=0, owner=None), recipe.environ


def _written(file: File, compiled: Compiled, recipe: Recipe, inputs: Inputs) -> bytes:
    """Raises TemplateError where it can be written with no kind of value."""
    dynamic = [need for need in compiled.needs if isinstance(need, Dynamic)]
    failed: TemplateError | None = None
    for kind in KINDS if dynamic else KINDS[:1]:
        issued: Mapping[Dynamic, Secret] = made_up(dynamic, {}, kind).dynamic
        renderer = Renderer(recipe.space, inputs.secrets, inputs.folders, issued, inputs.environ)
        try:
            return content(renderer.render(compiled), file.format)
        except TemplateError as exc:
            failed = failed or exc
    assert failed is not None
    raise failed


def _fingerprint(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
