"""Checks API keys of providers, each with one request that costs little or nothing."""

from collections.abc import Iterator, Mapping
from functools import partial

from lessee.config.grammar.validate import ApiKeyCheck
from lessee.core.sensitive.names import SecretField
from lessee.ops.validate.checks import Check, CheckSkippedError, NotConfiguredError
from lessee.ops.validate.concurrency import map_concurrently
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.credentials import check_key
from lessee.ops.validate.network import displayed, is_plaintext, send
from lessee.ops.validate.policy.api_keys import ApiKey, find_api_keys
from lessee.ops.validate.policy.providers import PROVIDERS, Provider, Verdict
from lessee.ops.validate.policy.results import Reporter, Result, Skip

_REPORTER = Reporter("api_keys")
_NAMES = ("key-present", "key-accepted")
_SHARE = 0.8
"""Of a check's time: a provider that does not answer is reported before the check itself runs out of time."""
_FOUND_SHARE, _ALL_FOUND_SHARE = 0.25, 0.35
"""The same for each key that is found, and for all of them: before, the environment's secrets are read."""


def checks(context: ValidationContext) -> Iterator[Check]:
    """A check for each configured key, and one for all others that the environment has."""
    keys = context.config.validate.api_keys
    for name, block in keys.items():
        yield Check("api_keys", _NAMES, partial(_check, context, name, block))
    yield Check("api_keys", _NAMES, partial(_check_found, context), optional=bool(keys))


def _check(context: ValidationContext, name: str, block: ApiKeyCheck) -> Iterator[Result]:
    key = check_key(context, _REPORTER, "key-present", block.secret, block.key, subject=f"the API key {name}")
    yield key.result
    if key.value:
        provider = PROVIDERS[block.provider or name]
        yield _verify(context, name, provider, block.url or provider.url, block.secret, key.value, _SHARE)


def _check_found(context: ValidationContext) -> Iterator[Result]:
    """Check the keys that `validate.api_keys` does not name."""
    configured = {block.secret for block in context.config.validate.api_keys.values()}
    secrets = {path: data for path, data in context.secrets().items() if path not in configured}
    found = list(find_api_keys(secrets))
    missing = [path for path in context.missing("api_keys") if path not in configured]
    if not found and not missing:
        if reason := context.overlooked("api-keys"):
            raise CheckSkippedError(reason)
        if configured:
            return
        folder = f"{context.scope.mount}/{context.scope.prefix}api-keys/"
        text = f"{folder} has no secrets, no key is named after a provider, and validate.api_keys is empty"
        raise NotConfiguredError(text)
    if reason := context.overlooked("api-keys"):
        yield _REPORTER.skipped("key-present", reason, Skip.INCOMPLETE)
    for path in missing:
        named = ", ".join(context.expected()[path].sources)
        yield _absent(context, path, f"the API key {path} is not in Vault (named by {named})")
    values: dict[ApiKey, str] = {}
    for one in found:
        if one.key is None:
            keys = ", ".join(sorted(secrets[one.path])) or "none"
            yield _absent(context, one.path, f"{context.scope.secret(one.path)} has no key api_key; its keys: {keys}")
            continue
        key = check_key(context, _REPORTER, "key-present", one.path, one.key, subject=f"the API key {one.name}")
        yield key.result
        if key.value:
            values[one] = key.value
    verify = partial(_verify_found, context, values)
    results = map_concurrently(values, verify, context.timeout * _ALL_FOUND_SHARE)
    for one in values:
        if one in results:
            yield results[one]
        else:
            todo = "increase validate.timeout, or run it again"
            yield _REPORTER.warning("key-accepted", f"{one.name}: its provider did not answer in time", todo)


def _absent(context: ValidationContext, path: str, text: str) -> Result:
    ref = context.scope.secret(path)
    todo = f"write it: `lessee set {path} api_key --create`"
    return _REPORTER.critical("key-present", text, todo, explains=[SecretField(str(ref), "")])


def _verify_found(context: ValidationContext, values: Mapping[ApiKey, str], one: ApiKey) -> Result:
    block = f"validate.api_keys.{one.path.rpartition('/')[2]}"
    if one.provider is None:
        text = f"{one.name}: not tested, because lessee knows no provider of this name; {block}.provider sets it"
        return _REPORTER.skipped("key-accepted", text, Skip.INCOMPLETE)
    if one.elsewhere:
        text = f"{one.name}: not sent to {one.provider}, because its secret names {one.elsewhere}; see {block}.url"
        return _REPORTER.skipped("key-accepted", text, Skip.INCOMPLETE)
    provider = PROVIDERS[one.provider]
    # Where the configuration has requests to a provider sent elsewhere, such as to a proxy, that is for all its keys.
    urls = {block.provider or name: block.url for name, block in context.config.validate.api_keys.items()}
    url = urls.get(one.provider) or provider.url
    return _verify(context, one.name, provider, url, one.path, values[one], _FOUND_SHARE)


def _verify(
    context: ValidationContext, name: str, provider: Provider, url: str, path: str, key: str, share: float
) -> Result:
    check = "key-accepted"
    if is_plaintext(url):
        todo = f"write https:// in validate.api_keys.{name}.url"
        return _REPORTER.critical(check, f"{name}: the key would cross the network without TLS, and was not sent", todo)
    answer = send(url, provider.headers(key), context.timeout * share)
    if answer.status is None:
        todo = "check that this machine can reach it, or run lessee validate where it can"
        return _REPORTER.warning(check, f"{name}: no response from {displayed(url)}: {answer.error}", todo)
    match provider.verdict(answer.status):
        case Verdict.VALID:
            return _REPORTER.passed(check, f"{name}: {displayed(url)} accepts the key")
        case Verdict.REJECTED:
            todo = f"create a new key in the provider's console, and write it to {context.scope.secret(path)}"
            return _REPORTER.critical(check, f"{name}: {displayed(url)} rejects the key ({answer.status})", todo)
        case Verdict.LIMITED:
            todo = "check the account's limit and credit in the provider's console"
            return _REPORTER.warning(check, f"{name}: {displayed(url)} limits the key ({answer.status})", todo)
        case Verdict.UNKNOWN:
            todo = "try again later; if it stays so, check the URL"
            return _REPORTER.warning(check, f"{name}: {displayed(url)} answers {answer.status}", todo)
