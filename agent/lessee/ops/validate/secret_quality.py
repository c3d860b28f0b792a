"""The secrets themselves: values that anybody can guess, that stand where they do not belong, or are too old."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial

from lessee.core.errors import LesseeError
from lessee.core.paths import Folder, Ref
from lessee.core.sensitive.names import Place, fields, fingerprint, has_password, is_user
from lessee.core.sensitive.weakness import SHORTEST, Weakness, weakness
from lessee.core.severity import Level, overdue_level
from lessee.core.timestamps import parse_timestamp
from lessee.ops.validate import certificates
from lessee.ops.validate.checks import Check, NotLookedError
from lessee.ops.validate.context import Subject
from lessee.ops.validate.inventory import MOST, Inventory, take_other
from lessee.ops.validate.policy.results import Result, Teller, several
from lessee.ops.validate.policy.thresholds import spell

_TELL = Teller("secrets")
_UNMEANT = frozenset({Weakness.EMPTY, Weakness.PLACEHOLDER})
_GUESSED = frozenset({Weakness.COMMON, Weakness.NAME_OF_KEY, Weakness.NAME_OF_USER, Weakness.MONOTONOUS})
_SHARE = 0.9
"""Of a check's time, in which other environments are read."""
_SALT = os.urandom(32)
"""Values are compared by HMAC with it: of those of another environment nothing else is kept."""


def checks(subject: Subject) -> Iterator[Check]:
    """Each looks at all secrets of the environment that the token may read."""
    looks: dict[str, Callable[[Subject], Iterator[Result]]] = {
        "all-read": _all_read,
        "no-placeholders": partial(_weak, "no-placeholders", _UNMEANT),
        "not-guessable": partial(_weak, "not-guessable", _GUESSED),
        "long-enough": partial(_weak, "long-enough", frozenset({Weakness.SHORT})),
        "not-repeated": _repeated,
        "environments-differ": _shared,
        "rotated-in-time": _rotated,
        "not-deleted": _deleted,
        "no-password-in-urls": _urls,
        "certificates-valid": certificates.valid,
        "keys-fit-certificates": certificates.fitting,
    }
    for name, look in looks.items():
        yield Check("secrets", (name,), partial(look, subject))


def _all_read(subject: Subject) -> Iterator[Result]:
    found, check = subject.inventory(), "all-read"
    count = len(found.secrets)
    if not count and not found.refused and not found.unseen:
        raise NotLookedError(f"there is no secret in {subject.space.mount}/{subject.space.prefix}")
    if found.refused:
        text = f"{len(found.refused)} secrets or folders may not be read: {several(found.refused)}"
        yield _TELL.warning(check, text, "set $VAULT_TOKEN to a token that may read the whole environment")
    elif found.unseen:
        text = f"only {count} secrets were looked at: there are more, or the time did not suffice for them"
        yield _TELL.warning(check, text, f"raise validate.timeout; no more than {MOST} are looked at")
    elif found.listed:
        yield _TELL.passed(check, f"all {count} secrets of the environment were looked at")
    else:
        text = f"the token may not list {subject.space.mount}/{subject.space.prefix}"
        yield _TELL.passed(check, f"the {count} secrets that the configuration names were looked at; {text}")


def _weak(check: str, kinds: frozenset[Weakness], subject: Subject) -> Iterator[Result]:
    found = [f"{place} {fault}" for place, fault in _weaknesses(_read(subject)) if fault in kinds]
    if not found:
        yield _TELL.passed(check, _SOUND[check])
        return
    todo = "write another value: `lessee setup` generates first ones, `bao kv patch … KEY=-` takes one from stdin"
    tell = _TELL.warning if kinds == {Weakness.SHORT} else _TELL.critical
    yield tell(check, several(found), todo)


_SOUND = {
    "no-placeholders": "no value is empty or a placeholder",
    "not-guessable": "no value is one that everybody tries first",
    "long-enough": f"passwords, keys and tokens have {SHORTEST} characters or more",
}


def _weaknesses(inventory: Inventory) -> Iterator[tuple[Place, Weakness]]:
    for ref, secret in inventory.secrets.items():
        values = list(fields(secret.data))
        users = frozenset(value for key, value in values if is_user(key))
        for key, value in values:
            if (fault := weakness(key, value, users)) is not None:
                yield Place(str(ref), key), fault


def _repeated(subject: Subject) -> Iterator[Result]:
    places: dict[bytes, list[Place]] = {}
    for mark, place in _marks(_read(subject)):
        places.setdefault(mark, []).append(place)
    found = [" = ".join(map(str, same)) for same in places.values() if len({place.path for place in same}) > 1]
    if found:
        todo = "give each its own value: who learns one has both, and one cannot be rotated without the other"
        yield _TELL.warning("not-repeated", f"the same value stands twice: {several(found)}", todo)
    else:
        yield _TELL.passed("not-repeated", "no two secrets share a value")


def _shared(subject: Subject) -> Iterator[Result]:
    check, deadline = "environments-differ", time.monotonic() + subject.timeout * _SHARE
    folders = subject.other_folders()
    ours = dict(_marks(_read(subject)))
    client, version = subject.client(), subject.kv_version()
    looked, found, count = [], [], 0
    for other, folder in folders.items():
        left = max(deadline - time.monotonic(), 0)
        theirs = take_other(client, version, Folder(subject.space.mount, folder), left)
        if theirs is None or not theirs.secrets:
            continue
        looked.append(other)
        count += len(theirs.secrets)
        found += [f"{ours[mark]} = {place}" for mark, place in _marks(theirs) if mark in ours]
    if found:
        todo = "give each environment a value of its own: who has the one of a lesser one has this one too"
        yield _TELL.critical(check, f"a value stands in two environments: {several(found)}", todo)
    elif looked:
        yield _TELL.passed(check, f"no value stands in {', '.join(looked)} too ({count} secrets compared by HMAC)")
    else:
        raise NotLookedError("the token may not read other environments, or there is nothing in them")


def _marks(inventory: Inventory) -> Iterator[tuple[bytes, Place]]:
    for place, value in inventory.values():
        # What is short, such as a switch or a number, is alike by chance.
        if len(value) >= _LEAST:
            yield fingerprint(value, _SALT), place


_LEAST = 8


def _rotated(subject: Subject) -> Iterator[Result]:
    ages = list(_ages(subject))
    if not ages:
        raise NotLookedError("`rotation` names no secret with `every` of which there are versions")
    levels = {overdue_level(age, every) for _, age, every in ages}
    if found := [f"{ref} is {spell(age)} old, not {spell(every)}" for ref, age, every in ages if overdue_level(age, every)]:
        tell = _TELL.critical if Level.CRITICAL in levels else _TELL.warning
        yield tell("rotated-in-time", several(found), "rotate it, and see why it was not")
    else:
        yield _TELL.passed("rotated-in-time", f"what is to be rotated is no older than it may be ({len(ages)})")


def _ages(subject: Subject) -> Iterator[tuple[Ref, float, float]]:
    """Of what is to be rotated: how old its newest version is, and how old it may be, in seconds."""
    found = _read(subject).secrets
    for one in subject.config.rotation.values():
        if one.every is None:
            continue
        secret = found.get(ref := subject.space.secret(one.secret))
        made = parse_timestamp(secret.marker.created) if secret is not None and secret.marker is not None else None
        if made is not None:
            yield ref, subject.now - made, one.every


def _deleted(subject: Subject) -> Iterator[Result]:
    inventory = subject.inventory()
    try:
        needs = subject.needs()
    except LesseeError:
        raise NotLookedError("the templates are wrong") from None
    needed = {need for need in needs if isinstance(need, Ref) and not need.version}
    gone = [str(ref) for ref in inventory.deleted if ref in needed]
    if gone:
        todo = "bring it back: `bao kv undelete -versions=N …`, or write it anew"
        yield _TELL.critical("not-deleted", f"a template reads what is deleted: {several(gone)}", todo)
    elif needed:
        yield _TELL.passed("not-deleted", "nothing that a template reads is deleted")
    else:
        raise NotLookedError("no template reads a secret")


def _urls(subject: Subject) -> Iterator[Result]:
    found = [
        str(Place(str(ref), key))
        for ref, secret in _read(subject).secrets.items()
        for key, value in fields(secret.data)
        if has_password(value)
    ]
    if found:
        todo = "keep the password under a key of its own, and put the URL together in the template"
        yield _TELL.warning("no-password-in-urls", f"a URL holds a password: {several(found)}", todo)
    else:
        yield _TELL.passed("no-password-in-urls", "no URL holds a password, which its readers would log")


def _read(subject: Subject) -> Inventory:
    """Raises NotLookedError where there is nothing to judge."""
    inventory = subject.inventory()
    if not inventory.secrets:
        raise NotLookedError(f"there is no secret to be read in {subject.space.mount}/{subject.space.prefix}")
    return inventory
