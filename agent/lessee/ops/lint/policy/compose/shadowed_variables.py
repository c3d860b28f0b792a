"""Variables of a container that stand in the way of those that its app's files give."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.lint.policy.compose.model import EnvFile, Place, Service
from lessee.ops.lint.policy.compose.stack import Stack
from lessee.ops.lint.policy.findings import Finding, Level
from lessee.ops.lint.policy.templates import TemplateOutput
from lessee.rendering.formats import outline
from lessee.rendering.sample_secrets import is_sample

# Who reads these lets the environment win: pydantic, python-dotenv, node, Vite, Compose and Docker. A shell does not.
_YIELDING = frozenset({"dotenv", "dotenv-node", "dotenv-vite", "dotenv-compose", "dotenv-docker"})


class _Set(ImmutableStruct, frozen=True):
    """A variable that a container starts with."""

    name: str
    place: Place
    source: str
    """Where in its service it is set."""
    surely: bool = True


def shadowed_variables(
    stack: Stack, texts: Mapping[TemplateOutput, str], load: Callable[[str], str | None]
) -> Iterator[Finding]:
    """`load` gives the text of an `env_file`, where it is there. A variable is told at each place that sets it."""
    for app in stack.config.apps.values():
        given = {
            name: sheet
            for sheet, text in reversed(list(texts.items()))  # What a file gives counts before an environment.
            if sheet.app == app.name and sheet.format in _YIELDING
            for name in _names(text, sheet.format)
            if not is_sample(name)
        }
        readers = tuple(stack.readers(app))
        found = _finding if readers else _guess
        for service in readers or stack.possible_readers(app):
            files = [file for file in service.env_files if not stack.is_ours(file.path, app)]
            for variable in _environment(service, files, load):
                if variable.name in given:
                    yield found(service, variable, given[variable.name])


def _environment(service: Service, files: Iterable[EnvFile], load: Callable[[str], str | None]) -> Iterator[_Set]:
    """Compose lets `environment` win, but who takes the variable out there would find that of an `env_file`."""
    for name, variable in service.environment.items():
        yield _Set(name, variable.place, "`environment`", surely=variable.value is not None)
    for file in files:
        for name in dict.fromkeys(_names(load(file.path) or "", "dotenv-compose")):
            yield _Set(name, file.place, file.path)


def _names(text: str, format: str) -> tuple[str, ...]:  # noqa: A002  # The word that users write.
    try:
        return outline(text, format)
    except FormatError:
        return ()


def _finding(service: Service, variable: _Set, sheet: TemplateOutput) -> Finding:
    level: Level = "error" if variable.surely and sheet.name else "warning"
    what = f"{variable.name} is set for service {service.name} in {variable.source}, and app {sheet.app} gives it too: "
    # `lessee exec` puts what it renders over what it has.
    what += f"{sheet.name} is passed over" if sheet.name else "what stands here is passed over"
    place = variable.place
    return Finding("shadowed-variable", level, what, "take it out here", place.file, place.line, sheet.app)


def _guess(service: Service, variable: _Set, sheet: TemplateOutput) -> Finding:
    """Of an app that no service is known to read, any may be the reader."""
    what = f"{variable.name} is set for service {service.name} in {variable.source}, app {sheet.app} gives it too, "
    what += "and no service is known to read that app"
    todo = "mount the app's directory in the service that reads it, and take out there what it gives"
    place = variable.place
    return Finding("unread-app", "warning", what, todo, place.file, place.line, sheet.app)
