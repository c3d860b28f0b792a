"""Checks the secrets: values that are easy to guess, repeated, shared with other environments, or too old."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial

from lessee.core.errors import LesseeError
from lessee.core.paths import Folder, Ref
from lessee.core.sensitive.names import SecretField, fields, fingerprint, has_password, is_username
from lessee.core.sensitive.weakness import SHORTEST, Weakness, weakness
from lessee.core.severity import Level, overdue_level
from lessee.core.timestamps import parse_timestamp
from lessee.ops.validate import certificates
from lessee.ops.validate.checks import Check, CheckSkippedError
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.inventory import MAX_SECRETS, Inventory, read_other_environment
from lessee.ops.validate.policy.results import Reporter, Result, listed
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
        raise CheckSkippedError(f"{folder} has no secrets")
    if inventory.denied:
        text = f"{len(inventory.denied)} secrets or folders cannot be read: {listed(inventory.denied)}"
        yield _REPORTER.warning(check, text, "set $VAULT_TOKEN to a token that may read the whole environment")
    elif inventory.unread:
        text = f"only {count} secrets were read: there are more, or the time was too short"
        yield _REPORTER.warning(check, text, f"increase validate.timeout; the maximum is {MAX_SECRETS} secrets")
    elif inventory.listed:
        yield _REPORTER.passed(check, f"all {count} secrets of the environment were read")
    else:
        text = f"{count} secrets that the configuration names were read; the token may not list {folder}"
        yield _REPORTER.passed(check, text)


def _check_weakness(check: str, kinds: frozenset[Weakness], context: ValidationContext) -> Iterator[Result]:
    found = [f"{field} {problem}" for field, problem in _weaknesses(_inventory(context)) if problem in kinds]
    if not found:
        yield _REPORTER.passed(check, _PASSED[check])
        return
    todo = "write another value: `lessee setup` generates initial ones, `bao kv patch … KEY=-` reads one from stdin"
    report = _REPORTER.warning if kinds == {Weakness.SHORT} else _REPORTER.critical
    yield report(check, listed(found), todo)


def _weaknesses(inventory: Inventory) -> Iterator[tuple[SecretField, Weakness]]:
    for ref, secret in inventory.secrets.items():
        values = list(fields(secret.data))
        users = frozenset(value for key, value in values if is_username(key))
        for key, value in values:
            if (problem := weakness(key, value, users)) is not None:
                yield SecretField(str(ref), key), problem


def _check_repeated(context: ValidationContext) -> Iterator[Result]:
    by_value: dict[bytes, list[SecretField]] = {}
    for value, field in _fingerprints(_inventory(context)):
        by_value.setdefault(value, []).append(field)
    found = [" = ".join(map(str, same)) for same in by_value.values() if len({field.path for field in same}) > 1]
    if found:
        todo = "give each secret its own value: otherwise a leak of one exposes both, and they must be rotated together"
        yield _REPORTER.warning("not-repeated", f"secrets share values: {listed(found)}", todo)
    else:
        yield _REPORTER.passed("not-repeated", "no two secrets share a value")


def _check_shared(context: ValidationContext) -> Iterator[Result]:
    check, deadline = "environments-differ", time.monotonic() + context.timeout * _SHARE
    folders = context.other_folders()
    own = dict(_fingerprints(_inventory(context)))
    client, version = context.client(), context.kv_version()
    compared, found, count = [], [], 0
    for other, folder in folders.items():
        left = max(deadline - time.monotonic(), 0)
        inventory = read_other_environment(client, version, Folder(context.scope.mount, folder), left)
        if inventory is None or not inventory.secrets:
            continue
        compared.append(other)
        count += len(inventory.secrets)
        found += [f"{own[value]} = {field}" for value, field in _fingerprints(inventory) if value in own]
    if found:
        todo = "give each environment its own values: otherwise access to one environment opens the other"
        yield _REPORTER.critical(check, f"environments share values: {listed(found)}", todo)
    elif compared:
        text = f"no value is also in {', '.join(compared)} ({count} secrets compared by HMAC)"
        yield _REPORTER.passed(check, text)
    else:
        raise CheckSkippedError("the token may not read other environments, or they have no secrets")


def _fingerprints(inventory: Inventory) -> Iterator[tuple[bytes, SecretField]]:
    for field, value in inventory.values():
        if len(value) >= _MIN_LENGTH:
            yield fingerprint(value, _SALT), field


def _check_rotated(context: ValidationContext) -> Iterator[Result]:
    ages = list(_ages(context))
    if not ages:
        raise CheckSkippedError("no target in `rotation` has a `rotation_period` and a secret with versions")
    levels = {overdue_level(age, period) for _, age, period in ages}
    found = [
        f"{ref} is {spell(age)} old, with a period of {spell(period)}"
        for ref, age, period in ages
        if overdue_level(age, period)
    ]
    if found:
        report = _REPORTER.critical if Level.CRITICAL in levels else _REPORTER.warning
        yield report("rotated-on-time", listed(found), "rotate it, and see the rotator's log")
    else:
        yield _REPORTER.passed("rotated-on-time", f"all {len(ages)} secrets were rotated on time")


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
    deleted = [str(ref) for ref in inventory.deleted if ref in needed]
    if deleted:
        todo = "restore it: `bao kv undelete -versions=N …`, or write it again"
        yield _REPORTER.critical("not-deleted", f"templates read deleted secrets: {listed(deleted)}", todo)
    elif needed:
        yield _REPORTER.passed("not-deleted", "no secret that templates read is deleted")
    else:
        raise CheckSkippedError("no template reads a secret")


def _check_urls(context: ValidationContext) -> Iterator[Result]:
    found = [
        str(SecretField(str(ref), key))
        for ref, secret in _inventory(context).secrets.items()
        for key, value in fields(secret.data)
        if has_password(value)
    ]
    if found:
        todo = "store the password under its own key, and build the URL in the template: programs log URLs"
        yield _REPORTER.warning("no-password-in-urls", f"URLs contain passwords: {listed(found)}", todo)
    else:
        yield _REPORTER.passed("no-password-in-urls", "no URL contains a password")


def _inventory(context: ValidationContext) -> Inventory:
    """Raises CheckSkippedError where no secret was read."""
    inventory = context.inventory()
    if not inventory.secrets:
        raise CheckSkippedError(f"no secret in {context.scope.mount}/{context.scope.prefix} could be read")
    return inventory
