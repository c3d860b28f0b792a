"""Translates the functions that read Vault: `secret`, `secrets` and `pkiCert`."""

import re
from collections.abc import Mapping, Sequence

from lessee.core.paths import DynamicSecret
from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import MAP, PRIMARY, Expr, Joined, UnsupportedError, quote
from lessee.ops.migrate.policy.jinja.layout import Layout, PathCollector
from lessee.ops.migrate.policy.jinja.values import Certificate, Response, SecretName, SecretNames, Value
from lessee.ops.migrate.policy.jinja.vault_paths import (
    KvPath,
    check_literal,
    is_dynamic,
    is_of_other_engine,
    is_valid,
    parse_kv_path,
    refuse_of_agent,
)

_TEXT = r'"(?:[^"\\]|\\.)*"'
CALL = re.compile(rf"[a-z]+\({_TEXT}(?:, \w+=(?:{_TEXT}|[0-9]+))*\)")
"""A call that reads a secret, as `query` writes it."""
_ANY_NAME = "<name>"
"""Represents the variable of a loop over a KV folder in a path."""
_COMPUTED = "the path of a secret is computed, and lessee must know it before it renders"
_LITERAL = "write the path as a literal"


def query(
    function: str,
    path: Value,
    parameters: Sequence[str],
    layout: Layout | PathCollector,
    loops: Mapping[str, SecretName],
) -> Value:
    """The result of the function. `loops`: the loops over KV folders, by their variables.

    Raises UnsupportedError for a computed path, or one that lessee does not read.
    """
    text, name = _resolve(path, loops)
    if function == "secrets":
        folder = parse_kv_path(text, is_folder=True)
        return SecretNames(folder, _call("secrets", f"{layout.path(folder, is_folder=True)}/".removeprefix("/")))
    if function == "pkiCert":
        return Certificate(_dynamic("certificate", text, parameters, layout))
    if name is not None:
        return _loop_entry(name, parse_kv_path(text))
    if parameters or is_dynamic(text) or is_of_other_engine(text):
        refuse_of_agent(text)
        function = _function(text.strip("/ "), parameters)
        return Response(text, _dynamic(function, text, parameters, layout), is_kv=False)
    refuse_of_agent(text)
    kv = parse_kv_path(text)
    version = f", version={kv.version}" if kv.version else ""
    return Response(text, _call("secret", layout.path(kv), version), is_api_path=kv.is_api_path)


def _function(path: str, parameters: Sequence[str]) -> str:
    """The function that reads a path that is not of KV."""
    if not is_dynamic(path) or path.startswith("ssh") or not _needed(path, parameters).tells_its_end:
        return "vault"
    return "certificate" if path.split("/")[-2] == "issue" else "dynamic"


def _needed(path: str, parameters: Sequence[str]) -> DynamicSecret:
    return DynamicSecret(path, tuple((parameter.partition("=")[0].strip(), "") for parameter in parameters))


def _resolve(path: Value, loops: Mapping[str, SecretName]) -> tuple[str, SecretName | None]:
    """The path with `${NAME}` for variables of the environment, and the loop whose variable it ends with."""
    match path:
        case Constant(str(text)) if text.strip("/ "):
            return text, None
        case Joined([*parts, Expr(text=variable)]) if variable in loops:
            return _literal(parts) + _ANY_NAME, loops[variable]
        case Joined(parts):
            return _literal(parts), None
        case _:
            return _literal([path]), None


def _literal(parts: Sequence[Value]) -> str:
    texts = []
    for part in parts:
        match part:
            case Constant(str(text)) if "${" not in text:
                texts.append(text)
            case Expr(variable=variable) if variable:
                texts.append(variable)
            case _:
                raise UnsupportedError(_COMPUTED, f"{_LITERAL}, or loop over the folder")
    return "".join(texts)


def _loop_entry(name: SecretName, kv: KvPath) -> Response:
    if kv.mount != name.folder.mount or kv.elements[:-1] != name.folder.elements or kv.elements[-1] != _ANY_NAME:
        raise UnsupportedError("the path of a secret is computed from the names of another folder", _LITERAL)
    return Response("/".join((kv.mount, *kv.elements[:-1])), name.entry, is_api_path=kv.is_api_path)


def _dynamic(function: str, path: str, parameters: Sequence[str], layout: Layout | PathCollector) -> Expr:
    path = path.strip("/ ")
    if "${" in path:
        raise UnsupportedError(f"the path {path!r} is computed, and lessee must know it before it renders", _LITERAL)
    check_literal(path)
    if not is_valid(path.split("/")):
        raise UnsupportedError(f"{path!r} is not the path of a dynamic secret", "write mount/creds/role")
    layout.check_dynamic(path)
    arguments = [_keyword_argument(parameter, function) for parameter in parameters if parameter]
    if function == "vault" and not _needed(path, parameters).tells_its_end:
        arguments.append(f'every="{_INTERVAL}"')
    return _call(function, path, "".join(f", {argument}" for argument in arguments))


def _keyword_argument(parameter: str, function: str) -> str:
    name, equals, value = (part.strip() for part in parameter.partition("="))
    if not equals or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or name in _RESERVED[function]:
        raise UnsupportedError(f"{function}() does not accept the parameter {name!r}", "remove it")
    return f"{name}={quote(value)}"


_PLACE = frozenset({"identity", "namespace", "optional"})
_RESERVED = {
    "certificate": _PLACE | {"key"},
    "dynamic": _PLACE | {"method"},
    "vault": _PLACE | {"every", "method"},
}
_INTERVAL = "5m"
"""As often as Vault Agent and consul-template read what has no lease, by default."""


def _call(function: str, path: str, arguments: str = "") -> Expr:
    return Expr(f"{function}({quote(path)}{arguments})", PRIMARY, MAP)
