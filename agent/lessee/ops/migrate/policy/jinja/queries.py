"""The functions of a Go template that read Vault."""

import re
from collections.abc import Mapping, Sequence

from lessee.ops.migrate.policy.golang.nodes import Constant
from lessee.ops.migrate.policy.jinja.expressions import MAP, PRIMARY, Expr, Joined, LostError, quote
from lessee.ops.migrate.policy.jinja.layout import Layout, Survey
from lessee.ops.migrate.policy.jinja.values import Answer, Certificate, Name, Names, Value
from lessee.ops.migrate.policy.jinja.vault_paths import Kv, is_issued, is_nameable, kv_of, refuse_unleased

_ENTRY = "<name>"
"""Stands in a path for a name of which a loop has many."""


def asked(
    function: str, path: Value, parameters: Sequence[str], layout: Layout | Survey, loops: Mapping[str, Name]
) -> Value:
    """What `secret`, `secrets` or `pkiCert` gives. `loops`: the names that loops go over, by their variables.

    Raises LostError for a path that is not known before, or that lessee does not read.
    """
    text, name = _spelled(path, loops)
    if function == "secrets":
        folder = kv_of(text, listed=True)
        return Names(folder, _call("secrets", f"{layout.path(folder, folder=True)}/".removeprefix("/")))
    if function == "pkiCert":
        return Certificate(_issued("certificate", text, parameters, layout))
    if name is not None:
        return _entry(name, kv_of(text))
    if parameters or is_issued(text):
        refuse_unleased(text)
        function = "certificate" if text.strip("/").split("/")[-2:-1] == ["issue"] else "dynamic"
        return Answer(text, _issued(function, text, parameters, layout), is_kv=False)
    refuse_unleased(text)
    kv = kv_of(text)
    version = f", version={kv.version}" if kv.version else ""
    return Answer(text, _call("secret", layout.path(kv), version), explicit=kv.explicit)


def _spelled(path: Value, loops: Mapping[str, Name]) -> tuple[str, Name | None]:
    """The path, with `${NAME}` for a variable of the environment, and the one of many that it ends with."""
    match path:
        case Constant(str(text)) if text.strip("/ "):
            return text, None
        case Joined([*parts, Expr(text=variable)]) if variable in loops:
            return _literal(parts) + _ENTRY, loops[variable]
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
                todo = "write it out, or loop over the folder"
                raise LostError("the path of a secret is computed, and lessee knows them all beforehand", todo)
    return "".join(texts)


def _entry(name: Name, kv: Kv) -> Answer:
    if kv.mount != name.folder.mount or kv.elements[:-1] != name.folder.elements or kv.elements[-1] != _ENTRY:
        raise LostError("the path of a secret is computed from the names in another folder", "write it out")
    return Answer("/".join((kv.mount, *kv.elements[:-1])), name.entry, explicit=kv.explicit)


def _issued(function: str, path: str, parameters: Sequence[str], layout: Layout | Survey) -> Expr:
    path = path.strip("/ ")
    if "${" in path:
        raise LostError(f"the path {path!r} is computed, and lessee knows them all beforehand", "write it out")
    if not is_nameable(path.split("/")):
        raise LostError(f"{path!r} is no path of what Vault makes", "write mount/creds/role")
    layout.refuse_issued(path)
    words = [_keyword(parameter, function) for parameter in parameters if parameter]
    return _call(function, path, "".join(f", {word}" for word in words))


def _keyword(parameter: str, function: str) -> str:
    name, equals, value = (part.strip() for part in parameter.partition("="))
    if not equals or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or name == _RESERVED.get(function):
        raise LostError(f"the parameter {name!r} cannot be given to {function}()", "leave it out")
    return f"{name}={quote(value)}"


_RESERVED = {"certificate": "key", "dynamic": "method"}


def _call(function: str, path: str, more: str = "") -> Expr:
    return Expr(f"{function}({quote(path)}{more})", PRIMARY, MAP)
