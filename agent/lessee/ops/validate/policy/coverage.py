"""Which components a validation did not look at, or only in part, and which of those it must look at."""

from collections.abc import Iterable, Iterator

from lessee.ops.validate.policy.results import Reporter, Result, Skip

CHECK = "expected"
"""The check of a component that must be looked at."""
_NOT_CONFIGURED = "not configured"
_ORDER = (Skip.INCOMPLETE, Skip.IMPOSSIBLE, Skip.CONSEQUENCE, Skip.NOT_CONFIGURED)
"""Which reason is that of a component without a result, the first of these."""
_NOTHING = "the configuration has nothing that it checks"


def unseen_components(results: Iterable[Result]) -> Iterator[tuple[str, Skip, str]]:
    """The components of which nothing was looked at: each with the reason, and the text of one skipped check.

    A component is not configured where none of its checks has another reason.
    """
    return (one for one in _without_result(results) if one[1] is not Skip.INCOMPLETE)


def partly_seen_components(results: Iterable[Result]) -> list[str]:
    """The components with a check that found no failure, but could not check everything."""
    return list(dict.fromkeys(result.component for result in results if result.skip is Skip.INCOMPLETE))


def _without_result(results: Iterable[Result]) -> Iterator[tuple[str, Skip, str]]:
    """The components without any result that passed or failed. INCOMPLETE: something of them was looked at."""
    by_component: dict[str, list[Result]] = {}
    for result in results:
        by_component.setdefault(result.component, []).append(result)
    for component, several in by_component.items():
        looked = [result for result in several if result.check != CHECK]
        if not looked:
            yield component, Skip.NOT_CONFIGURED, _NOTHING
        elif all(result.passed is None for result in looked):
            first = min(looked, key=lambda result: _ORDER.index(result.skip or Skip.IMPOSSIBLE))
            yield component, first.skip or Skip.IMPOSSIBLE, first.text


def unseen_line(results: Iterable[Result]) -> str:
    """The first line of the summary."""
    several = list(results)
    unseen = list(unseen_components(several))
    partly = partly_seen_components(several)
    in_part = f"; only in part: {', '.join(partly)}" if partly else ""
    if not unseen:
        count = len({result.component for result in several})
        if not count:
            return "NOT LOOKED AT: the configuration has nothing that these components check"
        return f"LOOKED AT: {f'all {count} components' if count != 1 else 'the component'}{in_part}"
    reasons: dict[str, list[str]] = {}
    for component, skip, text in unseen:
        reason = _NOT_CONFIGURED if skip is Skip.NOT_CONFIGURED else f"could not be looked at: {text}"
        reasons.setdefault(reason, []).append(component)
    parts = (f"{', '.join(components)} ({reason})" for reason, components in reasons.items())
    return f"NOT LOOKED AT: {'; '.join(parts)}{in_part}"


def require(results: Iterable[Result], expected: Iterable[str]) -> list[Result]:
    """The results, with a failure for each component that is `expected`, but has no result that passed or failed."""
    several = list(results)
    unseen = {component: (skip, text) for component, skip, text in _without_result(several)}
    found: list[Result] = []
    wanted = dict.fromkeys(expected)
    empty = wanted.keys() - {result.component for result in several}
    for result in several:
        if result.component in wanted.keys() & unseen.keys():
            del wanted[result.component]
            found.append(_missing(result.component, *unseen[result.component]))
        found.append(result)
    return found + [_missing(component, Skip.IMPOSSIBLE, _NOTHING) for component in wanted if component in empty]


def _missing(component: str, skip: Skip, text: str) -> Result:
    if skip is Skip.NOT_CONFIGURED:
        todo = f"write its secret, or name it in the block `validate`, or run it without --expect {component}"
    else:
        todo = f"correct what the text says, or omit --expect {component}"
    how = "was looked at only in part" if skip is Skip.INCOMPLETE else "was not looked at"
    return Reporter(component).critical(CHECK, f"{component} is expected, and {how}: {text}", todo)
