"""From a Go template to one of Jinja that writes the same."""

from collections.abc import Iterator, Mapping, Sequence

from lessee.core.immutable import Record
from lessee.core.source_text import Text as Source
from lessee.ops.migrate.policy.findings import MARK, Report
from lessee.ops.migrate.policy.golang import nodes as go
from lessee.ops.migrate.policy.jinja.evaluate import Evaluator, Scope
from lessee.ops.migrate.policy.jinja.expressions import ANY, PRIMARY, Expr, Joined, LostError
from lessee.ops.migrate.policy.jinja.fragments import Gap, Piece, Tag, Text, comment, write
from lessee.ops.migrate.policy.jinja.functions import ZERO
from lessee.ops.migrate.policy.jinja.identifiers import Naming
from lessee.ops.migrate.policy.jinja.layout import Layout, Survey
from lessee.ops.migrate.policy.jinja.loops import loop
from lessee.ops.migrate.policy.jinja.printer import printed
from lessee.ops.migrate.policy.jinja.values import Answer, Certificate, Data, Name, Value, as_part, condition, whole


class Written(Record, frozen=True):
    """A file that a template writes besides its own, with writeToFile. An empty user or group is the agent's own."""

    destination: str
    user: str
    group: str
    mode: str
    pieces: tuple[Piece, ...]
    line: int

    @property
    def text(self) -> str:
        """Its own template."""
        return write(self.pieces)


class Translation(Record, frozen=True):
    """A template of Jinja, and the files that the one of Go writes besides."""

    pieces: tuple[Piece, ...]
    besides: tuple[Written, ...]

    @property
    def text(self) -> str:
        """The template."""
        return write(self.pieces)


def translate(template: go.Template, source: Source, layout: Layout | Survey, report: Report) -> Translation:
    """What cannot be carried over is told to `report`, and stands as a comment in its place."""
    translator = _Translator(template, source, layout, report)
    translator.body(template.body, Scope())
    return Translation(tuple(translator.pieces), tuple(translator.besides.values()))


_DEEPEST = 20
_ARGUMENTS = (4, 5)
"""Of writeToFile: path, user, group, mode, and flags if need be."""
_MOST = 50_000


class _Translator:
    def __init__(self, template: go.Template, source: Source, layout: Layout | Survey, report: Report) -> None:
        self.pieces: list[Piece] = []
        self.besides: dict[str, Written] = {}
        self._defined = template.defined
        self._source = source
        self._report = report
        self._evaluator = Evaluator(layout, self._remark)
        self._naming = Naming(_assigned(template))
        self._calls = 0
        self._branches = 0
        self._line = 1

    def body(self, nodes: go.Body, scope: Scope) -> None:
        for node in nodes:
            match node:
                case go.Literal():
                    self.pieces.append(Text(node.text, node.before, node.after))
                case go.Comment():
                    self.pieces.append(Gap())
                case _:
                    self._line = node.head.line
                    try:
                        self._action(node, scope)
                    except LostError as lost:
                        self._lose(lost, node.head)

    def _action(self, node: go.Output | go.If | go.With | go.Range | go.Call | go.Jump, scope: Scope) -> None:
        if len(self.pieces) > _MOST:
            raise LostError("the templates that it takes in make it too long", "write it shorter")
        match node:
            case go.Output(pipe=go.Pipe(commands=[*before, [go.Function("writeToFile"), *words]])):
                self._write_to_file(before, words, scope)
            case go.Output():
                value = self._evaluator.pipe(node.pipe, scope)
                if node.pipe.names:
                    self._set(node.pipe, value, scope)
                else:
                    self.pieces += _written(value)
            case go.If():
                self._if(node, scope, "if")
            case go.With():
                self._with(node, scope)
            case go.Range():
                self._range(node, scope)
            case go.Call():
                self._call(node, scope)
            case _:
                raise LostError("Jinja has no break and no continue", "write an if around what is left out")

    def _set(self, pipe: go.Pipe, value: Value, scope: Scope) -> None:
        name = pipe.names[0]
        if not pipe.assigns:
            scope.variables[name] = self._bound(name, value)
            return
        target = scope.variables.get(name)
        if not isinstance(target, Expr):
            raise LostError(f"${name} is set, and what it was is not carried over", "write that part another way")
        self.pieces.append(Tag(f"set {target.text} = {whole(value).text}"))

    def _bound(self, name: str, value: Value) -> Value:
        """The value under a name; what is short stands for itself wherever the name does."""
        if name not in self._naming.assigned and self._naming.is_plain(value):
            self.pieces.append(Gap())
            return value
        expr = whole(value).condition
        known, definition, text = self._naming.define(name, expr)
        self.pieces.append(Tag(f"set {known} = {definition}"))
        return Expr(text, PRIMARY, expr.kind)

    def _if(self, node: go.If, scope: Scope, word: str) -> None:
        inner = scope.inner(scope.dot)
        try:
            value = self._evaluator.pipe(node.pipe, scope)
            for name in node.pipe.names:
                inner.variables[name] = self._bound(name, value)
            test = self._condition(value)
        except LostError as lost:
            self._lose(lost, node.head)
            test = "false"
        self.pieces.append(Tag(f"{word} {test}"))
        self._branch(node.then, inner)
        match node.otherwise:
            case [go.If(pipe=go.Pipe(names=())) as chained]:
                self._line = chained.head.line
                self._if(chained, scope, "elif")
            case body:
                self._else(body, scope)
                self.pieces.append(Tag("endif"))

    def _condition(self, value: Value) -> str:
        test = condition(value)
        if test.kind == ANY:
            self._remark(ZERO)
        return f"{test:o}"

    def _branch(self, body: go.Body, scope: Scope) -> None:
        self._branches += 1
        self.body(body, scope)
        self._branches -= 1

    def _else(self, body: go.Body | None, scope: Scope) -> None:
        if body is not None:
            self.pieces.append(Tag("else"))
            self._branch(body, scope.inner(scope.dot))

    def _with(self, node: go.With, scope: Scope) -> None:
        value = self._evaluator.pipe(node.pipe, scope)
        if isinstance(value, Answer | Certificate | Data | Name) or _is_secret(value, node):
            self.pieces.append(Gap())
            inner = scope.inner(value)
            inner.variables |= dict.fromkeys(node.pipe.names, value)
            self.body(node.then, inner)
            self.pieces.append(Gap())
            if node.otherwise is not None:
                self._remark("the else of a `with secret` is left out: lessee writes no file before it has the secret")
            return
        value = self._bound(next(iter(node.pipe.names), "value"), value)
        inner = scope.inner(value)
        inner.variables |= dict.fromkeys(node.pipe.names, value)
        self.pieces.append(Tag(f"if {self._condition(value)}"))
        self._branch(node.then, inner)
        self._else(node.otherwise, scope)
        self.pieces.append(Tag("endif"))

    def _range(self, node: go.Range, scope: Scope) -> None:
        taken = self._naming.mark()
        found = loop(self._evaluator.pipe(node.pipe, scope), node.pipe, self._naming)
        inner = scope.inner(found.item)
        inner.variables |= found.variables
        if found.remark:
            self._remark(found.remark)
        self.pieces += [Tag(f"for {found.head}"), *(Tag(text) for text in found.sets)]
        outside = self._evaluator.entries
        self._evaluator.entries = _entries(outside, found.item)
        self._branch(node.then, inner)
        self._evaluator.entries = outside
        self._naming.release(taken)
        self._else(node.otherwise, scope)
        self.pieces.append(Tag("endfor"))

    def _call(self, node: go.Call, scope: Scope) -> None:
        body = self._defined.get(node.name)
        if body is None:
            raise LostError(f"there is no template {node.name!r}", "define it in the same file")
        if self._calls == _DEEPEST:
            raise LostError(f"the template {node.name!r} takes in itself", "write that part another way")
        dot = self._evaluator.pipe(node.pipe, scope) if node.pipe is not None else None
        self._calls += 1
        self.pieces.append(Gap())
        self.body(body, Scope(dot, {"": dot} if dot is not None else {}))
        self.pieces.append(Gap())
        self._calls -= 1

    def _write_to_file(self, before: Sequence[Sequence[go.Operand]], words: Sequence[go.Operand], scope: Scope) -> None:
        """A file of its own; in the template's own file nothing is written there."""
        pipes = [go.Pipe(((word,),)) for word in words]
        pipes += [go.Pipe(tuple(map(tuple, before)))] if before else []
        *arguments, content = [self._evaluator.pipe(pipe, scope) for pipe in pipes]
        said = [one.value for one in arguments if isinstance(one, go.Constant) and isinstance(one.value, str)]
        if len(said) < len(arguments) or len(said) not in _ARGUMENTS:
            raise LostError("writeToFile with computed arguments is not carried over", "write them out")
        if self._branches:
            raise LostError(
                "writeToFile in an if or a range is not carried over", "give the file a template of its own"
            )
        path, user, group, mode, flags = (*said, "")[:5]
        if not path or not path.isprintable():
            raise LostError("writeToFile names no file", "write its path")
        pieces = [*_written(content), *([Text("\n")] if "newline" in flags else [])]
        if "append" in flags and path in self.besides:
            pieces = [*self.besides[path].pieces, *pieces]
        self.besides[path] = Written(path, user, group, mode, tuple(pieces), self._line)
        self.pieces.append(Gap())

    def _remark(self, what: str) -> None:
        self._report.remark(self._source.where(self._line), what)

    def _lose(self, lost: LostError, head: go.Head) -> None:
        """Tells it, and marks the place with what stood there."""
        self._report.lose(self._source.where(head.line), lost.what, lost.todo)
        todo = f"; {lost.todo}" if lost.todo else ""
        self.pieces.append(comment(f"{MARK}: {head.source}: {lost.what}{todo}"))


def _written(value: Value) -> list[Piece]:
    text = printed(as_part(value))
    parts = text.parts if isinstance(text, Joined) else (text,)
    pieces: list[Piece] = [Tag(part.text, "{") if isinstance(part, Expr) else Text(str(part.value)) for part in parts]
    return pieces if len(pieces) == 1 and isinstance(pieces[0], Tag) else [Gap(), *pieces, Gap()]


def _entries(outside: Mapping[str, Name], item: Value) -> Mapping[str, Name]:
    return {**outside, item.name.text: item} if isinstance(item, Name) else outside


def _is_secret(value: Value, node: go.With) -> bool:
    """Whether it is a whole secret, which has fields, so that a `with` of it is for its dot's sake."""
    return isinstance(value, Expr) and value.kind == "map" and node.otherwise is None


def _assigned(template: go.Template) -> frozenset[str]:
    return frozenset(
        name
        for body in (template.body, *template.defined.values())
        for pipe in _pipes(body)
        if pipe.assigns
        for name in pipe.names
    )


def _pipes(body: go.Body) -> Iterator[go.Pipe]:
    for node in body:
        match node:
            case go.Output():
                yield node.pipe
            case go.If() | go.With() | go.Range():
                yield node.pipe
                yield from _pipes(node.then)
                yield from _pipes(node.otherwise or ())
            case _:
                pass
