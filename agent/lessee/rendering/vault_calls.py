"""Calls of vault() in templates: what they request, and when they request it again."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from jinja2 import nodes

from lessee.config.durations import seconds
from lessee.core.errors import DeniedError
from lessee.core.path_scope import PathScope
from lessee.core.paths import DynamicSecret, Input, Method, Parameter, Ref

MIN_INTERVAL = 1.0
MAX_INTERVAL = 10 * 366 * 86400.0
"""Seconds: ten years."""
_METHODS: Mapping[object, Method] = {"GET": "GET", "POST": "POST", "LIST": "LIST"}


class _NotLiteralError(Exception):
    pass


class InvalidFieldError(_NotLiteralError):
    """The secret of a parameter cannot be read; the error of its own call says why."""


def arguments(call: nodes.Call, scope: PathScope) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments: literals, lists and mappings of them, and fields of KV secrets.

    None if one is computed in another way, or a keyword occurs twice. Raises InvalidFieldError.
    """
    keywords = {keyword.key: keyword.value for keyword in call.kwargs}
    if len(keywords) < len(call.kwargs) or call.dyn_args is not None or call.dyn_kwargs is not None:
        return None
    try:
        return [_value(node) for node in call.args], {
            name: _value_or_field(node, scope) for name, node in keywords.items()
        }
    except InvalidFieldError:
        raise
    except _NotLiteralError:
        return None


def bind_fields(found: Iterable[nodes.Node], scope: PathScope) -> None:
    """Have calls name the fields of secrets among their arguments, instead of reading them while a template runs."""
    for node in found:
        match node:
            case nodes.Call(node=nodes.Name(name="vault")):
                for keyword in node.kwargs:
                    with suppress(_NotLiteralError):
                        value = _value_or_field(keyword.value, scope)
                        if isinstance(value, tuple):
                            keyword.value = _tuple(value)
            case _:
                pass


def requested(
    scope: PathScope,
    path: str,
    body: Mapping[str, object] | None = None,
    /,
    *,
    method: object = None,
    every: object = None,
    namespace: object = None,
    identity: object = None,
    **params: object,
) -> DynamicSecret:
    """What `vault(path, …)` requests: by POST with parameters, else by GET, or as `method` says.

    `body` takes parameters with the names of keywords. Raises DeniedError, also for what cannot be sent.
    """
    if identity is not None:
        scope = scope.of_identity(_text("identity", identity))
    sent = {**(body or {}), **params}
    if len(sent) < len(body or {}) + len(params):
        raise DeniedError("vault() has the same parameter twice", todo="remove one of them")
    return scope.any_path(
        path,
        method=_method(method, sent),
        params={name: value for name, value in sent.items() if isinstance(value, Parameter)},
        body=_json({name: value for name, value in sent.items() if not isinstance(value, Parameter | tuple)}),
        inputs=tuple(_input(name, value) for name, value in sorted(sent.items()) if isinstance(value, tuple)),
        every=_interval(every),
        namespace=None if namespace is None else _text("namespace", namespace),
    )


def _text(keyword: str, value: object) -> str:
    if not isinstance(value, str):
        raise DeniedError(f"{keyword} is not a name", todo=f'write it as {keyword}="NAME"')
    return value


def _method(method: object, sent: Mapping[str, object]) -> Method:
    if method is None:
        return "POST" if sent else "GET"
    found = _METHODS.get(method) if isinstance(method, str) else None
    if found is None:
        todo = 'omit it, or write method="LIST", or method="POST" for a POST without parameters'
        raise DeniedError('the method is neither "GET" nor "POST" nor "LIST"', todo=todo)
    if sent and found != "POST":
        raise DeniedError(f'method="{found}" sends no parameters', todo="omit the method or the parameters")
    return found


def _json(structures: Mapping[str, Any]) -> str:
    if not structures:
        return ""
    try:
        return msgspec.json.encode(structures, order="sorted").decode()
    except (UnicodeEncodeError, RecursionError):
        todo = "write characters themselves, and fewer levels"
        raise DeniedError("a parameter cannot be sent", todo=todo) from None


def _interval(every: object) -> float | None:
    """Seconds; 0 for never, and None without it."""
    if every is None:
        return None
    if every == "never":
        return 0.0
    try:
        found = seconds(every if isinstance(every, str) else "")
    except ValueError:
        raise DeniedError("`every` is not a duration", todo='write every="5m", or every="never"') from None
    if not MIN_INTERVAL <= found <= MAX_INTERVAL:
        raise DeniedError("`every` is shorter than 1s, or longer than ten years", todo='write every="5m"')
    return found


def _value_or_field(node: nodes.Node, scope: PathScope) -> object:
    try:
        return _value(node)
    except _NotLiteralError:
        return _field(node, scope)


_Field = tuple[str, str, int | None, str, tuple[str, ...], bool]
"""Mount, path, version and identity of a secret, the names of its fields, and whether the value is sent as base64."""


def _field(node: nodes.Node, scope: PathScope) -> _Field:
    """The field of a secret that an expression reads, such as `secret("a").b | b64encode`.

    Raises _NotLiteralError, and InvalidFieldError.
    """
    keys: list[str] = []
    encoded = False
    match node:
        case nodes.Filter(node=nodes.Expr() as inner, name="b64encode", args=[], kwargs=[]):
            node, encoded = inner, True
        case _:
            pass
    while True:
        match node:
            case nodes.Getattr(node=inner, attr=key) | nodes.Getitem(node=inner, arg=nodes.Const(value=str(key))):
                keys.insert(0, key)
                node = inner
            case nodes.Call(node=nodes.Name(name="secret")) if keys:
                break
            case _:
                raise _NotLiteralError
    from lessee.rendering.references import references_in  # noqa: PLC0415  # It imports this module.

    match list(references_in([node], "", scope)):
        case [Ref(mount, path, version, identity)]:
            return mount, path, version, identity, tuple(keys), encoded
        case _:
            raise InvalidFieldError


def _input(name: str, field: _Field) -> Input:
    mount, path, version, identity, keys, encoded = field
    return Input(name, Ref(mount, path, version, identity), keys, encoded)


def _tuple(value: tuple[object, ...]) -> nodes.Tuple:
    return nodes.Tuple([_tuple(item) if isinstance(item, tuple) else nodes.Const(item) for item in value], "load")


def _value(node: nodes.Node) -> object:
    match node:
        case nodes.Const(value=value):
            return value
        case nodes.Neg(node=nodes.Const(value=int() | float() as value)) if not isinstance(value, bool):
            return -value
        case nodes.List(items=items):
            return [_value(item) for item in items]
        case nodes.Dict(items=pairs) if all(_is_text(pair.key) for pair in pairs):
            return {_value(pair.key): _value(pair.value) for pair in pairs}
        case _:
            raise _NotLiteralError


def _is_text(key: nodes.Node) -> bool:
    """Whether it can be the name of a field in JSON."""
    return isinstance(key, nodes.Const) and isinstance(key.value, str)
