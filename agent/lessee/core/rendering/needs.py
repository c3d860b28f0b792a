"""What a template can read, found in its syntax tree without running it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import nodes

from lessee.core.errors import Refused, TemplateError
from lessee.core.paths import Need, Space

FUNCTIONS: Mapping[str, str] = {
    "secret": 'secret("database/postgres")',
    "secrets": 'secrets("api-keys/")',
    "dynamic": 'dynamic("database/creds/simba")',
    "certificate": 'certificate("pki/issue/web", common_name="simba.local", ttl="1h")',
    "env": 'env("HOSTNAME", "none")',
}
"""What a template can call, each with an example."""


def needs_of(found: Sequence[nodes.Node], name: str, space: Space) -> Iterator[Need]:
    """What the calls among these nodes read. Raises TemplateError that names file and line."""
    called = set()
    for call in found:
        if isinstance(call, nodes.Call) and isinstance(call.node, nodes.Name) and call.node.name in FUNCTIONS:
            called.add(id(call.node))
            need = _need(call, call.node.name, f"{name}:{call.lineno}", space)
            if need is not None:
                yield need
    for word in found:
        if isinstance(word, nodes.Name) and word.name in FUNCTIONS and id(word) not in called:
            what = f"{word.name} may only be called, as in {FUNCTIONS[word.name]}"
            raise TemplateError(what, where=f"{name}:{word.lineno}")


def _need(call: nodes.Call, function: str, where: str, space: Space) -> Need | None:
    args, kwargs = _literals(call, function, where)
    try:
        match function, args, kwargs:
            case "secret", [str(path)], {**rest} if not rest:
                return space.secret(path)
            case "secret", [str(path)], {"version": int(version), **rest} if not rest and version is not True:
                return space.secret(path, version)
            case "secrets", [str(path)], {**rest} if not rest:
                return space.folder(path)
            case "dynamic", [str(path)], _ if _are_parameters(kwargs):
                return space.dynamic(path, **kwargs)
            case "certificate", [str(path)], _ if _are_parameters(kwargs):
                return space.certificate(path, **kwargs)
            case ("env", [str()], {**rest}) | ("env", [str(), str()], {**rest}) if not rest:
                return None
    except Refused as exc:
        raise TemplateError(exc.what, where=where, todo=exc.todo) from None
    raise TemplateError(
        f"{function}() cannot take these arguments", where=where, todo=f"write it as {FUNCTIONS[function]}"
    )


def _literals(call: nodes.Call, function: str, where: str) -> tuple[list[Any], dict[str, Any]]:
    arguments = [*call.args, *(keyword.value for keyword in call.kwargs)]
    literal = all(isinstance(argument, nodes.Const) for argument in arguments)
    if not literal or call.dyn_args is not None or call.dyn_kwargs is not None:
        raise TemplateError(
            f"{function}() takes literals, so that every path is known without running the template",
            where=where,
            todo=f"write them out, as in {FUNCTIONS[function]}",
        )
    args = [argument.value for argument in call.args if isinstance(argument, nodes.Const)]
    kwargs = {k.key: k.value.value for k in call.kwargs if isinstance(k.value, nodes.Const)}
    if len(kwargs) < len(call.kwargs):
        raise TemplateError(f"{function}() has one of its keywords twice", where=where, todo="leave one of them out")
    return args, kwargs


def _are_parameters(kwargs: Mapping[str, object]) -> bool:
    return all(isinstance(value, str | int) for value in kwargs.values())
