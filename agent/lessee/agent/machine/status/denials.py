"""What to do about a path that Vault denies: its policy lacks the path, or the path has a typo.

Vault answers alike for a path that the policy denies and for one that does not exist.
"""

from collections.abc import Iterator

from lessee.agent.machine.state import State
from lessee.core.paths import DynamicSecret, Need

_MAX_TYPO = 3
"""Letters in a row by which an element of a path may differ from the one that was meant."""
MAX_SUGGESTIONS = 10
"""Denied paths that are compared with all others. A policy without anything denies thousands."""


def policy_remedy(need: Need | None = None, meant: str | None = None) -> str:
    """What to do about a path that is denied; `meant` is a similar one that is not."""
    capability = need.capability if isinstance(need, DynamicSecret) else "read"
    grant = f"grant `{capability}` in the token's policy (`lessee check --policy` prints it)"
    return f"{grant}, or correct the path" + (f": did you mean {meant}?" if meant else "")


def similar_path(state: State, need: Need) -> str | None:
    """A path that differs by a typo from this one, and that Vault has returned or listed, or not answered for yet."""
    denied = str(need)
    return min((path for path in _available(state) if _is_typo(denied, path)), default=None)


def _available(state: State) -> Iterator[str]:
    # One that was not read yet counts: a one-shot command ends with the first denial.
    known = (ref for ref, secret in state.secrets.items() if secret.secret is not None or secret.failure is None)
    yield from map(str, known)
    for name, folder in state.folders.items():
        yield from (str(name.ref(secret)) for secret in (*(folder.names or ()), *(folder.listing or ())))
    yield from (str(need) for need, issuance in state.issuances.items() if issuance.lease is not None)


def _is_typo(one: str, other: str) -> bool:
    elements = list(zip(one.split("/"), other.split("/"), strict=False))
    different = [pair for pair in elements if pair[0] != pair[1]]
    return one.count("/") == other.count("/") and len(different) == 1 and _is_similar(*different[0])


def _is_similar(one: str, other: str) -> bool:
    longest, shortest = max(len(one), len(other)), min(len(one), len(other))
    before = _common(one, other)
    after = min(_common(one[::-1], other[::-1]), shortest - before)
    return longest - before - after <= min(_MAX_TYPO, longest // 2)


def _common(one: str, other: str) -> int:
    """How many of their first letters are equal."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
