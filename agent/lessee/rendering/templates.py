"""Compiles templates strictly, with their references known in advance, and renders them to documents."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import NoReturn

from jinja2 import Template, TemplateSyntaxError, nodes

from lessee.core.errors import DeniedError, TemplateError, TemplateListError
from lessee.core.immutable import ImmutableStruct
from lessee.core.path_scope import PathScope
from lessee.core.paths import DynamicSecret, Folder, Need, Parameter, Ref
from lessee.core.secrets import Secret, SecretValueError, SecretView
from lessee.rendering.document import Document
from lessee.rendering.references import FUNCTIONS, in_order, optional_in, references_in
from lessee.rendering.sandbox.bounds import PER_STEP, SlowRenderingError
from lessee.rendering.sandbox.environment import Sandbox
from lessee.rendering.sandbox.fragments import mark_punctuation
from lessee.rendering.skeletons import Skeleton, marked_calls, marked_text, marks_of, split_paths
from lessee.rendering.syntax_tree import includes, sets, walk, words
from lessee.rendering.template_code import Code, GeneratedCode, translated_errors


class CompiledTemplate(ImmutableStruct, frozen=True):
    """A template that is ready to render, with all secrets that it can read."""

    hidden = ("parts",)

    parts: tuple[Code, ...]
    """The template, and all templates that it includes."""
    needs: tuple[Need, ...]
    """In an order that depends on nothing else: equal templates have equal needs."""
    optional: frozenset[Need] = frozenset()
    """Those of them without which the template can be rendered."""

    @property
    def name(self) -> str:
        """The template's name, which errors use."""
        return self.parts[0].name

    @property
    def references(self) -> frozenset[Need]:
        """All secrets that the template can read."""
        return frozenset(self.needs)

    @property
    def words(self) -> frozenset[str]:
        """The words of the template's text, which errors may repeat."""
        return frozenset[str]().union(*(code.words for code in self.parts))

    @property
    def codes(self) -> Mapping[str, Code]:
        """The code of the template and of all included templates, by name."""
        return {code.name: code for code in self.parts}

    def prepare(self) -> None:
        """Generate all code now instead of with the first rendering. Raises TemplateError."""
        for code in self.parts:
            code.generated.get()


class Compiler:
    """Compiles templates that share a folder and a path scope. Each included file is compiled once."""

    def __init__(self, load: Callable[[str], str], scope: PathScope) -> None:
        """`load` returns the text of a template by its name, or raises TemplateError."""
        self._load = load
        self._scope = scope
        self._sandbox = Sandbox(FUNCTIONS)
        self._parts: dict[str, _Source] = {}
        self._shared: dict[str, CompiledTemplate] = {}
        # A compiler with another parser makes other trees of the same text.
        self._shares = type(self).parse is Compiler.parse
        self._seen: set[int] = set()
        self._skeletons: dict[tuple[str, ...], Skeleton | None] = {}

    def compile(self, name: str) -> CompiledTemplate:
        """Raises TemplateListError with all errors in the template and its includes, by file and line."""
        if (shared := self._compile_shared(name)) is not None:
            return shared
        parts: dict[str, _Source] = {}
        self._gather(name, parts)
        problems = [problem for part in parts.values() for problem in part.problems]
        if all(part.code is not None for part in parts.values()):
            problems += _unset(parts)
        if problems:
            raise TemplateListError(problems)
        optional = frozenset[Need]().union(*(part.optional for part in parts.values()))
        return CompiledTemplate(
            tuple(part.code for part in parts.values() if part.code is not None),
            in_order(frozenset[Need]().union(*(part.references for part in parts.values()))),
            optional.difference(*(part.references - part.optional for part in parts.values())),
        )

    def parse(self, text: str, name: str) -> nodes.Template:
        """The syntax tree of a template. Raises TemplateSyntaxError."""
        return self._sandbox.parse(text, name, name)

    def _compile_shared(self, name: str) -> CompiledTemplate | None:
        """The template, if it has the skeleton of an earlier one, and no errors."""
        if self._shares and name not in self._shared and name not in self._parts:
            try:
                text = self._load(name)
            except TemplateError as exc:
                self._parts[name] = _Source(problems=(exc,))
                return None
            if (template := self._with_known_skeleton(name, text)) is not None:
                self._shared[name] = template
            else:
                self._parts[name] = self._part(name, text)
        return self._shared.get(name)

    def _with_known_skeleton(self, name: str, text: str) -> CompiledTemplate | None:
        if (split := split_paths(text)) is None:
            return None
        pieces, paths = split
        if pieces not in self._skeletons:
            # Most templates are unlike all others: only the second one of a kind is worth a skeleton.
            if (kind := hash(pieces)) not in self._seen:
                self._seen.add(kind)
                return None
            self._skeletons[pieces] = self._skeleton(pieces)
        skeleton = self._skeletons[pieces]
        needs = skeleton.needs(paths) if skeleton is not None else None
        if skeleton is None or needs is None:
            return None
        return CompiledTemplate((Code(name, text, skeleton.code, paths),), needs)

    def _skeleton(self, pieces: tuple[str, ...]) -> Skeleton | None:
        """The skeleton of these pieces; None if templates with these pieces cannot share their code."""
        marks = marks_of(pieces)
        text = marked_text(pieces)
        try:
            tree = self.parse(text, _SKELETON)
        except TemplateSyntaxError:
            return None
        found = list(walk(tree))
        calls = marked_calls(found, marks)
        source = self._source(_SKELETON, text, tree, found, marks)
        if calls is None or source.code is None or source.problems or source.includes or source.optional:
            return None
        # A macro of this name would get the marks instead of the function.
        if any(_unset({_SKELETON: source})) or not FUNCTIONS.keys().isdisjoint(source.sets):
            return None
        try:
            source.code.generated.get()
        except TemplateError:
            return None
        return Skeleton(source.code.generated, calls, source.references, self._scope)

    def _gather(self, name: str, into: "dict[str, _Source]") -> None:
        if name in into:
            return
        if name not in self._parts:
            self._parts[name] = self._loaded(name)
        into[name] = self._parts[name]
        for included in into[name].includes:
            self._gather(included, into)

    def _loaded(self, name: str) -> "_Source":
        try:
            # A file is read once, so that what is rendered is what its stamp says.
            text = self._shared[name].parts[0].text if name in self._shared else self._load(name)
        except TemplateError as exc:
            return _Source(problems=(exc,))
        return self._part(name, text)

    def _part(self, name: str, text: str) -> "_Source":
        try:
            with translated_errors(name, text):
                tree = self.parse(text, name)
        except TemplateError as exc:
            return _Source(problems=(exc,))
        return self._source(name, text, tree, list(walk(tree)))

    def _source(
        self,
        name: str,
        text: str,
        tree: nodes.Template,
        found: Sequence[nodes.Node],
        marks: tuple[str, ...] | None = None,
    ) -> "_Source":
        read, included = list(references_in(found, name, self._scope)), list(includes(found, name))
        results = (*self._disallowed(found, name), *read, *included)
        known = self._sandbox.globals.keys()
        names = (node for node in found if isinstance(node, nodes.Name) and node.ctx == "load")
        unset = frozenset((node.name, node.lineno) for node in names if node.name not in known)
        optional = optional_in(found, self._scope) if "optional" in text else frozenset()
        if "vault" in text:
            from lessee.rendering.vault_calls import bind_fields  # noqa: PLC0415  # Few templates call it.

            bind_fields(found, self._scope)
        mark_punctuation(found)
        generated = GeneratedCode(name, tree, self._sandbox, frozenset(words(found)), marks)
        return _Source(
            code=Code(name, text, generated),
            references=frozenset(need for need in read if not isinstance(need, TemplateError)),
            optional=optional,
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
        *,
        quick: bool = False,
    ) -> None:
        """`quick`: `render` raises SlowRenderingError if it takes longer than a few hundredths of a second."""
        self._scope = scope
        self._secrets = secrets
        self._folders = folders
        self._dynamic = dynamic
        self._environ = environ
        self._paths: Mapping[str, str] = {}
        self._shared: dict[GeneratedCode, Template] = {}
        # Each set of secrets has its own sandbox, because Jinja caches imported templates with the values in them.
        self._sandbox = Sandbox(
            {
                "secret": self._secret,
                "secrets": self._all_secrets,
                "dynamic": self._leased,
                "certificate": self._certificate,
                "vault": self._any_path,
                "env": self._env,
                "fail": _fail,
            },
            quick=quick,
        )

    def close(self) -> None:
        """Free all values; nothing can be rendered any more."""
        self._sandbox.close()
        self._shared.clear()

    def render(self, compiled: CompiledTemplate) -> Document:
        """Render a template. Raises TemplateError with file and line, and never with a value."""
        self._paths = compiled.parts[0].paths
        try:
            return Document(compiled.name, self._sandbox.run(self._template(compiled)))
        except SlowRenderingError:
            raise
        except RecursionError as exc:
            endless = SecretValueError("a macro, block or loop calls itself without end", todo="end the recursion")
            raise _described(endless.with_traceback(exc.__traceback__), compiled) from None
        except Exception as exc:  # noqa: BLE001  # The text of any exception may contain a value.
            raise _described(exc, compiled) from None

    def _template(self, compiled: CompiledTemplate) -> Template:
        generated = compiled.parts[0].generated
        if generated.marks is None:
            self._sandbox.load_from({code.name: code.generated.get for code in compiled.parts})
            return self._sandbox.get_template(compiled.name)
        if (template := self._shared.get(generated)) is None:
            template = self._shared[generated] = self._sandbox.template_of(generated.get(), self._sandbox.globals)
        template.name = compiled.name
        return template

    def _path(self, literal: str) -> str:
        """The path that the code names, or that it has a mark for."""
        if (path := self._paths.get(literal)) is None:
            return literal
        self._sandbox.spend(len(path) // PER_STEP)  # As much as for a literal in the code.
        return path

    def _secret(self, literal: str, version: int | None = None, *, optional: bool = False, **place: str) -> SecretView:
        path = self._path(literal)
        need = self._scope.secret(path, version, **place)
        return SecretView(path, {} if optional and need not in self._secrets else self._secrets[need].data)

    def _all_secrets(self, literal: str, *, optional: bool = False, **place: str) -> SecretView:
        folder = literal.rstrip("/")
        need = self._scope.folder(literal, **place)
        inside = {} if optional and need not in self._folders else self._folders[need]
        return SecretView(literal, {name: SecretView(f"{folder}/{name}", s.data) for name, s in inside.items()})

    def _leased(self, literal: str, /, *, optional: bool = False, **keywords: Parameter) -> SecretView:
        path = self._path(literal)
        return self._issued(path, self._scope.dynamic(path, **keywords), optional=optional)

    def _certificate(self, literal: str, /, *, optional: bool = False, **keywords: Parameter) -> SecretView:
        return self._issued(literal, self._scope.certificate(literal, **keywords), optional=optional)

    def _issued(self, path: str, need: DynamicSecret, *, optional: bool) -> SecretView:
        return SecretView(path, {} if optional and need not in self._dynamic else self._dynamic[need].data)

    def _any_path(
        self, literal: str, /, *body: Mapping[str, object], optional: bool = False, **keywords: object
    ) -> SecretView:
        from lessee.rendering.vault_calls import requested  # noqa: PLC0415  # Few templates call it.

        return self._issued(literal, requested(self._scope, literal, *body, **keywords), optional=optional)

    def _env(self, name: str, default: str | None = None) -> str:
        try:
            value = self._scope.variables.read(name, self._environ, default)
        except DeniedError as exc:
            raise SecretValueError(exc.what, todo=exc.todo) from None
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
    optional: frozenset[Need] = frozenset()
    """Those of them that only calls with `optional=true` read."""
    includes: tuple[str, ...] = ()
    sets: frozenset[str] = frozenset()
    """The variables that it sets anywhere."""
    unset: frozenset[tuple[str, int]] = frozenset()
    """The variables that it does not set, with their lines."""
    problems: tuple[TemplateError, ...] = ()


_SKELETON = "skeleton"
_RULES: Mapping[type[nodes.Node], str] = {nodes.Filter: "unknown-filter", nodes.Test: "unknown-test"}


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
