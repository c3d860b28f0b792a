"""Finds public variables of a file that contain secrets: by the template's references, and by the rendered values."""

from collections.abc import Iterable, Iterator, Mapping

from lessee.core.errors import TemplateError
from lessee.core.immutable import ImmutableStruct
from lessee.core.path_scope import PathScope
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret
from lessee.core.sensitive.leaks import LeakDetector, find_public_variables
from lessee.core.sensitive.names import SecretField
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.public_variables import DOCUMENTS, FORMATS, public_names
from lessee.rendering.render import ENV_FORMAT
from lessee.rendering.sample_secrets import NAME, text
from lessee.rendering.serialization import text as text_in
from lessee.rendering.templates import CompiledTemplate, Renderer


class TemplateProbe(ImmutableStruct, frozen=True):
    """A template, and the environment variables with which it is rendered."""

    hidden = ("environ",)

    compiled: CompiledTemplate
    format: str
    scope: PathScope
    environ: Mapping[str, str]

    def referenced_fields(self, prefixes: Iterable[str]) -> Iterator[tuple[str, SecretField]]:
        """Public variables with the fields that they contain; none where it cannot be rendered with sample values."""
        samples: dict[str, SecretField] = {}
        for variable, value in self._with_samples(prefixes, samples):
            yield from ((variable, field) for sample, field in samples.items() if sample in value)

    def has_variables(self, prefixes: Iterable[str]) -> bool:
        """Whether it has public variables; False where it cannot be rendered with sample values."""
        return any(True for _ in self._with_samples(prefixes, {}))

    def leaked_fields(
        self, prefixes: Iterable[str], secrets: Mapping[Ref, Secret], detector: LeakDetector
    ) -> Iterator[tuple[str, SecretField]]:
        """Public variables with the fields whose values they contain; none where a secret of it is missing here."""
        folders = {
            need: {ref.path.removeprefix(need.path): secret for ref, secret in secrets.items() if ref.folder == need}
            for need in self.compiled.references
            if isinstance(need, Folder)
        }
        if all(need in secrets for need in self.compiled.references if isinstance(need, Ref)):
            for variable, value in self._public_variables(prefixes, secrets, folders, {}):
                yield from ((variable, field) for field in detector.find(value.encode(errors="surrogateescape")))

    def _with_samples(self, prefixes: Iterable[str], samples: dict[str, SecretField]) -> Iterator[tuple[str, str]]:
        references = self.compiled.references
        secrets = {need: Secret(_SampleSecret(str(need), samples)) for need in references if isinstance(need, Ref)}
        folders = {
            need: {NAME: Secret(_SampleSecret(f"{need}*", samples))} for need in references if isinstance(need, Folder)
        }
        return self._public_variables(prefixes, secrets, folders, samples)

    def _public_variables(
        self,
        prefixes: Iterable[str],
        secrets: Mapping[Ref, Secret],
        folders: Mapping[Folder, Mapping[str, Secret]],
        samples: dict[str, SecretField],
    ) -> Iterator[tuple[str, str]]:
        dynamic = {
            need: Secret(_SampleSecret(need.path, samples))
            for need in self.compiled.references
            if isinstance(need, DynamicSecret)
        }
        renderer = Renderer(self.scope, secrets, folders, dynamic, self.environ)
        try:
            rendered = text_in(renderer.render(self.compiled), self.format)
        except TemplateError:
            return iter(())
        if self.format in DOCUMENTS:
            public = tuple(prefixes)
            found = public_names(rendered)
            return ((name, rendered[begin:end]) for name, begin, end in found if name.startswith(public))
        return find_public_variables(rendered, prefixes)


def public_fields(compiled_app: CompiledApp, environ: Mapping[str, str]) -> Iterator[tuple[str, str, SecretField]]:
    """The app's `public_variables` with their templates, and the fields that they contain."""
    parts: list[tuple[str, CompiledTemplate]] = [(file.format, compiled) for file, compiled in compiled_app.files]
    if compiled_app.env_template is not None:
        parts.append((ENV_FORMAT, compiled_app.env_template))
    names = compiled_app.app.public_variables
    for form, compiled in parts if names else ():
        if form in FORMATS | DOCUMENTS:
            probe = TemplateProbe(compiled, form, compiled_app.scope, environ)
            for variable, field in probe.referenced_fields(names):
                if variable in names:  # `referenced_fields` matches prefixes.
                    yield compiled.name, variable, field


class _SampleSecret(Mapping[str, object]):
    """A secret that has every key with a unique value, and records which values were read."""

    def __init__(self, path: str, samples: dict[str, SecretField]) -> None:
        self._path = path
        self._samples = samples

    def __getitem__(self, key: str) -> object:
        value = text(len(self._samples))
        self._samples[value] = SecretField(self._path, key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter((NAME,))

    def __len__(self) -> int:
        return 1
