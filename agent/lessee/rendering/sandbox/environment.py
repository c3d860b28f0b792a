"""Jinja's environment: undefined names are errors, everything is bounded, and values stay separate from text."""

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
from lessee.rendering.document import Placeholder
from lessee.rendering.sandbox.attributes import OF_MAPPINGS, Method, attribute_of
from lessee.rendering.sandbox.bounds import Budget, is_short
from lessee.rendering.sandbox.encodings import ParsedJson
from lessee.rendering.sandbox.filters import FILTERS, TESTS
from lessee.rendering.sandbox.fragments import Fragment, MixedText, fragment_of, join, parts_of
from lessee.rendering.sandbox.operations import FUNCTIONS, KEYS, OPERATORS, key
from lessee.rendering.sandbox.parser import parse
from lessee.rendering.sandbox.step_counter import StepCountingGenerator
from lessee.rendering.sandbox.strings import join as joined

# In steps: see bounds.STEPS.
_LOOKUP = 5
_TEMPLATE = 200
_FORMAT = 200
_KEYWORD = 5

_MAX_INCLUDE_DEPTH = 20
_MAPPINGS = (SecretView, dict)
_INDEXED = (SecretView, dict, str, list, tuple, bytes, MixedText)


class Sandbox(SandboxedEnvironment):
    """`{{ }}` yields a placeholder, not characters: only the file's format writes the value into the text."""

    code_generator_class = StepCountingGenerator
    intercepted_binops = frozenset(OPERATORS)
    key = staticmethod(key)

    def __init__(self, functions: Mapping[str, object], *, quick: bool = False) -> None:
        super().__init__(
            undefined=_Undefined,
            finalize=_finalize,
            autoescape=False,
            keep_trailing_newline=True,
            lstrip_blocks=True,
            optimized=False,  # The optimizer would evaluate constants during compilation, without limits.
        )
        self.budget = Budget(quick=quick)
        self.spend = self.budget.spend
        # Jinja's extension point for native types.
        self.concat = partial(join, budget=self.budget)  # type: ignore[method-assign, assignment]
        self.filters = dict(FILTERS)
        self.tests = dict(TESTS)
        self.globals = {**FUNCTIONS, **functions}
        self._include_depth = 0
        self._namespaces: list[dict[str, Any]] = []

    def close(self) -> None:
        """Free all values and templates now. They refer to each other: the garbage collector would free them late."""
        for namespace in self._namespaces:
            namespace.clear()
        vars(self).clear()

    def load_from(self, codes: Mapping[str, Callable[[], CodeType]]) -> None:
        """Set the templates that can run, with their compiled code."""
        self.loader = _Loader(codes)

    def template_of(self, code: CodeType, variables: MutableMapping[str, Any]) -> Template:
        """A template with this code, and with the variables that are set outside of it."""
        template = Template.from_code(self, code, variables)
        self._namespaces.append(template.root_render_func.__globals__)
        template.root_render_func = partial(self.include, template.root_render_func)
        return template

    def run(self, template: Template) -> tuple[str | Placeholder, ...]:
        """Run a template. Raises SecretValueError, and any exception of its expressions."""
        self.budget.reset()
        stream: Any = template.root_render_func(template.new_context())
        try:
            return parts_of(stream, self.budget)
        except SecretValueError as exc:
            raise stream.throw(exc) from None  # Raises it at the template's current line.

    def check(self, node: nodes.Node, name: str) -> None:
        """Raises TemplateSyntaxError for a node that templates may not contain."""
        match node:
            case nodes.Filter() if node.name not in self.filters:
                what = f"unknown filter {node.name!r}"
            case nodes.Test() if node.name not in self.tests:
                what = f"unknown test {node.name!r}"
            case nodes.FilterBlock():
                what = "a filter takes a value, not a block: move it inside the {{ }} of each value"
            case nodes.EvalContextModifier():
                what = "autoescape is for HTML: the file's format escapes each value"
            case _:
                return
        raise TemplateSyntaxError(what, node.lineno, name, name)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return parse(self, source, name, filename)

    # The generated Python code calls these.

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A word after a dot. In a mapping it is a key, unless it is a method."""
        if isinstance(obj, _MAPPINGS) and attribute not in OF_MAPPINGS:
            try:
                found = obj[attribute]
            except KeyError:
                return self.undefined(obj=obj, name=attribute)
            return found if is_short(found) else self.budget.charge_copy(found)
        found = attribute_of(obj, attribute)
        if found is not missing:
            return found
        if attribute.startswith("_") or hasattr(type(obj), attribute):
            return self._undefined(obj, attribute, SecurityError)
        return self._undefined(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A word in brackets. In a mapping it is a key, otherwise the same as after a dot."""
        self.spend(_LOOKUP)
        # Hashing a structure as a key would iterate over all of it.
        if isinstance(obj, _INDEXED) and isinstance(argument, KEYS):
            of: Any = obj
            with suppress(TypeError, LookupError):
                return self.budget.charge_copy(of[argument])
        if isinstance(argument, str) and not isinstance(obj, _MAPPINGS):
            return self.getattr(obj, argument)
        return self._undefined(obj, argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, and limit its result."""
        if isinstance(obj, Macro):
            self.spend(len(args) + _KEYWORD * len(kwargs))
            return context.call(obj, *args, **kwargs)
        kwargs.pop("_loop_vars", None)
        kwargs.pop("_block_vars", None)
        if isinstance(obj, Method) and obj.rate:
            self.budget.charge(obj.of, rate=obj.rate)
        self.budget.charge(*args, *kwargs.values())
        return self.budget.checked(obj(*args, **kwargs))

    def call_binop(self, _context: Context, operator: str, left: Any, right: Any) -> Any:
        self.budget.charge(left, right, rate=_FORMAT if operator == "%" else 1)
        return self.budget.checked(OPERATORS[operator](left, right))

    def concatenate(self, values: tuple[object, ...]) -> object:
        """The result of `~`."""
        return self.budget.checked(joined(values))

    def charged(self, value: object) -> object:
        """A value that is compared, sliced or written."""
        if not is_short(value):
            self.budget.charge(value)
        return value

    def include(self, root: Callable[[Context], Iterator[str]], context: Context) -> Iterator[str]:
        """The fragments of an included template."""
        self.spend(_TEMPLATE)
        self._include_depth += 1
        if self._include_depth > _MAX_INCLUDE_DEPTH:
            what = f"templates include each other more than {_MAX_INCLUDE_DEPTH} levels deep"
            todo = "remove the circular include"
            raise SecretValueError(what, todo=todo)
        try:
            yield from root(context)
        finally:
            self._include_depth -= 1

    def _undefined(self, obj: Any, name: Any, exc: Any = None) -> Undefined:
        if isinstance(obj, Undefined):
            str(obj)  # Raises, and names what is undefined.
        return self.undefined(obj=obj, name=name, exc=exc)


@pass_context  # It keeps Jinja from folding `{{ "x" }}` into the text during compilation.
def _finalize(context: Context, value: object) -> Fragment:
    if not isinstance(value, str):
        context.environment.budget.charge(value)  # type: ignore[attr-defined]  # It is a Sandbox.
    return fragment_of(value)


class _Loader(BaseLoader):
    """Returns compiled templates, so that an edited file changes nothing."""

    def __init__(self, codes: Mapping[str, Callable[[], CodeType]]) -> None:
        self._codes = codes

    def load(
        self,
        environment: Environment,
        name: str,
        globals: MutableMapping[str, Any] | None = None,  # noqa: A002  # Jinja's name.
    ) -> Template:
        return environment.template_of(self._codes[name](), globals or {})  # type: ignore[attr-defined,no-any-return]


class _Undefined(StrictUndefined):
    """An undefined value. Any use raises an error with the path and its existing keys."""

    __slots__ = ()

    def __init__(self, _hint: str | None = None, obj: Any = missing, name: Any = None, exc: Any = None) -> None:
        # Jinja's own message may contain a value. `exc` is called with it as if it were an exception class.
        super().__init__("undefined", exc=lambda _text: _undefined_error(obj, name, exc))  # type: ignore[arg-type]


def _undefined_error(obj: object, name: object, exc: object) -> SecretValueError:
    if exc is SecurityError:
        return SecretValueError("templates cannot access this attribute", word=name)
    if name is None and obj is missing:
        return SecretValueError("an empty list has no first, last, smallest or greatest item")
    if name is None:
        return SecretValueError("the expression between [ and ] is null", todo="add `| default('…', true)` to it")
    if obj is missing:
        return SecretValueError("undefined variable", word=name)
    if isinstance(obj, ParsedJson):
        return SecretValueError(f"the JSON of {obj.path} has no such key", word=name)
    if isinstance(obj, SecretView):
        # repr, because a key may contain a newline.
        keys = ", ".join(sorted(map(repr, obj))) or "none"
        return SecretValueError(f"{obj.path} has no such key", word=name, more=f"; its keys are: {keys}")
    origin = obj.origin if isinstance(obj, Value) else f"a {type(obj).__name__}"
    return SecretValueError(f"{origin} has no such key", word=name)
