"""The templates of adopted services: they render the same bytes that Compose handed over."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lessee.config.grammar.app import Format
from lessee.core.immutable import ImmutableStruct
from lessee.ops.adopt.policy import launcher
from lessee.ops.adopt.policy.model import AppPlan, Delivery, Part, Plan, Rendered, Service
from lessee.ops.adopt.policy.use_names import ServiceField, index_of, key_of

HEALTHCHECK = "healthcheck.sh"
_JINJA = re.compile(r"\{(?=[{%#\r\n]|\Z)|\r|\n\Z")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What templates can call on a mapping, which would hide a field of this name.
_METHODS = frozenset({"get", "items", "keys", "values"})


class TemplateFile(ImmutableStruct, frozen=True):
    """A template of an app, and the format and the name of the file that it renders."""

    template: str
    """Its name below `templates/`."""
    name: str
    format: Format
    text: str


def templates(plan: Plan) -> dict[str, str]:
    """The texts of all templates by their names, such as `db/POSTGRES_PASSWORD.j2`."""
    return {file.template: file.text for app in plan.apps for file in files(app, plan.project.services[app.service])}


def files(app: AppPlan, service: Service) -> tuple[TemplateFile, ...]:
    """The files of an app."""
    return tuple(
        TemplateFile(template=f"{app.service}/{name}.j2", name=name, format=format_, text=text)
        for name, format_, text in _files(app, service)
    )


def healthcheck(service: Service) -> tuple[str, ...]:
    """The test of its health check, of the project or of the image; empty: it has none."""
    test = service.healthcheck or service.image.healthcheck
    return () if test[:1] == ("NONE",) else test


def _files(app: AppPlan, service: Service) -> Iterator[tuple[str, Format, str]]:
    by_name = {rendered.name: rendered for rendered in app.rendered}
    for name, rendered in by_name.items():
        if rendered.kind is ServiceField.SECRET:
            yield key_of(name), "text", _plain(rendered.parts)
    variables = [rendered for rendered in app.rendered if rendered.kind is ServiceField.VARIABLE]
    if app.delivery is Delivery.VARIABLE_FILE:
        for rendered in variables:
            yield rendered.name, "text", _plain(rendered.parts)
    words = [one for one in app.rendered if one.kind is ServiceField.WORD and not one.name.startswith("healthcheck.")]
    if (app.delivery is Delivery.LAUNCHER and (variables or words)) or _needs_variables(app, service):
        yield launcher.ENVIRONMENT, "sh", _environment(app.service, variables, words)
    tests = {
        index[1]: by_name[name] for name in by_name if (index := index_of(name)) and index[0] == "healthcheck.test"
    }
    if tests:
        yield HEALTHCHECK, "sh", _healthcheck(tests, healthcheck(service))


def _needs_variables(app: AppPlan, service: Service) -> bool:
    """Whether a health check of a service without a launcher names a variable that the service no longer has."""
    words = " ".join(healthcheck(service))
    names = {rendered.name for rendered in app.rendered}
    return any(name in names for name in re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", words))


def _environment(service: str, variables: Iterable[Rendered], words: Sequence[Rendered]) -> str:
    lines = [f"# The secrets of {service}, which its launcher and its health check read."]
    lines += [f"export {rendered.name}={_quoted(rendered.parts)}" for rendered in variables]
    if words:
        cases = "".join(
            f"    '{launcher.placeholder(item.name)}') lessee_word={_quoted(item.parts)} ;;\n" for item in words
        )
        lines.append(_WORDS.replace("CASES\n", cases))
    return "".join(f"{line}\n" for line in lines)


_WORDS = """\
for lessee_word do
  shift
  case $lessee_word in
CASES
  esac
  set -- "$@" "$lessee_word"
done
unset lessee_word"""


def _healthcheck(tests: Mapping[int, Rendered], test: tuple[str, ...]) -> str:
    if test[:1] == ("CMD-SHELL",):
        return f"{_plain(tests[1].parts)}\n"
    words = (_quoted(tests[at].parts if at in tests else (Part(text=word),)) for at, word in enumerate(test) if at)
    return f"exec {' '.join(words)}\n"


def _quoted(parts: Iterable[Part]) -> str:
    """One word of a shell, in single quotes."""
    return "'" + "".join(_value(part) if part.path else _text(part.text.replace("'", "'\\''")) for part in parts) + "'"


def _plain(parts: Iterable[Part]) -> str:
    """The parts alone: an image that reads a file may take a newline at its end for a part of the value."""
    return "".join(_value(part) if part.path else _text(part.text) for part in parts)


def _text(text: str) -> str:
    """The project's own text, without what Jinja reads as its own, and without the line ends that it replaces."""
    return _JINJA.sub(lambda found: "{{ " + _literal(found[0]) + " }}", text)


def _value(part: Part) -> str:
    is_word = _FIELD.fullmatch(part.field) and part.field not in _METHODS
    field = f".{part.field}" if is_word else f"[{_literal(part.field)}]"
    return "{{ secret(" + _literal(part.path) + ")" + field + (" | urlencode" if part.is_url_part else "") + " }}"


def _literal(text: str) -> str:
    """A string of Jinja, which reads escapes as Python does."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isascii() and char.isprintable() else _escaped(char) for char in escaped) + '"'


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
