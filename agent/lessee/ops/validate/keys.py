"""A credential in Vault that a check is to use: whether it is there, and one at all."""

from lessee.core.immutable import Record
from lessee.core.sensitive.names import is_user
from lessee.core.sensitive.weakness import Weakness, weakness
from lessee.ops.validate.context import Subject
from lessee.ops.validate.policy.results import Result, Teller

_NONE = frozenset({Weakness.EMPTY, Weakness.PLACEHOLDER})


class Found(Record, frozen=True):
    """`value` is empty where there is none to use."""

    hidden = ("value",)

    result: Result
    value: str = ""


def credential(subject: Subject, tell: Teller, check: str, path: str, key: str, *, whose: str) -> Found:
    """Raises as `Subject.secret` does."""
    secret, ref = subject.secret(path), subject.space.secret(path)
    todo = f"write it: `bao kv patch -mount={ref.mount} {ref.path} {key}=-`"
    if secret is None:
        return Found(tell.critical(check, f"{whose} is not in Vault: there is no secret {ref}", todo))
    value = secret.get(key)
    if not isinstance(value, str):
        there = ", ".join(sorted(secret)) or "none"
        return Found(tell.critical(check, f"{whose} is not in Vault: {ref} has no {key}; its keys are: {there}", todo))
    users = frozenset(str(field) for name, field in secret.items() if is_user(name))
    fault = weakness(key, value, users)
    if fault in _NONE:
        return Found(tell.critical(check, f"{whose} {fault} ({ref}: {key})", todo))
    return Found(tell.passed(check, f"{whose} is in Vault ({ref}: {key})"), value)
