"""The nodes of the syntax tree of a Go template."""

from lessee.core.immutable import ImmutableStruct


class Dot(ImmutableStruct, frozen=True):
    """`.` alone."""


class Constant(ImmutableStruct, frozen=True):
    """A literal string, number, boolean or nil."""

    value: str | int | float | bool | None


class Field(ImmutableStruct, frozen=True):
    """`.Data.data`: fields of the dot."""

    names: tuple[str, ...]


class Variable(ImmutableStruct, frozen=True):
    """`$name.Data`; the name of `$` is empty."""

    name: str
    names: tuple[str, ...] = ()


class Function(ImmutableStruct, frozen=True):
    """The name of a function; as the first operand of a command, it is called."""

    name: str


class Chain(ImmutableStruct, frozen=True):
    """`(…).Data`: fields of the result of a pipeline."""

    operand: "Operand"
    names: tuple[str, ...]


class Pipe(ImmutableStruct, frozen=True):
    """Commands, each with the previous result as its last argument. The last result is stored in `names`."""

    commands: tuple[tuple["Operand", ...], ...]
    names: tuple[str, ...] = ()
    assigns: bool = False
    """Whether it sets existing variables (`=`) instead of declaring them (`:=`)."""


Operand = Dot | Constant | Field | Variable | Function | Chain | Pipe


class Literal(ImmutableStruct, frozen=True):
    """Text. `before` and `after`: the white space that `-}}` and `{{-` removed from it."""

    text: str
    before: str
    after: str


class Origin(ImmutableStruct, frozen=True):
    """The source text of a node's action, and its line."""

    source: str
    line: int


class Comment(ImmutableStruct, frozen=True):
    """`{{/* … */}}`, or a `{{ define }}`: an action without output."""


class Output(ImmutableStruct, frozen=True):
    """`{{ pipeline }}` writes the result."""

    origin: Origin
    pipe: Pipe


class If(ImmutableStruct, frozen=True):
    """`{{ if pipeline }} … {{ else }} … {{ end }}`."""

    origin: Origin
    pipe: Pipe
    body: "Body"
    else_body: "Body | None"


class With(ImmutableStruct, frozen=True):
    """`{{ with pipeline }}`: an `if` whose dot is the result."""

    origin: Origin
    pipe: Pipe
    body: "Body"
    else_body: "Body | None"


class Range(ImmutableStruct, frozen=True):
    """`{{ range pipeline }}`: a loop whose dot is each item."""

    origin: Origin
    pipe: Pipe
    body: "Body"
    else_body: "Body | None"


class TemplateCall(ImmutableStruct, frozen=True):
    """`{{ template "name" pipeline }}` includes a defined template, with the result as its dot."""

    origin: Origin
    name: str
    pipe: Pipe | None


class LoopControl(ImmutableStruct, frozen=True):
    """`{{ break }}` or `{{ continue }}`."""

    origin: Origin


Node = Literal | Comment | Output | If | With | Range | TemplateCall | LoopControl
Body = tuple[Node, ...]


class Template(ImmutableStruct, frozen=True):
    """A template and the templates that it defines."""

    body: Body
    definitions: dict[str, Body]
