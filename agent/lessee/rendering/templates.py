"""Compiles templates strictly, with their references known in advance, and renders them to documents."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import CodeType, TracebackType
from typing import NoReturn

from jinja2 import Template, TemplateSyntaxError, nodes

from lessee.core.errors import TemplateError, TemplateListError
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Need, Parameter, PathScope, Ref
from lessee.core.secrets import Secret, SecretValueError, SecretView
from lessee.rendering.document import Document
from lessee.rendering.references import FUNCTIONS, references_in
from lessee.rendering.sandbox.environment import Sandbox
from lessee.rendering.sandbox.fragments import mark_punctuation
from lessee.rendering.syntax_tree import includes, sets, walk, words


class Code:
    """A template's text and its Python code. The code is generated on first use, because that is most of the work."""

    __slots__ = ("_code", "_sandbox", "_tree", "name", "text")

    def __init__(self, name: str, text: str, tree: nodes.Template, sandbox: Sandbox) -> None:
        self.name = name
        self.text = text
        self._tree: nodes.Template | None = tree
        self._sandbox = sandbox
        self._code: CodeType | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and (self.name, self.text) == (other.name, other.text)

    __hash__ = None  # type: ignore[assignment]  # It is never a key.

    def get(self) -> CodeType:
        """The code. Raises TemplateError with file and line."""
        if self._code is None:
            assert self._tree is not None
            try:
                with _translated_errors(self.name):
                    self._code = self._sandbox.compile(self._tree, self.name, self.name)
            except (RecursionError, MemoryError):
                what, todo = "a part of the template is too long", "split it: an {% if %} may have too many branches"
                raise TemplateError(what, where=self.name, todo=todo) from None
            self._tree = None
        return self._code


class CompiledTemplate(ImmutableStruct, frozen=True):
    """A template that is ready to render, with all secrets that it can read."""

    hidden = ("words", "codes")

    name: str
    references: frozenset[Need]
    words: frozenset[str]
    """The words of the template's text, which errors may repeat."""
    codes: Mapping[str, Code]
    """The code of the template and of all included templates."""

    def prepare(self) -> None:
        """Generate all code now instead of with the first rendering. Raises TemplateError."""
        for code in self.codes.values():
            code.get()


class Compiler:
    """Compiles templates that share a folder and a path scope. Each included file is compiled once."""

    def __init__(self, load: Callable[[str], str], scope: PathScope) -> None:
        """`load` returns the text of a template by its name, or raises TemplateError."""
        self._load = load
        self._scope = scope
        self._sandbox = Sandbox(FUNCTIONS)
        self._parts: dict[str, _Source] = {}

    def compile(self, name: str) -> CompiledTemplate:
        """Raises TemplateListError with all errors in the template and its includes, by file and line."""
        parts: dict[str, _Source] = {}
        self._gather(name, parts)
        problems = [problem for part in parts.values() for problem in part.problems]
        if all(part.code is not None for part in parts.values()):
            problems += _unset(parts)
        if problems:
            raise TemplateListError(problems)
        return CompiledTemplate(
            name=name,
            references=frozenset[Need]().union(*(part.references for part in parts.values())),
            words=frozenset[str]().union(*(part.words for part in parts.values())),
            codes={name: part.code for name, part in parts.items() if part.code is not None},
        )

    def parse(self, text: str, name: str) -> nodes.Template:
        """The syntax tree of a template. Raises TemplateSyntaxError."""
        return self._sandbox.parse(text, name, name)

    def _gather(self, name: str, into: "dict[str, _Source]") -> None:
        if name in into:
            return
        if name not in self._parts:
            self._parts[name] = self._part(name)
        into[name] = self._parts[name]
        for included in into[name].includes:
            self._gather(included, into)

    def _part(self, name: str) -> "_Source":
        try:
            text = self._load(name)
            with _translated_errors(name):
                tree = self.parse(text, name)
        except TemplateError as exc:
            return _Source(problems=(exc,))
        found = list(walk(tree))
        read, included = list(references_in(found, name, self._scope)), list(includes(found, name))
        results = (*self._disallowed(found, name), *read, *included)
        known = self._sandbox.globals.keys()
        names = (node for node in found if isinstance(node, nodes.Name) and node.ctx == "load")
        unset = frozenset((node.name, node.lineno) for node in names if node.name not in known)
        mark_punctuation(found)
        return _Source(
            code=Code(name, text, tree, self._sandbox),
            references=frozenset(need for need in read if not isinstance(need, TemplateError)),
            words=frozenset(words(found)),
            includes=tuple(one for one in included if isinstance(one, str)),
            sets=frozenset(sets(found)),
            unset=unset,
            problems=tuple(problem for problem in results if isinstance(problem, TemplateError)),
        )

    def _disallowed(self, found: Sequence[nodes.Node], name: str) -> Iterator[TemplateError]:
        for node in found:
            try:
                self._sandbox.check(node, name)
            except TemplateSyntaxError as exc:
                rule = _RULES.get(type(node), "not-allowed")
                yield TemplateError(str(exc.message), where=f"{name}:{exc.lineno}", rule=rule)


class Renderer:
    """Renders the templates of one compiler with one set of secrets."""

    def __init__(
        self,
        scope: PathScope,
        secrets: Mapping[Ref, Secret],
        folders: Mapping[Folder, Mapping[str, Secret]],
        dynamic: Mapping[DynamicSecret, Secret],
        environ: Mapping[str, str],
    ) -> None:
        self._scope = scope
        self._secrets = secrets
        self._folders = folders
        self._dynamic = dynamic
        self._environ = environ
        # Each set of secrets has its own sandbox, because Jinja caches imported templates with the values in them.
        self._sandbox = Sandbox(
            {
                "secret": self._secret,
                "secrets": self._all_secrets,
                "dynamic": self._leased,
                "certificate": self._certificate,
                "env": self._env,
                "fail": _fail,
            }
        )

    def render(self, compiled: CompiledTemplate) -> Document:
        """Render a template. Raises TemplateError with file and line, and never with a value."""
        self._sandbox.load_from({name: code.get for name, code in compiled.codes.items()})
        try:
            return Document(compiled.name, self._sandbox.run(compiled.name))
        except RecursionError as exc:
            endless = SecretValueError("a macro, block or loop calls itself without end", todo="end the recursion")
            raise _described(endless.with_traceback(exc.__traceback__), compiled) from None
        except Exception as exc:  # noqa: BLE001  # The text of any exception may contain a value.
            raise _described(exc, compiled) from None

    def _secret(self, literal: str, version: int | None = None) -> SecretView:
        return SecretView(literal, self._secrets[self._scope.secret(literal, version)].data)

    def _all_secrets(self, literal: str) -> SecretView:
        folder = literal.rstrip("/")
        inside = self._folders[self._scope.folder(literal)]
        return SecretView(literal, {name: SecretView(f"{folder}/{name}", s.data) for name, s in inside.items()})

    def _leased(self, literal: str, /, **keywords: Parameter) -> SecretView:
        return SecretView(literal, self._dynamic[self._scope.dynamic(literal, **keywords)].data)

    def _certificate(self, literal: str, /, **keywords: Parameter) -> SecretView:
        return SecretView(literal, self._dynamic[self._scope.certificate(literal, **keywords)].data)

    def _env(self, name: str, default: str | None = None) -> str:
        value = self._environ.get(name, default)
        if value is None:
            raise SecretValueError(
                f"env({name!r}): the agent's environment has no {name}", todo="set it, or add a default"
            )
        return value


def _fail(what: str) -> NoReturn:
    raise SecretValueError(what)


class _Source(ImmutableStruct, frozen=True):
    """One template without its includes."""

    code: Code | None = None
    """None for a template that could not be read."""
    references: frozenset[Need] = frozenset()
    words: frozenset[str] = frozenset()
    includes: tuple[str, ...] = ()
    sets: frozenset[str] = frozenset()
    """The variables that it sets anywhere."""
    unset: frozenset[tuple[str, int]] = frozenset()
    """The variables that it does not set, with their lines."""
    problems: tuple[TemplateError, ...] = ()


_RULES: Mapping[type[nodes.Node], str] = {nodes.Filter: "unknown-filter", nodes.Test: "unknown-test"}


@contextmanager
def _translated_errors(name: str) -> Iterator[None]:
    """Translates Jinja's errors. They quote only the template, because there are no values yet."""
    try:
        yield
    except TemplateSyntaxError as exc:
        where = f"{name}:{exc.lineno}"
        raise TemplateError(str(exc.message), where=where, rule="template-syntax") from None
    except SyntaxError as exc:  # From Python, about Jinja's code: a duplicate argument, or too many nested loops.
        what = f"the template's Python code would be invalid: {exc.msg}"
        todo = "rewrite that part"
        raise TemplateError(what, where=name, todo=todo, rule="template-syntax") from None
    except ValueError:  # Python converts numbers of at most 4,300 digits.
        what, todo = "a number in the template is too long", "write it as a string"
        raise TemplateError(what, where=name, todo=todo, rule="template-syntax") from None


def _unset(parts: Mapping[str, _Source]) -> Iterator[TemplateError]:
    # Whether a variable set in one template reaches another is only known when Jinja runs them.
    everywhere = frozenset[str]().union(*(part.sets for part in parts.values()))
    for name, part in parts.items():
        for variable, line in sorted(part.unset):
            if variable not in everywhere:
                yield TemplateError(
                    f"unknown variable or function {variable!r}",
                    where=f"{name}:{line}",
                    todo=f"templates can call {', '.join(FUNCTIONS)}",
                    rule="unknown-name",
                )


def _described(exc: Exception, compiled: CompiledTemplate) -> TemplateError:
    if isinstance(exc, TemplateError):
        return exc  # From code that is only generated now.
    where = _location(exc.__traceback__) or compiled.name
    if isinstance(exc, SecretValueError):
        return TemplateError(exc.message(compiled.words), where=where, todo=exc.todo)
    return TemplateError(f"an expression failed ({type(exc).__name__})", where=where)


def _location(trace: TracebackType | None) -> str | None:
    """The innermost line of a template in a traceback."""
    location = None
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            location = f"{template.name}:{template.get_corresponding_lineno(trace.tb_lineno)}"
        trace = trace.tb_next
    return location
