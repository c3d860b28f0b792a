"""From a template's text to a document: compiled strictly, its paths known without running it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import CodeType, TracebackType
from typing import NoReturn

from jinja2 import Template, TemplateSyntaxError, nodes

from lessee.core.errors import TemplateError, TemplateListError
from lessee.core.immutable import Record
from lessee.core.paths import Dynamic, Folder, Need, Parameter, Ref, Space
from lessee.core.secrets import SecretValueError, Secret, SecretView
from lessee.rendering.document import Document
from lessee.rendering.references import FUNCTIONS, needs_of
from lessee.rendering.sandbox.environment import Sandbox
from lessee.rendering.sandbox.fragments import mark_punctuation
from lessee.rendering.syntax_tree import includes, sets, walk, words


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
            try:
                with _telling(self.name):
                    self._code = self._sandbox.compile(self._tree, self.name, self.name)
            except (RecursionError, MemoryError):
                what, todo = "a part of it is too long for Python", "split it: an {% if %} may have too many branches"
                raise TemplateError(what, where=self.name, todo=todo) from None
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
        """Raises TemplateListError with all that is wrong with it and with what it takes in, by file and line."""
        parts: dict[str, _Part] = {}
        self._gather(name, parts)
        problems = [problem for part in parts.values() for problem in part.problems]
        if all(part.code is not None for part in parts.values()):
            problems += _unset(parts)
        if problems:
            raise TemplateListError(problems)
        return Compiled(
            name=name,
            needs=frozenset[Need]().union(*(part.needs for part in parts.values())),
            words=frozenset[str]().union(*(part.words for part in parts.values())),
            codes={name: part.code for name, part in parts.items() if part.code is not None},
        )

    def parse(self, text: str, name: str) -> nodes.Template:
        """The syntax tree of a template, of which nothing else is known yet. Raises TemplateSyntaxError."""
        return self._sandbox.parse(text, name, name)

    def _gather(self, name: str, into: "dict[str, _Part]") -> None:
        if name in into:
            return
        if name not in self._parts:
            self._parts[name] = self._part(name)
        into[name] = self._parts[name]
        for included in into[name].includes:
            self._gather(included, into)

    def _part(self, name: str) -> "_Part":
        try:
            text = self._load(name)
            with _telling(name):
                tree = self.parse(text, name)
        except TemplateError as exc:
            return _Part(problems=(exc,))
        found = list(walk(tree))
        read, taken = list(needs_of(found, name, self._space)), list(includes(found, name))
        said = (*self._refused(found, name), *read, *taken)
        known = self._sandbox.globals.keys()
        names = (node for node in found if isinstance(node, nodes.Name) and node.ctx == "load")
        unset = frozenset((node.name, node.lineno) for node in names if node.name not in known)
        mark_punctuation(found)
        return _Part(
            code=Code(name, text, tree, self._sandbox),
            needs=frozenset(need for need in read if not isinstance(need, TemplateError)),
            words=frozenset(words(found)),
            includes=tuple(one for one in taken if isinstance(one, str)),
            sets=frozenset(sets(found)),
            unset=unset,
            problems=tuple(problem for problem in said if isinstance(problem, TemplateError)),
        )

    def _refused(self, found: Sequence[nodes.Node], name: str) -> Iterator[TemplateError]:
        for node in found:
            try:
                self._sandbox.check(node, name)
            except TemplateSyntaxError as exc:
                rule = _REFUSED.get(type(node), "not-allowed")
                yield TemplateError(str(exc.message), where=f"{name}:{exc.lineno}", rule=rule)


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
                "fail": _fail,
            }
        )

    def render(self, compiled: Compiled) -> Document:
        """Raises TemplateError that names file and line, never a value."""
        self._sandbox.load_from({name: code.get for name, code in compiled.codes.items()})
        try:
            return Document(compiled.name, self._sandbox.run(compiled.name))
        except RecursionError as exc:
            endless = SecretValueError("a macro, a block or a loop calls itself without an end", todo="give it an end")
            raise _described(endless.with_traceback(exc.__traceback__), compiled) from None
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
            raise SecretValueError(f"env({name!r}): the agent's environment has no {name}", todo="give a default")
        return value


def _fail(what: str) -> NoReturn:
    raise SecretValueError(what)


class _Part(Record, frozen=True):
    """A template by itself."""

    code: Code | None = None
    """None: it could not be read."""
    needs: frozenset[Need] = frozenset()
    words: frozenset[str] = frozenset()
    includes: tuple[str, ...] = ()
    sets: frozenset[str] = frozenset()
    """Variables that it sets anywhere."""
    unset: frozenset[tuple[str, int]] = frozenset()
    """Variables that it takes from outside, and their lines."""
    problems: tuple[TemplateError, ...] = ()


_REFUSED: Mapping[type[nodes.Node], str] = {nodes.Filter: "unknown-filter", nodes.Test: "unknown-test"}


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Turns Jinja's errors about a text into ours: they quote the template alone, for no value is there yet."""
    try:
        yield
    except TemplateSyntaxError as exc:
        where = f"{name}:{exc.lineno}"
        raise TemplateError(str(exc.message), where=where, rule="template-syntax") from None
    except SyntaxError as exc:  # Python's, of what Jinja made of it: an argument twice, too many loops in loops.
        what = f"its Python would be wrong: {exc.msg}"
        todo = "write that part another way"
        raise TemplateError(what, where=name, todo=todo, rule="template-syntax") from None
    except ValueError:  # Python's, of a number: it reads and writes 4,300 digits.
        what, todo = "a number in it is too long for Python", "write it as a text"
        raise TemplateError(what, where=name, todo=todo, rule="template-syntax") from None


def _unset(parts: Mapping[str, _Part]) -> Iterator[TemplateError]:
    # Where one of them sets it, Jinja decides when it runs whether it reaches the other.
    everywhere = frozenset[str]().union(*(part.sets for part in parts.values()))
    for name, part in parts.items():
        for variable, line in sorted(part.unset):
            if variable not in everywhere:
                yield TemplateError(
                    f"there is no variable or function {variable!r}",
                    where=f"{name}:{line}",
                    todo=f"templates can call {', '.join(FUNCTIONS)}",
                    rule="unknown-name",
                )


def _described(exc: Exception, compiled: Compiled) -> TemplateError:
    if isinstance(exc, TemplateError):
        return exc  # of code that is made only now
    where = _place(exc.__traceback__) or compiled.name
    if isinstance(exc, SecretValueError):
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
