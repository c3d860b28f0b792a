"""What a Go template is made of."""

from lessee.core.immutable import Record


class Dot(Record, frozen=True):
    """The dot alone."""


class Constant(Record, frozen=True):
    """A string, number, boolean or nil that is written out."""

    value: str | int | float | bool | None


class Field(Record, frozen=True):
    """`.Data.data`: of the dot."""

    names: tuple[str, ...]


class Variable(Record, frozen=True):
    """`$name.Data`; `$` alone has the name ""."""

    name: str
    names: tuple[str, ...] = ()


class Function(Record, frozen=True):
    """The name of a function, which is called by standing first."""

    name: str


class Chain(Record, frozen=True):
    """`(…).Data`: of what a pipe gives."""

    of: "Operand"
    names: tuple[str, ...]


class Pipe(Record, frozen=True):
    """Commands, each of which gets what the one before gives; `names` are set to the last one's result."""

    commands: tuple[tuple["Operand", ...], ...]
    names: tuple[str, ...] = ()
    assigns: bool = False
    """Whether it sets variables that there are (`=`), else it makes them (`:=`)."""


Operand = Dot | Constant | Field | Variable | Function | Chain | Pipe


class Literal(Record, frozen=True):
    """Text. `before` and `after` is the white space that `-}}` and `{{-` have cut off it."""

    text: str
    before: str
    after: str


class Head(Record, frozen=True):
    """The action that a node begins with, as it is written."""

    source: str
    line: int


class Comment(Record, frozen=True):
    """`{{/* … */}}`, and a definition where it stands: nothing is written there."""


class Output(Record, frozen=True):
    """`{{ pipe }}` writes what it gives."""

    head: Head
    pipe: Pipe


class If(Record, frozen=True):
    """`{{ if }}`, with what stands behind `{{ else }}`."""

    head: Head
    pipe: Pipe
    then: "Body"
    otherwise: "Body | None"


class With(Record, frozen=True):
    """`{{ with }}` makes what its pipe gives the dot, if it is anything."""

    head: Head
    pipe: Pipe
    then: "Body"
    otherwise: "Body | None"


class Range(Record, frozen=True):
    """`{{ range }}` does so for each of several."""

    head: Head
    pipe: Pipe
    then: "Body"
    otherwise: "Body | None"


class Call(Record, frozen=True):
    """`{{ template "name" pipe }}` takes in a template that is defined, with what the pipe gives as its dot."""

    head: Head
    name: str
    pipe: Pipe | None


class Jump(Record, frozen=True):
    """`{{ break }}` or `{{ continue }}`, in a range."""

    head: Head


Node = Literal | Comment | Output | If | With | Range | Call | Jump
Body = tuple[Node, ...]


class Template(Record, frozen=True):
    """A whole template, with the templates that it defines."""

    body: Body
    defined: dict[str, Body]
