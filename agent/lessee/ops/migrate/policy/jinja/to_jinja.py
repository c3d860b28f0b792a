"""Translates a Go template to a Jinja template with the same output."""

import re
from collections.abc import Iterator, Mapping, Sequence

from lessee.core.immutable import ImmutableStruct
from lessee.core.source_text import Text as Source
from lessee.ops.migrate.policy.findings import Report
from lessee.ops.migrate.policy.golang import nodes as go
from lessee.ops.migrate.policy.jinja.evaluate import Evaluator, Scope
from lessee.ops.migrate.policy.jinja.expressions import ANY, PRIMARY, Expr, Joined, UnsupportedError
from lessee.ops.migrate.policy.jinja.fragments import Fragment, Gap, Tag, Text, assemble, unfinished, with_macro
from lessee.ops.migrate.policy.jinja.functions import ZERO_IS_FALSE
from lessee.ops.migrate.policy.jinja.identifiers import Identifiers
from lessee.ops.migrate.policy.jinja.layout import Layout, PathCollector
from lessee.ops.migrate.policy.jinja.loops import translate_loop
from lessee.ops.migrate.policy.jinja.printer import as_output
from lessee.ops.migrate.policy.jinja.queries import CALL
from lessee.ops.migrate.policy.jinja.scratch import SETTERS
from lessee.ops.migrate.policy.jinja.values import (
    Certificate,
    Data,
    Response,
    SecretName,
    Value,
    as_part,
    condition,
    to_expr,
)


class ExtraFile(ImmutableStruct, frozen=True):
    """A file that the template writes with writeToFile. An empty user or group is that of the agent."""

    destination: str
    user: str
    group: str
    mode: str
    fragments: tuple[Fragment, ...]
    line: int

    @property
    def text(self) -> str:
        """Its Jinja template."""
        return assemble(self.fragments)


class Translation(ImmutableStruct, frozen=True):
    """The Jinja template, and the files that the Go template writes with writeToFile."""

    fragments: tuple[Fragment, ...]
    extra_files: tuple[ExtraFile, ...]

    @property
    def text(self) -> str:
        """The Jinja template."""
        return assemble(self.fragments)


def translate(template: go.Template, source: Source, layout: Layout | PathCollector, report: Report) -> Translation:
    """Translate a template. Unsupported parts are added to the report, and become comments in their place."""
    translator = _Translator(template, source, layout, report)
    evaluator = translator.evaluator
    translator.body(template.body, Scope())
    translator.read_what_nothing_uses()
    translator.fragments[:0] = evaluator.scratch.definition
    return Translation(tuple(with_macro(translator.fragments)), tuple(translator.extra_files.values()))


_MAX_DEPTH = 20
_ARGUMENT_COUNTS = (4, 5)
"""The arguments of writeToFile: path, user, group, mode, and optional flags."""
_MAX_FRAGMENTS = 50_000
_REWRITE = "rewrite this part"


class _Translator:
    def __init__(self, template: go.Template, source: Source, layout: Layout | PathCollector, report: Report) -> None:
        self.fragments: list[Fragment] = []
        self.extra_files: dict[str, ExtraFile] = {}
        self._definitions = template.definitions
        self._source = source
        self._report = report
        self.evaluator = Evaluator(layout, self._add_note)
        self._identifiers = Identifiers(_assigned_variables(template))
        self._depth = 0
        self._has_losses = False
        self._branches = 0
        self._line = 1

    def read_what_nothing_uses(self) -> None:
        """Read each secret that the other agent waits for, even if no part of it is written."""
        if not self._has_losses:
            read = self._calls_since(0)
            unread = [test for test, call in self.evaluator.calls.items() if call not in read]
            self.fragments[:0] = [Tag(text) for test in unread for text in (f"if {test}", "endif")]

    def _calls_since(self, start: int) -> set[str]:
        """The calls that read a secret in the fragments from `start` on, and in extra files."""
        written = [*self.fragments[start:], *(one for file in self.extra_files.values() for one in file.fragments)]
        tags = (fragment.text for fragment in written if isinstance(fragment, Tag))
        return {call for text in tags for call in CALL.findall(text)}

    def body(self, nodes: go.Body, scope: Scope) -> None:
        for node in nodes:
            match node:
                case go.Literal():
                    self.fragments.append(Text(node.text, node.before, node.after))
                case go.Comment():
                    self.fragments.append(Gap())
                case _:
                    self._line = node.origin.line
                    try:
                        self._action(node, scope)
                    except UnsupportedError as error:
                        self._add_loss(error, node.origin)

    def _action(
        self, node: go.Output | go.If | go.With | go.Range | go.TemplateCall | go.LoopControl, scope: Scope
    ) -> None:
        if len(self.fragments) > _MAX_FRAGMENTS:
            raise UnsupportedError("the template is too long with the templates that it includes", "shorten it")
        match node:
            case go.Output(pipe=go.Pipe(commands=[*before, [go.Function("writeToFile"), *arguments]])):
                self._write_to_file(before, arguments, scope)
            case go.Output(
                pipe=go.Pipe(commands=[*before, [go.Chain(go.Function("scratch"), [method]), *arguments]], names=())
            ) if method in SETTERS:
                values = [self.evaluator.pipe(pipe, scope) for pipe in _arguments(before, arguments)]
                self.fragments += self.evaluator.scratch.store(method, values)
            case go.Output(
                pipe=go.Pipe(
                    commands=[*before, [go.Function("executeTemplate"), go.Constant(str(name)), *dot]], names=()
                )
            ):
                pipes = _arguments(before, dot)
                self._call(go.TemplateCall(node.origin, name, pipes[-1] if pipes else None), scope)
            case go.Output():
                value = self.evaluator.pipe(node.pipe, scope)
                if node.pipe.names:
                    self._set(node.pipe, value, scope)
                else:
                    self.fragments += _output(value)
            case go.If():
                self._if(node, scope, "if")
            case go.With():
                self._with(node, scope)
            case go.Range():
                self._range(node, scope)
            case go.TemplateCall():
                self._call(node, scope)
            case _:
                raise UnsupportedError("Jinja has no break and no continue", "write an if around the rest of the loop")

    def _set(self, pipe: go.Pipe, value: Value, scope: Scope) -> None:
        name = pipe.names[0]
        if not pipe.assigns:
            scope.variables[name] = self._declare(name, value)
            return
        target = scope.variables.get(name)
        if not isinstance(target, Expr):
            raise UnsupportedError(f"the declaration of ${name} was not carried over", _REWRITE)
        self.fragments.append(Tag(f"set {target.text} = {to_expr(value).text}"))

    def _declare(self, name: str, value: Value) -> Value:
        """Declare a variable; returns the value that represents it. A short value is inlined."""
        if name not in self._identifiers.assigned and self._identifiers.can_inline(value):
            self.fragments.append(Gap())
            return value
        expr = to_expr(value).condition
        variable, definition, text = self._identifiers.define(name, expr)
        self.fragments.append(Tag(f"set {variable} = {definition}"))
        return Expr(text, PRIMARY, expr.kind)

    def _if(self, node: go.If, scope: Scope, keyword: str) -> None:
        inner = scope.inner(scope.dot)
        try:
            value = self.evaluator.pipe(node.pipe, scope)
            for name in node.pipe.names:
                inner.variables[name] = self._declare(name, value)
            test = self._condition(value)
        except UnsupportedError as error:
            self._add_loss(error, node.origin)
            test = "false"
        self.fragments.append(Tag(f"{keyword} {test}"))
        self._branch(node.body, inner)
        match node.else_body:
            case [go.If(pipe=go.Pipe(names=())) as chained]:
                self._line = chained.origin.line
                self._if(chained, scope, "elif")
            case body:
                self._else(body, scope)
                self.fragments.append(Tag("endif"))

    def _condition(self, value: Value) -> str:
        test = condition(value)
        if test.kind == ANY:
            self._add_note(ZERO_IS_FALSE)
        return f"{test:o}"

    def _branch(self, body: go.Body, scope: Scope) -> None:
        self._branches += 1
        self.body(body, scope)
        self._branches -= 1

    def _else(self, body: go.Body | None, scope: Scope) -> None:
        if body is not None:
            self.fragments.append(Tag("else"))
            self._branch(body, scope.inner(scope.dot))

    def _with(self, node: go.With, scope: Scope) -> None:
        value = self.evaluator.pipe(node.pipe, scope)
        if isinstance(value, Response | Certificate | Data | SecretName) or _is_whole_secret(value, node):
            start = len(self.fragments)
            self.fragments.append(Gap())
            inner = scope.inner(value)
            inner.variables |= dict.fromkeys(node.pipe.names, value)
            self.body(node.body, inner)
            self.fragments.append(Gap())
            if isinstance(value, Response | Certificate):
                test = condition(value).text
                call = self.evaluator.calls.get(test)
                if call is not None and call not in self._calls_since(start):
                    self.fragments[start], self.fragments[-1] = Tag(f"if {test}"), Tag("endif")
            if node.else_body is not None:
                self._add_note("the else of a `with secret` is omitted: lessee writes no file without the secret")
            return
        value = self._declare(next(iter(node.pipe.names), "value"), value)
        inner = scope.inner(value)
        inner.variables |= dict.fromkeys(node.pipe.names, value)
        self.fragments.append(Tag(f"if {self._condition(value)}"))
        self._branch(node.body, inner)
        self._else(node.else_body, scope)
        self.fragments.append(Tag("endif"))

    def _range(self, node: go.Range, scope: Scope) -> None:
        checkpoint = self._identifiers.checkpoint()
        loop = translate_loop(self.evaluator.pipe(node.pipe, scope), node.pipe, self._identifiers)
        inner = scope.inner(loop.item)
        inner.variables |= loop.variables
        if loop.note:
            self._add_note(loop.note)
        self.fragments += [Tag(f"for {loop.head}"), *(Tag(text) for text in loop.assignments)]
        outer = self.evaluator.folder_loops
        self.evaluator.folder_loops = _with_loop(outer, loop.item)
        self._branch(node.body, inner)
        self.evaluator.folder_loops = outer
        self._identifiers.release(checkpoint)
        self._else(node.else_body, scope)
        self.fragments.append(Tag("endfor"))

    def _call(self, node: go.TemplateCall, scope: Scope) -> None:
        body = self._definitions.get(node.name)
        if body is None:
            raise UnsupportedError(f"the template {node.name!r} is not defined", "define it in the same file")
        if self._depth == _MAX_DEPTH:
            raise UnsupportedError(f"the template {node.name!r} includes itself", _REWRITE)
        dot = self.evaluator.pipe(node.pipe, scope) if node.pipe is not None else None
        self._depth += 1
        self.fragments.append(Gap())
        self.body(body, Scope(dot, {"": dot} if dot is not None else {}))
        self.fragments.append(Gap())
        self._depth -= 1

    def _write_to_file(
        self, before: Sequence[Sequence[go.Operand]], operands: Sequence[go.Operand], scope: Scope
    ) -> None:
        """Translate writeToFile to a separate template; the current template has no output for it."""
        *arguments, content = [self.evaluator.pipe(pipe, scope) for pipe in _arguments(before, operands)]
        texts = [
            argument.value
            for argument in arguments
            if isinstance(argument, go.Constant) and isinstance(argument.value, str)
        ]
        if len(texts) < len(arguments) or len(texts) not in _ARGUMENT_COUNTS:
            raise UnsupportedError("writeToFile has computed or missing arguments", "write the arguments as literals")
        if self._branches:
            raise UnsupportedError("writeToFile is in an if or a range", "give the file its own template")
        path, user, group, mode, flags = (*texts, "")[:5]
        if not path or not path.isprintable():
            raise UnsupportedError("writeToFile has an invalid path", "write the path of the file")
        fragments = [*_output(content), *([Text("\n")] if "newline" in flags else [])]
        if "append" in flags and path in self.extra_files:
            fragments = [*self.extra_files[path].fragments, *fragments]
        elif self._use_variables(fragments):
            # Every statement up to here, without its output.
            statements = [one for one in self.fragments if isinstance(one, Tag) and one.kind == "%"]
            fragments = [*self.evaluator.scratch.definition, *statements, *fragments]
        self.extra_files[path] = ExtraFile(path, user, group, mode, tuple(with_macro(fragments)), self._line)
        self.fragments.append(Gap())

    def _use_variables(self, fragments: Sequence[Fragment]) -> bool:
        known = re.compile(rf"\b(?:{'|'.join(self._identifiers.names)})\b")
        return any(isinstance(fragment, Tag) and known.search(fragment.text) for fragment in fragments)

    def _add_note(self, what: str) -> None:
        self._report.add_note(self._source.where(self._line), what)

    def _add_loss(self, error: UnsupportedError, origin: go.Origin) -> None:
        """Report an unsupported part, and put a call in its place that rejects the file, and that contains it."""
        self._has_losses = True
        self._report.add_loss(self._source.where(origin.line), error.what, error.todo)
        self.fragments.append(unfinished(f"{origin.source}: {error.what}", error.todo))


def _arguments(before: Sequence[Sequence[go.Operand]], operands: Sequence[go.Operand]) -> list[go.Pipe]:
    """The operands of the last command of a pipeline, and the result of the commands before it."""
    pipes = [go.Pipe(((operand,),)) for operand in operands]
    return [*pipes, go.Pipe(tuple(map(tuple, before)))] if before else pipes


def _output(value: Value) -> list[Fragment]:
    text = as_output(as_part(value))
    parts = text.parts if isinstance(text, Joined) else (text,)
    fragments: list[Fragment] = [
        Tag(part.text, "{") if isinstance(part, Expr) else Text(str(part.value)) for part in parts
    ]
    return fragments if len(fragments) == 1 and isinstance(fragments[0], Tag) else [Gap(), *fragments, Gap()]


def _with_loop(outer: Mapping[str, SecretName], item: Value) -> Mapping[str, SecretName]:
    return {**outer, item.name.text: item} if isinstance(item, SecretName) else outer


def _is_whole_secret(value: Value, node: go.With) -> bool:
    """Whether the value is a secret, which is never empty, so the `with` only changes the dot."""
    return isinstance(value, Expr) and value.kind == "map" and node.else_body is None


def _assigned_variables(template: go.Template) -> frozenset[str]:
    return frozenset(
        name
        for body in (template.body, *template.definitions.values())
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
                yield from _pipes(node.body)
                yield from _pipes(node.else_body or ())
            case _:
                pass
