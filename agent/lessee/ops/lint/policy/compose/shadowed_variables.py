"""Finds variables of a container that take precedence over those in its app's files."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from lessee.core.errors import FormatError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.lint.policy.compose import fixes
from lessee.ops.lint.policy.compose.additions import missing_mounts
from lessee.ops.lint.policy.compose.fixes import NO_REMEDY, Remedy
from lessee.ops.lint.policy.compose.likely_readers import likely_reader
from lessee.ops.lint.policy.compose.model import EnvFile, Place, Service
from lessee.ops.lint.policy.compose.stack import Stack
from lessee.ops.lint.policy.findings import Finding, Level
from lessee.ops.lint.policy.templates import TemplateOutput
from lessee.rendering.formats import outline
from lessee.rendering.sample_secrets import is_sample

# For readers of these formats the environment takes precedence: pydantic, python-dotenv, node, Vite, Compose and
# Docker. For a shell it does not.
_OVERRIDABLE_FORMATS = frozenset({"dotenv", "dotenv-node", "dotenv-vite", "dotenv-compose", "dotenv-docker"})


class SetVariable(ImmutableStruct, frozen=True):
    """A variable in a container's environment."""

    name: str
    place: Place
    source: str
    """The key of the service, or the file, that sets it."""
    certain: bool = True
    file: str = ""
    """The `env_file` that has it; empty for `environment`."""


def shadowed_variables(
    stack: Stack, texts: Mapping[TemplateOutput, str], load: Callable[[str], str | None]
) -> Iterator[Finding]:
    """Findings for each place that sets such a variable. `load` returns the text of an `env_file` if it exists."""
    for app in stack.config.apps.values():
        given = rendered_variables(app.name, texts)
        readers = tuple(stack.readers(app))
        found = _finding if readers else _guess
        for service in readers or stack.possible_readers(app):
            files = [file for file in service.env_files if not stack.is_ours(file.path, app)]
            for variable in set_variables(service, files, load):
                if variable.name in given:
                    yield found(stack, service, variable, given[variable.name])


def rendered_variables(app: str, texts: Mapping[TemplateOutput, str]) -> Mapping[str, TemplateOutput]:
    """The variables that an app's files set, and that its environment would override."""
    return {
        name: output
        for output, text in reversed(list(texts.items()))  # Files come before environments.
        if output.app == app and output.format in _OVERRIDABLE_FORMATS
        for name in _names(text, output.format)
        if not is_sample(name)
    }


def set_variables(
    service: Service, files: Iterable[EnvFile], load: Callable[[str], str | None]
) -> Iterator[SetVariable]:
    """All places that set a variable: removing it from `environment` would uncover that of an `env_file`."""
    for name, variable in service.environment.items():
        yield SetVariable(name, variable.place, "`environment`", certain=variable.value is not None)
    for file in files:
        for name in dict.fromkeys(_names(load(file.path) or "", "dotenv-compose")):
            yield SetVariable(name, file.place, file.path, file=file.path)


def _names(text: str, format: str) -> tuple[str, ...]:  # noqa: A002  # The word that users write.
    try:
        return outline(text, format)
    except FormatError:
        return ()


def _finding(stack: Stack, service: Service, variable: SetVariable, output: TemplateOutput) -> Finding:
    level: Level = "error" if variable.certain and output.name else "warning"
    what = f"{variable.name} is set for service {service.name} in {variable.source}, and app {output.app} sets it too: "
    # For `lessee exec`, rendered variables take precedence.
    what += f"{output.name} is ignored" if output.name else "the value here is ignored"
    place = variable.place
    remedy = _removal(stack, service, variable)
    return Finding(
        "shadowed-variable",
        level,
        what,
        "remove it here",
        place.file,
        place.line,
        output.app,
        fix=remedy.fix,
        lines=remedy.lines,
    )


def _removal(stack: Stack, service: Service, variable: SetVariable) -> Remedy:
    if not variable.file:
        return fixes.without_variable(stack, service, variable.name, variable.place)
    # A shell and `.env` give values to `${NAME}` and to variables without a value.
    used = {name for each in stack.services.values() for name, item in each.environment.items() if item.value is None}
    is_used = variable.name in used.union(stack.files.interpolated)
    return fixes.without_line(stack, service, variable.name, variable.file, is_interpolated=is_used)


def _guess(stack: Stack, service: Service, variable: SetVariable, output: TemplateOutput) -> Finding:
    """For an app without a known reader: any service may be the reader."""
    what = f"{variable.name} is set for service {service.name} in {variable.source}, app {output.app} sets it too, "
    what += "and no service is known to read the app's files"
    todo = "mount the app's directory in the service that reads it, and remove the variable there"
    place, app = variable.place, stack.config.apps[output.app]
    remedy = NO_REMEDY
    if stack.agents and likely_reader(stack, app) == service:
        remedy = fixes.adding(stack, f"mount the directory of app {app.name}", missing_mounts(stack, app))
    return Finding(
        "app-without-reader",
        "warning",
        what,
        todo,
        place.file,
        place.line,
        output.app,
        fix=remedy.fix,
        lines=remedy.lines,
    )
