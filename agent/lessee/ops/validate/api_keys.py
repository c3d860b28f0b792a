"""Keys of other people's APIs: each is tried by one request that costs nothing or next to it."""

from collections.abc import Iterator
from functools import partial

from lessee.config.grammar.validate import CheckedKey
from lessee.ops.validate.checks import Check, NotLookedError
from lessee.ops.validate.context import Subject
from lessee.ops.validate.http import ask, bare, shown
from lessee.ops.validate.keys import credential
from lessee.ops.validate.policy.recipes import RECIPES, Verdict
from lessee.ops.validate.policy.results import Result, Teller

_TELL = Teller("api_keys")
_NAMES = ("key-present", "key-accepted")
_SHARE = 0.8
"""Of a check's time: the provider's silence is told before the check itself runs out of time."""


def checks(subject: Subject) -> Iterator[Check]:
    """Those of each key that the configuration names."""
    keys = subject.config.validate.api_keys
    for name, said in keys.items():
        yield Check("api_keys", _NAMES, partial(_look, subject, name, said))
    if not keys:
        yield Check("api_keys", _NAMES, _nothing)


def _nothing() -> Iterator[Result]:
    raise NotLookedError("validate.api_keys names none")
    yield


def _look(subject: Subject, name: str, said: CheckedKey) -> Iterator[Result]:
    found = credential(subject, _TELL, "key-present", said.secret, said.key, whose=f"the API key {name}")
    yield found.result
    if found.value:
        yield _try(subject, name, said, found.value)


def _try(subject: Subject, name: str, said: CheckedKey, key: str) -> Result:
    check, provider = "key-accepted", said.recipe or name
    recipe = RECIPES[provider]
    url = said.url or recipe.url
    if bare(url):
        todo = f"write https:// in validate.api_keys.{name}.url"
        return _TELL.critical(check, f"{name}: the key was not sent, for it would cross the network in the clear", todo)
    answer = ask(url, recipe.headers(key), subject.timeout * _SHARE)
    if answer.status is None:
        todo = "see whether this machine reaches it, or validate where it does"
        return _TELL.warning(check, f"{name}: {shown(url)} could not be asked: {answer.why}", todo)
    match recipe.verdict(answer.status):
        case Verdict.VALID:
            return _TELL.passed(check, f"{name}: {shown(url)} accepts the key")
        case Verdict.REFUSED:
            todo = f"make a new one at the provider's, and write it to {subject.space.secret(said.secret)}"
            return _TELL.critical(check, f"{name}: the key is refused by {shown(url)} ({answer.status})", todo)
        case Verdict.LIMITED:
            todo = "see the account's limit and credit at the provider's"
            return _TELL.warning(check, f"{name}: the key is limited by {shown(url)} ({answer.status})", todo)
        case Verdict.UNKNOWN:
            todo = "try again later, and look at the url if it stays so"
            return _TELL.warning(check, f"{name}: {shown(url)} could not be asked: it answers {answer.status}", todo)
