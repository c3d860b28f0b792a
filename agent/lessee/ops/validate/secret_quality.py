"""Checks the secrets: values that are easy to guess, repeated, shared with other environments, or too old."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from lessee.core.errors import LesseeError
from lessee.core.paths import Folder, Ref
from lessee.core.sensitive.names import SecretField, fields, fingerprint, has_password, is_username
from lessee.core.sensitive.weakness import SHORTEST, Weakness, weakness
from lessee.core.severity import Level, overdue_level
from lessee.core.timestamps import parse_timestamp
from lessee.ops.validate import certificates
from lessee.ops.validate.checks import Check, CheckSkippedError, IncompleteCheckError, NotConfiguredError
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.inventory import MAX_SECRETS, Inventory, read_other_environment
from lessee.ops.validate.policy.results import Finding, Reporter, Result, Skip, listed
from lessee.ops.validate.policy.thresholds import spell

_REPORTER = Reporter("secrets")
_UNSET = frozenset({Weakness.EMPTY, Weakness.PLACEHOLDER})
_GUESSABLE = frozenset({Weakness.COMMON, Weakness.NAME_OF_KEY, Weakness.NAME_OF_USER, Weakness.MONOTONOUS})
_SHARE = 0.9
"""Of a check's time, in which other environments are read."""
_SALT = os.urandom(32)
"""Values are compared by their HMAC with it; nothing else of other environments is stored."""
_MIN_LENGTH = 8
"""Shorter values, such as switches and numbers, may be equal by chance."""
_PASSED = {
    "no-placeholders": "no value is empty or a placeholder",
    "not-guessable": "no value is easy to guess",
    "long-enough": f"passwords, keys and tokens have at least {SHORTEST} characters",
}


def checks(context: ValidationContext) -> Iterator[Check]:
    """The checks of all secrets of the environment that the token may read."""
    functions: dict[str, Callable[[ValidationContext], Iterator[Result]]] = {
        "all-read": _check_all_read,
        "no-placeholders": partial(_check_weakness, "no-placeholders", _UNSET),
        "not-guessable": partial(_check_weakness, "not-guessable", _GUESSABLE),
        "long-enough": partial(_check_weakness, "long-enough", frozenset({Weakness.SHORT})),
        "not-repeated": _check_repeated,
        "environments-differ": _check_shared,
        "rotated-on-time": _check_rotated,
        "not-deleted": _check_deleted,
        "no-password-in-urls": _check_urls,
        "certificates-valid": certificates.check_validity,
        "keys-match-certificates": certificates.check_keys,
    }
    for name, function in functions.items():
        yield Check("secrets", (name,), partial(function, context))


def _check_all_read(context: ValidationContext) -> Iterator[Result]:
    inventory, check = context.inventory(), "all-read"
    count = len(inventory.secrets)
    folder = f"{context.scope.mount}/{context.scope.prefix}"
    if not count and not inventory.denied and not inventory.unread:
        raise NotConfiguredError(f"{folder} has no secrets")
    expected = context.expected().items()
    operators = {str(context.scope.secret(path)) for path, why in expected if why.is_only_for_operators}
    # Where the token may list nothing, it is a login that need not read what only operators read.
    denied = [path for path in inventory.denied if inventory.listed or path not in operators]
    if denied:
        text = f"secrets or folders cannot be read ({len(denied)}): {listed(denied)}"
        yield _REPORTER.warning(check, text, "set $VAULT_TOKEN to a token that may read the whole environment")
    elif inventory.unread:
        text = f"only {count} secrets were read: there are more, or the time was too short"
        yield _REPORTER.warning(check, text, f"increase validate.timeout; the maximum is {MAX_SECRETS} secrets")
    elif inventory.listed:
        yield _REPORTER.passed(check, f"all secrets of the environment were read ({count})")
    else:
        text = f"only the secrets that the configuration names were read ({count}): the token may not list {folder}"
        yield _REPORTER.skipped(check, text, Skip.INCOMPLETE)


def _check_weakness(check: str, kinds: frozenset[Weakness], context: ValidationContext) -> Iterator[Result]:
    found = [
        Finding(f"{field} {problem}", frozenset({field}))
        for field, problem in _weaknesses(_inventory(context))
        if problem in kinds
    ]
    if not found:
        yield _REPORTER.passed(check, _PASSED[check])
        return
    todo = "write another value: `lessee set PATH KEY` asks for it, `--generate` creates one"
    level = Level.WARNING if kinds == {Weakness.SHORT} else Level.CRITICAL
    yield _REPORTER.found(check, level, "", found, todo)


def _weaknesses(inventory: Inventory) -> Iterator[tuple[SecretField, Weakness]]:
    for ref, secret in inventory.secrets.items():
        values = list(fields(secret.data))
        users = frozenset(value for key, value in values if is_username(key))
        for key, value in values:
            if key.endswith("_accessor"):
                continue  # A rotator's record of a secret_id: no credential, and empty after an emergency.
            if (problem := weakness(key, value, users)) is not None:
                yield SecretField(str(ref), key), problem


def _check_repeated(context: ValidationContext) -> Iterator[Result]:
    by_value: dict[bytes, list[SecretField]] = {}
    _inventory(context)
    for value, field in _fingerprints(context.values()):
        by_value.setdefault(value, []).append(field)
    found = [
        Finding(" = ".join(map(str, same)), frozenset(same))
        for same in by_value.values()
        if len({field.path for field in same}) > 1
    ]
    if found:
        todo = "give each secret its own value: otherwise a leak of one exposes both, and they must be rotated together"
        yield _REPORTER.found("not-repeated", Level.WARNING, "secrets share values: ", found, todo)
    elif short := context.short_credentials():
        raise IncompleteCheckError(f"no two secrets share a value, but {_too_short(context, short)}")
    else:
        yield _REPORTER.passed("not-repeated", "no two secrets share a value")


def _check_shared(context: ValidationContext) -> Iterator[Result]:
    check, deadline = "environments-differ", time.monotonic() + context.timeout * _SHARE
    folders = context.other_folders()
    _inventory(context)
    own = dict(_fingerprints(context.values()))
    client, version = context.client(), context.kv_version()
    found: list[Finding] = []
    compared: list[str] = []
    closed: list[str] = []
    unread, count = 0, 0
    for other, folder in folders.items():
        left = max(deadline - time.monotonic(), 0)
        inventory = read_other_environment(client, version, Folder(context.scope.mount, folder), left)
        if inventory is None:
            closed.append(other)
            continue
        if not inventory.secrets and not inventory.denied and not inventory.unread:
            continue
        compared.append(other)
        count += len(inventory.secrets)
        unread += len(inventory.denied) + inventory.unread
        found += [
            Finding(f"{own[value]} = {field}", frozenset({own[value]}))
            for value, field in _fingerprints(inventory.values())
            if value in own
        ]
    if found:
        todo = "give each environment its own values: otherwise access to one environment opens the other"
        yield _REPORTER.found(check, Level.CRITICAL, "environments share values: ", found, todo)
    elif compared and unread:
        raise IncompleteCheckError(
            f"no value is also in {', '.join(compared)}, but some secrets could not be read ({unread})"
        )
    elif compared and closed:
        text = f"no value is also in {', '.join(compared)}, but the token may not read {', '.join(closed)}"
        raise IncompleteCheckError(text)
    elif compared and (short := context.short_credentials()):
        raise IncompleteCheckError(f"no value is also in {', '.join(compared)}, but {_too_short(context, short)}")
    elif compared:
        text = f"no value is also in {', '.join(compared)} (secrets compared by HMAC: {count})"
        yield _REPORTER.passed(check, text)
    else:
        raise CheckSkippedError("the token may not read other environments, or they have no secrets")


def _too_short(context: ValidationContext, short: list[SecretField]) -> str:
    count = sum(1 for _ in context.values())
    return f"{len(short)} of {count} {'is' if len(short) == 1 else 'are'} too short to compare: {listed(short)}"


def _fingerprints(values: Iterable[tuple[SecretField, str]]) -> Iterator[tuple[bytes, SecretField]]:
    for field, value in values:
        if len(value) >= _MIN_LENGTH:
            yield fingerprint(value, _SALT), field


def _check_rotated(context: ValidationContext) -> Iterator[Result]:
    ages = list(_ages(context))
    if not ages:
        raise NotConfiguredError("no target in `rotation` has a `rotation_period` and a secret with versions")
    levels = {overdue_level(age, period) for _, age, period in ages}
    found = [
        f"{ref} is {spell(age)} old, with a period of {spell(period)}"
        for ref, age, period in ages
        if overdue_level(age, period)
    ]
    if found:
        report = _REPORTER.critical if Level.CRITICAL in levels else _REPORTER.warning
        yield report("rotated-on-time", listed(found), "rotate it, and see the rotator's log")
    elif len(ages) < (total := sum(target.rotation_period is not None for target in context.config.rotation.values())):
        raise IncompleteCheckError(f"{len(ages)} of {total} secrets were rotated on time; the others could not be read")
    else:
        yield _REPORTER.passed("rotated-on-time", f"all secrets were rotated on time ({len(ages)})")


def _ages(context: ValidationContext) -> Iterator[tuple[Ref, float, float]]:
    """The secrets of rotation targets, with the age of their newest versions and their periods, in seconds."""
    secrets = _inventory(context).secrets
    for target in context.config.rotation.values():
        if target.rotation_period is None:
            continue
        secret = secrets.get(ref := context.scope.secret(target.secret))
        if secret is None or secret.metadata is None:
            continue
        created = parse_timestamp(secret.metadata.created_time)
        if created is not None:
            yield ref, context.now - created, target.rotation_period


def _check_deleted(context: ValidationContext) -> Iterator[Result]:
    inventory = context.inventory()
    try:
        references = context.references()
    except LesseeError:
        raise CheckSkippedError("the templates are invalid") from None
    needed = {need for need in references if isinstance(need, Ref) and not need.version}
    deleted = [Finding(str(ref), frozenset({SecretField(str(ref), "")})) for ref in inventory.deleted if ref in needed]
    if deleted:
        todo = "restore it: `bao kv undelete -versions=N …`, or write it again"
        yield _REPORTER.found("not-deleted", Level.CRITICAL, "templates read deleted secrets: ", deleted, todo)
    elif needed:
        yield _REPORTER.passed("not-deleted", "no secret that templates read is deleted")
    else:
        raise NotConfiguredError("no template reads a secret")


def _check_urls(context: ValidationContext) -> Iterator[Result]:
    found = [
        Finding(str(SecretField(str(ref), key)), frozenset({SecretField(str(ref), key)}))
        for ref, secret in _inventory(context).secrets.items()
        for key, value in fields(secret.data)
        if has_password(value)
    ]
    if found:
        todo = "store the password under its own key, and build the URL in the template: programs log URLs"
        yield _REPORTER.found("no-password-in-urls", Level.WARNING, "URLs contain passwords: ", found, todo)
    else:
        yield _REPORTER.passed("no-password-in-urls", "no URL contains a password")


def _inventory(context: ValidationContext) -> Inventory:
    """Raises CheckSkippedError where no secret was read."""
    inventory, folder = context.inventory(), f"{context.scope.mount}/{context.scope.prefix}"
    if not inventory.secrets and inventory.listed and not inventory.denied and not inventory.unread:
        raise NotConfiguredError(f"{folder} has no secrets")
    if not inventory.secrets:
        raise CheckSkippedError(f"no secret in {folder} could be read")
    return inventory
