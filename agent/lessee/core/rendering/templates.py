"""From a template's text to a document: compiled strictly, its paths known without running it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import CodeType, TracebackType

from jinja2 import Template, TemplateSyntaxError, nodes

from lessee.core.errors import TemplateError
from lessee.core.paths import Dynamic, Folder, Need, Parameter, Ref, Space
from lessee.core.record import Record
from lessee.core.rendering.document import Document
from lessee.core.rendering.needs import FUNCTIONS, needs_of
from lessee.core.rendering.sandbox import Sandbox, mark_punctuation, parts_of
from lessee.core.secrets import Problem, Secret, SecretView


class Code:
    """A template's text, and what Python runs of it: made when it is first wanted, for it is most of the work."""

    __slots__ = ("_code", "_sandbox", "_tree", "name", "text")

    def __init__(self, name: str, text: str, tree: nodes.Template, sandbox: Sandbox) -> None:
        self.name = name
        self.text = text
        self._tree: nodes.Template | None = tree
        self._sandbox = sandbox
        self._code: CodeType | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and (self.name, self.text) == (other.name, other.text)

    __hash__ = None  # type: ignore[assignment]  # Nobody looks one up.

    def get(self) -> CodeType:
        """Raises TemplateError that names file and line."""
        if self._code is None:
            assert self._tree is not None
            with _telling(self.name):
                self._code = self._sandbox.compile(self._tree, self.name, self.name)
            self._tree = None
        return self._code


class Compiled(Record, frozen=True):
    """A template ready to render, with all that it can touch."""

    hidden = ("words", "codes")

    name: str
    needs: frozenset[Need]
    words: frozenset[str]
    """Words that stand in the template's text: an error may repeat these, and no others."""
    codes: Mapping[str, Code]
    """What Python runs: the template's own, and of all that it takes in."""

    def prepare(self) -> None:
        """Make all the code now, which rendering would do otherwise. Raises TemplateError."""
        for code in self.codes.values():
            code.get()


class Compiler:
    """Compiles templates that share a folder and a space of paths; each included file once."""

    def __init__(self, load: Callable[[str], str], space: Space) -> None:
        """`load` gives the text of a template by its name, or raises TemplateError."""
        self._load = load
        self._space = space
        self._sandbox = Sandbox(FUNCTIONS)
        self._parts: dict[str, _Part] = {}

    def compile(self, name: str) -> Compiled:
        """Raises TemplateError that names file and line."""
        parts: dict[str, _Part] = {}
        self._gather(name, parts)
        _refuse_unset(parts)
        return Compiled(
            name=name,
            needs=frozenset[Need]().union(*(part.needs for part in parts.values())),
            words=frozenset[str]().union(*(part.words for part in parts.values())),
            codes={name: part.code for name, part in parts.items()},
        )

    def _gather(self, name: str, into: "dict[str, _Part]") -> None:
        if name in into:
            return
        if name not in self._parts:
            text = self._load(name)
            with _telling(name):
                self._parts[name] = self._part(text, name)
        into[name] = self._parts[name]
        for included in into[name].includes:
            self._gather(included, into)

    def _part(self, text: str, name: str) -> "_Part":
        tree = self._sandbox.parse(text, name, name)
        found = list(_walk(tree))
        for node in found:
            self._sandbox.check(node, name)
        needs, words = frozenset(needs_of(found, name, self._space)), frozenset(_words(found))
        includes, sets = tuple(_includes(found, name)), frozenset(_sets(found))
        mark_punctuation(found)
        names = (node for node in reversed(found) if isinstance(node, nodes.Name) and node.ctx == "load")
        lines = {node.name: node.lineno for node in names}
        known = self._sandbox.globals.keys()
        unset = {variable: line for variable, line in lines.items() if variable not in known}
        code = Code(name, text, tree, self._sandbox)
        return _Part(code, needs, words, includes, sets, unset)


class Renderer:
    """Runs the templates of one compiler over one set of secrets."""

    def __init__(
        self,
        space: Space,
        secrets: Mapping[Ref, Secret],
        folders: Mapping[Folder, Mapping[str, Secret]],
        dynamic: Mapping[Dynamic, Secret],
        environ: Mapping[str, str],
    ) -> None:
        self._space = space
        self._secrets = secrets
        self._folders = folders
        self._dynamic = dynamic
        self._environ = environ
        # A sandbox for each set of secrets: Jinja keeps what an imported template gave, with the values in it.
        self._sandbox = Sandbox(
            {
                "secret": self._secret,
                "secrets": self._all_secrets,
                "dynamic": self._leased,
                "certificate": self._certificate,
                "env": self._env,
            }
        )

    def render(self, compiled: Compiled) -> Document:
        """Raises TemplateError that names file and line, never a value."""
        self._sandbox.load_from({name: code.get for name, code in compiled.codes.items()})
        try:
            template = self._sandbox.get_template(compiled.name)
            return Document(compiled.name, parts_of(template.root_render_func(template.new_context())))
        except Exception as exc:  # noqa: BLE001  # Whatever a template raises, its text may hold a value.
            raise _described(exc, compiled) from None

    def _secret(self, literal: str, version: int | None = None) -> SecretView:
        return SecretView(literal, self._secrets[self._space.secret(literal, version)].data)

    def _all_secrets(self, literal: str) -> SecretView:
        folder = literal.rstrip("/")
        inside = self._folders[self._space.folder(literal)]
        return SecretView(literal, {name: SecretView(f"{folder}/{name}", s.data) for name, s in inside.items()})

    def _leased(self, literal: str, /, **keywords: Parameter) -> SecretView:
        return SecretView(literal, self._dynamic[self._space.dynamic(literal, **keywords)].data)

    def _certificate(self, literal: str, /, **keywords: Parameter) -> SecretView:
        return SecretView(literal, self._dynamic[self._space.certificate(literal, **keywords)].data)

    def _env(self, name: str, default: str | None = None) -> str:
        value = self._environ.get(name, default)
        if value is None:
            raise Problem(f"env({name!r}): the agent's environment has no {name}", todo="give a default")
        return value


class _Part(Record, frozen=True):
    """A template by itself."""

    code: Code
    needs: frozenset[Need]
    words: frozenset[str]
    includes: tuple[str, ...]
    sets: frozenset[str]
    """Variables that it sets anywhere."""
    unset: Mapping[str, int]
    """Variables that it takes from outside, with the first line of each."""


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Turns Jinja's errors about a text into ours: they quote the template alone, for no value is there yet."""
    try:
        yield
    except TemplateSyntaxError as exc:
        raise TemplateError(str(exc.message), where=f"{name}:{exc.lineno}") from None
    except SyntaxError as exc:  # Python's, of what Jinja made of it: an argument twice, too many loops in loops.
        what = f"its Python would be wrong: {exc.msg}"
        raise TemplateError(what, where=name, todo="write that part another way") from None


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    """The node and all below it, in the order of the text; Jinja's own find_all takes four times as long."""
    yield node
    for field_name in node.fields:
        value = getattr(node, field_name, None)
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, nodes.Node):
                yield from _walk(child)


def _words(found: Sequence[nodes.Node]) -> Iterator[str]:
    for node in found:
        match node:
            case nodes.Const(value=str(word)):
                yield word
            case nodes.Getattr():
                yield node.attr
            case nodes.Name():
                yield node.name
            case _:
                pass


def _includes(found: Sequence[nodes.Node], name: str) -> Iterator[str]:
    for node in found:
        if not isinstance(node, nodes.Include | nodes.Import | nodes.FromImport | nodes.Extends):
            continue
        if not isinstance(node.template, nodes.Const) or not isinstance(node.template.value, str):
            raise TemplateError(
                "the name of a template to take in must be one literal",
                where=f"{name}:{node.lineno}",
                todo='write it out, as in {% include "common.j2" %}',
            )
        yield node.template.value


def _sets(found: Sequence[nodes.Node]) -> Iterator[str]:
    for node in found:
        match node:
            case nodes.Name() if node.ctx != "load":
                yield node.name
            # What follows sets variables of Jinja's own.
            case nodes.For():
                yield "loop"
            case nodes.Block():
                yield from ("self", "super")
            case nodes.Macro():
                yield from (node.name, "caller", "varargs", "kwargs")
            case nodes.Import():
                yield node.target
            case nodes.FromImport():
                yield from (word if isinstance(word, str) else word[1] for word in node.names)
            case _:
                pass


def _refuse_unset(parts: Mapping[str, _Part]) -> None:
    # Where one of them sets it, Jinja decides when it runs whether it reaches the other.
    everywhere = frozenset[str]().union(*(part.sets for part in parts.values()))
    for name, part in parts.items():
        for variable in part.unset.keys() - everywhere:
            raise TemplateError(
                f"there is no variable or function {variable!r}",
                where=f"{name}:{part.unset[variable]}",
                todo=f"templates can call {', '.join(FUNCTIONS)}",
            )


def _described(exc: Exception, compiled: Compiled) -> TemplateError:
    if isinstance(exc, TemplateError):
        return exc  # of code that is made only now
    where = _place(exc.__traceback__) or compiled.name
    if isinstance(exc, Problem):
        return TemplateError(exc.tell(compiled.words), where=where, todo=exc.todo)
    return TemplateError(f"an expression failed ({type(exc).__name__})", where=where)


def _place(trace: TracebackType | None) -> str | None:
    """The innermost line of a template in a traceback."""
    place = None
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            place = f"{template.name}:{template.get_corresponding_lineno(trace.tb_lineno)}"
        trace = trace.tb_next
    return place
