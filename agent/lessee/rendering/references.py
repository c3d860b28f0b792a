"""Finds the secrets that a template reads in its syntax tree, without running it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from jinja2 import nodes

from lessee.core.errors import DeniedError, TemplateError
from lessee.core.path_scope import PathScope
from lessee.core.paths import Need

FUNCTIONS: Mapping[str, str] = {
    "secret": 'secret("database/postgres")',
    "secrets": 'secrets("api-keys/")',
    "dynamic": 'dynamic("database/creds/simba")',
    "certificate": 'certificate("pki/issue/web", common_name="simba.local", ttl="1h")',
    "env": 'env("HOSTNAME", "none")',
    "fail": 'fail("database/postgres: the password is empty")',
    "vault": 'vault("transit/decrypt/app", ciphertext="vault:v1:…", every="1h")',
}
"""The functions that templates can call, each with an example."""
_MAY_BE_OPTIONAL = FUNCTIONS.keys() - {"env", "fail"}
_PLACE = frozenset({"mount", "namespace", "identity", "source"})
"""The keywords of `secret` and `secrets` that say where the secret is."""


def references_in(nodes_: Sequence[nodes.Node], name: str, scope: PathScope) -> Iterator[Need | TemplateError]:
    """The references in the calls among these nodes, and all errors in them, with file and line."""
    called = set()
    for call in nodes_:
        if isinstance(call, nodes.Call) and isinstance(call.node, nodes.Name) and call.node.name in FUNCTIONS:
            called.add(id(call.node))
            yield from _reference_or_error(call, call.node.name, f"{name}:{call.lineno}", scope)
    for word in nodes_:
        if isinstance(word, nodes.Name) and word.name in FUNCTIONS and id(word) not in called:
            what = f"{word.name} can only be called, as in {FUNCTIONS[word.name]}"
            yield TemplateError(what, where=f"{name}:{word.lineno}", rule="function-not-called")


def optional_in(nodes_: Sequence[nodes.Node], scope: PathScope) -> frozenset[Need]:
    """What only calls with `optional=true` read among these nodes, which have no errors."""
    calls = [node for node in nodes_ if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name)]
    optional = [call for call in calls if any(_is_optional(keyword) for keyword in call.kwargs)]
    required = [call for call in calls if call not in optional] if optional else []
    return frozenset(_needs_in(optional, scope)) - frozenset(_needs_in(required, scope))


def _is_optional(keyword: nodes.Keyword) -> bool:
    return keyword.key == "optional" and isinstance(keyword.value, nodes.Const) and keyword.value.value is True


def _needs_in(calls: Sequence[nodes.Node], scope: PathScope) -> Iterator[Need]:
    return (need for need in references_in(calls, "", scope) if not isinstance(need, TemplateError))


def in_order(needs: Collection[Need]) -> tuple[Need, ...]:
    """These needs in an order that depends on nothing else."""
    return tuple(sorted(needs, key=repr) if len(needs) > 1 else needs)


def _reference_or_error(
    call: nodes.Call, function: str, where: str, scope: PathScope
) -> Iterator[Need | TemplateError]:
    try:
        need = _reference(call, function, where, scope)
    except TemplateError as exc:
        yield exc
    else:
        if need is not None:
            yield need


def _reference(call: nodes.Call, function: str, where: str, scope: PathScope) -> Need | None:
    if function == "vault":
        from lessee.rendering.vault_calls import InvalidFieldError, arguments, requested  # noqa: PLC0415  # Few call it.

        try:
            args, kwargs = arguments(call, scope) or _literals(call, function, where)
        except InvalidFieldError:
            return None  # The call of secret() among its arguments has the error.
    else:
        args, kwargs = _literals(call, function, where)
    if function in _MAY_BE_OPTIONAL and isinstance(kwargs.get("optional"), bool):
        del kwargs["optional"]
    try:
        match function, args, kwargs:
            case "vault", [str()] | [str(), dict()], _ if "optional" not in kwargs:
                return requested(scope, *args, **kwargs)
            case "secret", [str(path)], {"version": int(version), **rest} if _is_place(rest) and version is not True:
                return scope.secret(path, version, **rest)
            case "secret", [str(path)], {**rest} if _is_place(rest):
                return scope.secret(path, **rest)
            case "secrets", [str(path)], {**rest} if _is_place(rest):
                return scope.folder(path, **rest)
            case "dynamic", [str(path)], _ if _are_parameters(kwargs):
                return scope.dynamic(path, **kwargs)
            case "certificate", [str(path)], _ if _are_parameters(kwargs):
                return scope.certificate(path, **kwargs)
            case "env", [str(name)] | [str(name), str()], {**rest} if not rest:
                scope.variables.check(name)
                return None
            case "fail", [str()], {**rest} if not rest:
                return None
    except DeniedError as exc:
        rule = "variable-denied" if function == "env" else "path-denied"
        raise TemplateError(exc.what, where=where, todo=exc.todo, rule=rule) from None
    what, todo = f"{function}() does not accept these arguments", f"write it as {FUNCTIONS[function]}"
    raise TemplateError(what, where=where, todo=todo, rule="wrong-arguments")


def _literals(call: nodes.Call, function: str, where: str) -> tuple[list[Any], dict[str, Any]]:
    arguments = [*call.args, *(keyword.value for keyword in call.kwargs)]
    literal = all(isinstance(argument, nodes.Const) for argument in arguments)
    if not literal or call.dyn_args is not None or call.dyn_kwargs is not None:
        raise TemplateError(
            f"{function}() takes literals only, so that every path is known without running the template",
            where=where,
            todo=f"write the arguments out, as in {FUNCTIONS[function]}",
            rule="path-not-literal",
        )
    args = [argument.value for argument in call.args if isinstance(argument, nodes.Const)]
    kwargs = {k.key: k.value.value for k in call.kwargs if isinstance(k.value, nodes.Const)}
    if len(kwargs) < len(call.kwargs):
        what, todo = f"{function}() has the same keyword twice", "remove one of them"
        raise TemplateError(what, where=where, todo=todo, rule="wrong-arguments")
    return args, kwargs


def _is_place(kwargs: Mapping[str, object]) -> bool:
    return kwargs.keys() <= _PLACE and all(isinstance(value, str) for value in kwargs.values())


def _are_parameters(kwargs: Mapping[str, object]) -> bool:
    return "optional" not in kwargs and all(isinstance(value, str | int) for value in kwargs.values())
