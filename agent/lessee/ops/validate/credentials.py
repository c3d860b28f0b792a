"""Reads the credentials of systems from Vault for their checks."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from lessee.core.errors import DeniedError, LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.core.sensitive.names import SecretField, is_username
from lessee.core.sensitive.weakness import Weakness, weakness
from lessee.host import optional_dependencies
from lessee.ops.validate.checks import CheckSkippedError, NotConfiguredError, UnusableSecretError
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.policy.results import Reporter, Result

_T = TypeVar("_T")
_UNSET = frozenset({Weakness.EMPTY, Weakness.PLACEHOLDER})

library = partial(optional_dependencies.library, extra="validate")
"""A client library of the extra `validate`. Raises LesseeError where it is not installed."""


def read_login(
    context: ValidationContext, path: str, login: Callable[[str, Mapping[str, object]], _T], *, configured: bool
) -> _T:
    """The result of `login` for a secret. Where nothing names it and the system is not `configured`, it need not exist.

    Raises CheckSkippedError where the system is not configured, and LesseeError where a configured one has no usable
    secret.
    """
    where = str(context.scope.secret(path))
    expected = context.expected().get(path)
    configured = configured or expected is not None
    try:
        fields = context.secret(path)
    except DeniedError as exc:
        if configured:
            raise
        raise CheckSkippedError(f"not configured, and {where} cannot be read: {exc.what}") from None
    if fields is None:
        if not configured:
            raise NotConfiguredError(f"not configured: the secret {where} does not exist")
        todo = "write it (`lessee setup` writes what `setup.secrets` names), or set another path in `validate`"
        named = f" (named by {', '.join(expected.sources)})" if expected is not None else ""
        raise UnusableSecretError(f"the secret does not exist{named}", where=where, todo=todo)
    users = _users(fields)
    for key, value in fields.items():
        if isinstance(value, str) and value.strip() and (found := weakness(key, value, users)) in _UNSET:
            todo = "write the value that the system has, or rotate it: `lessee rotate`"
            raise UnusableSecretError(f"{key} {found}", where=where, todo=todo, explains=[SecretField(where, key)])
    try:
        return login(where, fields)
    except LesseeError as exc:
        raise UnusableSecretError(exc.what, where=exc.where or where, todo=exc.todo) from None


def _users(fields: Mapping[str, object]) -> frozenset[str]:
    return frozenset(str(value) for name, value in fields.items() if is_username(name))


class KeyCheck(ImmutableStruct, frozen=True):
    """The result of `check_key`, and the key; empty where it is not usable."""

    hidden = ("value",)

    result: Result
    value: str = ""


def check_key(
    context: ValidationContext, reporter: Reporter, check: str, path: str, key: str, *, subject: str
) -> KeyCheck:
    """Check that a key of a secret has a real value. `subject` names it in the result.

    Raises as `ValidationContext.secret` does.
    """
    secret, ref = context.secret(path), context.scope.secret(path)
    create = "" if secret is not None and key in secret else " --create"
    todo = f"write it: `lessee set {path} {key}{create}`"
    if secret is None:
        text = f"{subject} is not in Vault: the secret {ref} does not exist"
        return KeyCheck(reporter.critical(check, text, todo, explains=[SecretField(str(ref), "")]))
    value = secret.get(key)
    if not isinstance(value, str):
        keys = ", ".join(sorted(secret)) or "none"
        text = f"{subject} is not in Vault: {ref} has no key {key}; its keys: {keys}"
        return KeyCheck(reporter.critical(check, text, todo, explains=[SecretField(str(ref), key)]))
    found = weakness(key, value, _users(secret))
    if found in _UNSET:
        explains = [SecretField(str(ref), key)]
        return KeyCheck(reporter.critical(check, f"{subject} {found} ({ref}: {key})", todo, explains=explains))
    return KeyCheck(reporter.passed(check, f"{subject} is in Vault ({ref}: {key})"), value)
