"""Jinja's environment: nothing undefined, nothing without bounds, and values kept apart from text."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from functools import partial
from types import CodeType
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, Template, Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import Context, Macro
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from lessee.core.secrets import SecretValueError, SecretView, Value
from lessee.rendering.document import Hole
from lessee.rendering.sandbox.attributes import OF_MAPPINGS, Method, attribute_of
from lessee.rendering.sandbox.bounds import Budget, is_short
from lessee.rendering.sandbox.encodings import Opened
from lessee.rendering.sandbox.filters import FILTERS, TESTS
from lessee.rendering.sandbox.fragments import Mixed, Piece, join, parts_of, piece_of
from lessee.rendering.sandbox.operations import FUNCTIONS, KEYS, OPERATORS, key
from lessee.rendering.sandbox.parser import parse
from lessee.rendering.sandbox.step_counter import Counting
from lessee.rendering.sandbox.strings import join as joined

# In steps: see bounds.STEPS.
_LOOKUP = 5
_TEMPLATE = 200
_FORMAT = 200
_KEYWORD = 5

_DEEPEST = 20
_MAPPINGS = (SecretView, dict)
_INDEXED = (SecretView, dict, str, list, tuple, bytes, Mixed)


class Sandbox(SandboxedEnvironment):
    """`{{ }}` gives a hole, not characters: a value meets the text only in the file's own grammar."""

    code_generator_class = Counting
    intercepted_binops = frozenset(OPERATORS)
    key = staticmethod(key)

    def __init__(self, functions: Mapping[str, object]) -> None:
        super().__init__(
            undefined=_Missing,
            finalize=_finalize,
            autoescape=False,
            keep_trailing_newline=True,
            lstrip_blocks=True,
            optimized=False,  # It would make what is constant when it compiles, without bounds.
        )
        self.budget = Budget()
        self.spend = self.budget.spend
        # Jinja's own seam, made for native types.
        self.concat = partial(join, budget=self.budget)  # type: ignore[method-assign, assignment]
        self.filters = dict(FILTERS)
        self.tests = dict(TESTS)
        self.globals = {**FUNCTIONS, **functions}
        self._depth = 0

    def load_from(self, codes: Mapping[str, Callable[[], CodeType]]) -> None:
        """From now on these templates may run; each gives what `compile` made of it."""
        self.loader = _Loader(codes)

    def run(self, name: str) -> tuple[str | Hole, ...]:
        """What a template gives: text, hole, text and so on. Raises SecretValueError, and whatever its expressions raise."""
        self.budget.renew()
        template = self.get_template(name)
        stream: Any = template.root_render_func(template.new_context())
        try:
            return parts_of(stream, self.budget)
        except SecretValueError as exc:
            raise stream.throw(exc) from None  # which raises it at the line where the template stands

    def check(self, node: nodes.Node, name: str) -> None:
        """Refuse what has no place here. Raises TemplateSyntaxError."""
        match node:
            case nodes.Filter() if node.name not in self.filters:
                what = f"there is no filter {node.name!r}"
            case nodes.Test() if node.name not in self.tests:
                what = f"there is no test {node.name!r}"
            case nodes.FilterBlock():
                what = "a filter takes a value, not a block: write it inside the {{ }} of each value"
            case nodes.EvalContextModifier():
                what = "autoescape is for HTML: the file's format escapes each value"
            case _:
                return
        raise TemplateSyntaxError(what, node.lineno, name, name)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return parse(self, source, name, filename)

    # The Python that Jinja makes of a template calls what follows.

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Of a mapping a word after a dot is a key, unless it is a method."""
        if isinstance(obj, _MAPPINGS) and attribute not in OF_MAPPINGS:
            try:
                found = obj[attribute]
            except KeyError:
                return self.undefined(obj=obj, name=attribute)
            return found if is_short(found) else self.budget.copied(found)
        found = attribute_of(obj, attribute)
        if found is not missing:
            return found
        if attribute.startswith("_") or hasattr(type(obj), attribute):
            return self._nothing(obj, attribute, SecurityError)
        return self._nothing(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Of a mapping a word in brackets is a key; of what has none, it is as after a dot."""
        self.spend(_LOOKUP)
        # A structure would be gone through, if it were a key.
        if isinstance(obj, _INDEXED) and isinstance(argument, KEYS):
            of: Any = obj
            with suppress(TypeError, LookupError):
                return self.budget.copied(of[argument])
        if isinstance(argument, str) and not isinstance(obj, _MAPPINGS):
            return self.getattr(obj, argument)
        return self._nothing(obj, argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call what a template can reach, and bound what it gives."""
        if isinstance(obj, Macro):
            self.spend(len(args) + _KEYWORD * len(kwargs))
            return context.call(obj, *args, **kwargs)
        kwargs.pop("_loop_vars", None)
        kwargs.pop("_block_vars", None)
        if isinstance(obj, Method) and obj.rate:
            self.budget.weigh(obj.of, rate=obj.rate)
        self.budget.weigh(*args, *kwargs.values())
        return self.budget.made(obj(*args, **kwargs))

    def call_binop(self, _context: Context, operator: str, left: Any, right: Any) -> Any:
        self.budget.weigh(left, right, rate=_FORMAT if operator == "%" else 1)
        return self.budget.made(OPERATORS[operator](left, right))

    def concatenated(self, values: tuple[object, ...]) -> object:
        """What `~` gives."""
        return self.budget.made(joined(values))

    def weighed(self, value: object) -> object:
        """What is compared, sliced or written."""
        if not is_short(value):
            self.budget.weigh(value)
        return value

    def taken_in(self, root: Callable[[Context], Iterator[str]], context: Context) -> Iterator[str]:
        """A template's own pieces; each that takes it in hands them on."""
        self.spend(_TEMPLATE)
        self._depth += 1
        if self._depth > _DEEPEST:
            what, todo = f"templates take in each other more than {_DEEPEST} levels deep", "let none take in itself"
            raise SecretValueError(what, todo=todo)
        try:
            yield from root(context)
        finally:
            self._depth -= 1

    def _nothing(self, obj: Any, name: Any, exc: Any = None) -> Undefined:
        if isinstance(obj, Undefined):
            str(obj)  # raises, and says what is not there
        return self.undefined(obj=obj, name=name, exc=exc)


@pass_context  # so that Jinja cannot fold `{{ "x" }}` into the text when it compiles: it stays a hole
def _finalize(context: Context, value: object) -> Piece:
    if not isinstance(value, str):
        context.environment.budget.weigh(value)  # type: ignore[attr-defined]  # It is a Sandbox.
    return piece_of(value)


class _Loader(BaseLoader):
    """Gives what was compiled before: a file that is edited meanwhile changes nothing."""

    def __init__(self, codes: Mapping[str, Callable[[], CodeType]]) -> None:
        self._codes = codes

    def load(
        self,
        environment: Environment,
        name: str,
        globals: MutableMapping[str, Any] | None = None,  # noqa: A002  # Jinja's word.
    ) -> Template:
        template = Template.from_code(environment, self._codes[name](), globals or {})
        template.root_render_func = partial(environment.taken_in, template.root_render_func)  # type: ignore[attr-defined]
        return template


class _Missing(StrictUndefined):
    """What is not there: any use of it raises, with the path and the keys that are there."""

    __slots__ = ()

    def __init__(self, _hint: str | None = None, obj: Any = missing, name: Any = None, exc: Any = None) -> None:
        # Jinja would make a text of its own, which may hold a value, and call what it takes for a class with it.
        super().__init__("not there", exc=lambda _text: _absent(obj, name, exc))  # type: ignore[arg-type]


def _absent(obj: object, name: object, exc: object) -> SecretValueError:
    if exc is SecurityError:
        return SecretValueError("no template may reach this", word=name)
    if name is None and obj is missing:
        return SecretValueError("an empty list has no first, last, smallest or greatest item")
    if name is None:
        return SecretValueError("what stands between [ and ] is null", todo="add `| default('…', true)` to it")
    if obj is missing:
        return SecretValueError("there is no such variable", word=name)
    if isinstance(obj, Opened):
        return SecretValueError(f"what {obj.path} holds has no such key", word=name)
    if isinstance(obj, SecretView):
        # repr, because a key may hold a line's end.
        keys = ", ".join(sorted(map(repr, obj))) or "none"
        return SecretValueError(f"{obj.path} has no such key", word=name, more=f"; the keys that are there: {keys}")
    origin = obj.origin if isinstance(obj, Value) else f"a {type(obj).__name__}"
    return SecretValueError(f"{origin} has no such key", word=name)
