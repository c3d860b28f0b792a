"""Checks API keys of providers, each with one request that costs little or nothing."""

from collections.abc import Iterator
from functools import partial

from lessee.config.grammar.validate import ApiKeyCheck
from lessee.ops.validate.checks import Check, CheckSkippedError
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.credentials import check_key
from lessee.ops.validate.network import displayed, is_plaintext, send
from lessee.ops.validate.policy.providers import PROVIDERS, Verdict
from lessee.ops.validate.policy.results import Reporter, Result

_REPORTER = Reporter("api_keys")
_NAMES = ("key-present", "key-accepted")
_SHARE = 0.8
"""Of a check's time: a provider that does not answer is reported before the check itself runs out of time."""


def checks(context: ValidationContext) -> Iterator[Check]:
    """A check for each configured key."""
    keys = context.config.validate.api_keys
    for name, block in keys.items():
        yield Check("api_keys", _NAMES, partial(_check, context, name, block))
    if not keys:
        yield Check("api_keys", _NAMES, _skip)


def _skip() -> Iterator[Result]:
    raise CheckSkippedError("validate.api_keys is empty")
    yield


def _check(context: ValidationContext, name: str, block: ApiKeyCheck) -> Iterator[Result]:
    key = check_key(context, _REPORTER, "key-present", block.secret, block.key, subject=f"the API key {name}")
    yield key.result
    if key.value:
        yield _verify(context, name, block, key.value)


def _verify(context: ValidationContext, name: str, block: ApiKeyCheck, key: str) -> Result:
    check = "key-accepted"
    provider = PROVIDERS[block.provider or name]
    url = block.url or provider.url
    if is_plaintext(url):
        todo = f"write https:// in validate.api_keys.{name}.url"
        return _REPORTER.critical(check, f"{name}: the key would cross the network without TLS, and was not sent", todo)
    answer = send(url, provider.headers(key), context.timeout * _SHARE)
    if answer.status is None:
        todo = "check that this machine can reach it, or run lessee validate where it can"
        return _REPORTER.warning(check, f"{name}: no response from {displayed(url)}: {answer.error}", todo)
    match provider.verdict(answer.status):
        case Verdict.VALID:
            return _REPORTER.passed(check, f"{name}: {displayed(url)} accepts the key")
        case Verdict.REJECTED:
            todo = f"create a new key in the provider's console, and write it to {context.scope.secret(block.secret)}"
            return _REPORTER.critical(check, f"{name}: {displayed(url)} rejects the key ({answer.status})", todo)
        case Verdict.LIMITED:
            todo = "check the account's limit and credit in the provider's console"
            return _REPORTER.warning(check, f"{name}: {displayed(url)} limits the key ({answer.status})", todo)
        case Verdict.UNKNOWN:
            todo = "try again later; if it stays so, check the URL"
            return _REPORTER.warning(check, f"{name}: {displayed(url)} answers {answer.status}", todo)
