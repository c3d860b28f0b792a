"""Which public variables of a file take their values from secrets: by what its template says, and by what is in it."""

from collections.abc import Iterable, Iterator, Mapping

from lessee.core.errors import TemplateError
from lessee.core.immutable import Record
from lessee.core.paths import Dynamic, Folder, Ref, Space
from lessee.core.secrets import Secret
from lessee.core.sensitive.names import Place
from lessee.core.sensitive.traces import Traces, public_variables
from lessee.rendering.app_templates import Recipe
from lessee.rendering.public_variables import DOCUMENTS, FORMATS, named
from lessee.rendering.render import ENVIRON
from lessee.rendering.sample_secrets import NAME, text
from lessee.rendering.serialization import text as text_in
from lessee.rendering.templates import Compiled, Renderer


class Trial(Record, frozen=True):
    """A template, and the environment that it is rendered in."""

    hidden = ("environ",)

    compiled: Compiled
    format: str
    space: Space
    environ: Mapping[str, str]

    def takes(self, prefixes: Iterable[str]) -> Iterator[tuple[str, Place]]:
        """Each public variable with what it takes; none where the template cannot be rendered with made-up values."""
        told: dict[str, Place] = {}
        needs = self.compiled.needs
        secrets = {need: Secret(_Told(str(need), told)) for need in needs if isinstance(need, Ref)}
        folders = {need: {NAME: Secret(_Told(f"{need}*", told))} for need in needs if isinstance(need, Folder)}
        for variable, said in self._public(prefixes, secrets, folders, told):
            yield from ((variable, place) for value, place in told.items() if value in said)

    def holds(
        self, prefixes: Iterable[str], secrets: Mapping[Ref, Secret], traces: Traces
    ) -> Iterator[tuple[str, Place]]:
        """Each public variable with the values that are in it; none where a secret that it takes is not among these."""
        folders = {
            need: {ref.path.removeprefix(need.path): one for ref, one in secrets.items() if ref.folder == need}
            for need in self.compiled.needs
            if isinstance(need, Folder)
        }
        if all(need in secrets for need in self.compiled.needs if isinstance(need, Ref)):
            for variable, said in self._public(prefixes, secrets, folders, {}):
                yield from ((variable, place) for place in traces.find(said.encode(errors="surrogateescape")))

    def _public(
        self,
        prefixes: Iterable[str],
        secrets: Mapping[Ref, Secret],
        folders: Mapping[Folder, Mapping[str, Secret]],
        told: dict[str, Place],
    ) -> Iterator[tuple[str, str]]:
        dynamic = {need: Secret(_Told(need.path, told)) for need in self.compiled.needs if isinstance(need, Dynamic)}
        renderer = Renderer(self.space, secrets, folders, dynamic, self.environ)
        try:
            written = text_in(renderer.render(self.compiled), self.format)
        except TemplateError:
            return iter(())
        if self.format in DOCUMENTS:
            public = tuple(prefixes)
            return ((name, written[begin:end]) for name, begin, end in named(written) if name.startswith(public))
        return public_variables(written, prefixes)


def listed(recipe: Recipe, environ: Mapping[str, str]) -> Iterator[tuple[str, str, Place]]:
    """By each template the variables that its app lists as public, and what they take."""
    parts: list[tuple[str, Compiled]] = [(file.format, compiled) for file, compiled in recipe.files]
    if recipe.environ is not None:
        parts.append((ENVIRON, recipe.environ))
    for form, compiled in parts if recipe.app.public else ():
        if form in FORMATS | DOCUMENTS:
            for variable, place in Trial(compiled, form, recipe.space, environ).takes(recipe.app.public):
                if variable in recipe.app.public:  # `takes` goes by how they begin.
                    yield compiled.name, variable, place


class _Told(Mapping[str, object]):
    """A secret that has every key, each with a value of its own, and keeps in mind which was asked for."""

    def __init__(self, path: str, told: dict[str, Place]) -> None:
        self._path = path
        self._told = told

    def __getitem__(self, key: str) -> object:
        value = text(len(self._told))
        self._told[value] = Place(self._path, key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter((NAME,))

    def __len__(self) -> int:
        return 1
