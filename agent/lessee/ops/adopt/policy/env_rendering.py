"""Renders an imported env file as the agent will, and verifies that its readers get what they got before."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from lessee.config import Config
from lessee.core.errors import FormatError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.core.secrets import Secret
from lessee.ops.adopt.policy.env_plan import EnvPlan
from lessee.ops.adopt.policy.env_readers import Reader, line_of
from lessee.ops.adopt.policy.model import StoredField
from lessee.rendering.app_templates import compile_apps, path_scope_of
from lessee.rendering.formats.literals import Literal, literals, readings
from lessee.rendering.render import Inputs, render
from lessee.rendering.templates import Compiler


class Rendered(ImmutableStruct, frozen=True):
    """The verified file. `other_quotes`: the lines of the user's file whose value has other quotes now."""

    hidden = ("text",)

    format: str
    text: str
    other_quotes: tuple[int, ...]
    is_equal: bool
    """Whether its bytes are those of the user's file."""


def rendered_file(config: Config, template: str, fields: Sequence[StoredField]) -> str:
    """The file that the agent renders for the only app of the configuration. Raises TemplateError or FormatError."""
    compiler = Compiler(lambda _name: template, path_scope_of(config))
    [compiled] = compile_apps(config, compiler).values()
    data: dict[str, dict[str, object]] = {}
    for one in fields:
        data.setdefault(path_scope_of(config).secret(one.path).path, {})[one.field] = one.value
    secrets = {ref: Secret(data[getattr(ref, "path", "")]) for ref in compiled.references}
    [file] = render(compiled, Inputs(secrets, {}, {}, {})).generation.files  # type: ignore[arg-type]  # It reads no other needs.
    return file.content.decode()


def verified(original: str, plan: EnvPlan, reader: Reader, source: str, configs: Mapping[str, Config]) -> Rendered:
    """The file in the first format that all readers read as the original; the one most like it.

    `configs`: by format. Raises FormatError with the line and the reason, if no format can do that.
    """
    problems: list[LesseeError] = []
    found: list[Rendered] = []
    for format, config in configs.items():  # noqa: A001  # The configuration's word.
        try:
            text = rendered_file(config, plan.template, plan.stored)
            for one in reader.formats:
                _compare(plan.expected, text, one, source)
        except LesseeError as exc:
            problems.append(_at_line(exc, plan, source))
            continue
        found.append(Rendered(format, text, _other_quotes(plan.expected, text, format), text == original))
    if not found:
        raise problems[0]
    return max(found, key=lambda one: (one.is_equal, -len(one.other_quotes)))


def _compare(expected: str, text: str, format: str, source: str) -> None:  # noqa: A002  # As above.
    mine, theirs = literals(expected, format), literals(text, format)
    for before, after in zip(readings(expected, format), readings(text, format), strict=True):
        for one, other in zip_longest(before, after):
            if one != other:
                name = (one or other)[0]
                line = next((line_of(expected, literal.at) for literal in mine if literal.name == name), 1)
                what = f"a rendered file would give its reader another value of {name}"
                raise FormatError(what, where=f"{source}:{line}", todo=_TODO)
    if _rest(expected, mine) != _rest(text, theirs):
        raise FormatError("a rendered file would differ outside of values", where=source, todo="please report this")


_TODO = "write the value in simpler quotes, pass --reader for one program alone, or keep the line with --exclude NAME"


def _rest(text: str, found: Sequence[Literal]) -> list[str]:
    """What is around the literals, with line ends of one kind. Some formats add a final newline."""
    ends = [0, *(literal.end for literal in found)]
    begins = [*(literal.begin for literal in found), len(text)]
    around = (text[end:begin] for end, begin in zip(ends, begins, strict=True))
    *rest, last = (one.replace("\r\n", "\n").replace("\r", "\n") for one in around)
    return [*rest, last.removesuffix("\n")]


def _other_quotes(expected: str, text: str, format: str) -> tuple[int, ...]:  # noqa: A002  # As above.
    pairs = zip(literals(expected, format), literals(text, format), strict=True)
    return tuple(line_of(expected, a.at) for a, b in pairs if expected[a.begin : a.end] != text[b.begin : b.end])


def _at_line(exc: LesseeError, plan: EnvPlan, source: str) -> LesseeError:
    """The error, with the line of the user's file in place of the template's."""
    for variable in plan.variables:
        if any(
            exc.what.startswith(f"{path}: {field} ") or f"{path}: {field} " in exc.what
            for path, field in _pairs(variable.fields)
        ):
            return FormatError(f"{variable.name}: {exc.what}", where=f"{source}:{variable.line}", todo=exc.todo)
    return exc


def _pairs(fields: Sequence[str]) -> list[tuple[str, str]]:
    return [(one.rpartition("#")[0], one.rpartition("#")[2]) for one in fields]
