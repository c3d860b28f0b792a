"""Rows from the configuration: ages of secrets against their rotation periods, and weak settings."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from lessee.audit_trail.policy.actions import rfc3339
from lessee.config import Config
from lessee.config.durations import spell
from lessee.core.immutable import ImmutableStruct
from lessee.ops.audit.policy.rows import Row, Section
from lessee.ops.rotate.policy.schedule import due_at, schedule_of

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_DAY = 86400.0


class SecretAge(ImmutableStruct, frozen=True):
    """When a secret was last changed, in seconds since 1970, and the source of that. 0: the secret does not exist.

    `target`: the key in `rotation` of the target that rotates it.
    """

    environment: str
    secret: str
    changed_at: float
    source: str
    target: str | None = None
    problem: str = ""
    """Why the age is not known."""


def rotation_rows(config: Config, ages: Iterable[SecretAge], now: float) -> Iterator[Row]:
    """A row for the age of each secret; an overdue or missing rotation also gets an exception."""
    for age in ages:
        rotation = config.rotation[age.target] if age.target is not None else None
        time = rfc3339(age.changed_at) if age.changed_at else ""
        target, source = age.target or "", age.source
        if age.problem:
            yield Row(
                Section.EXCEPTIONS, age.environment, target, age.secret, f"age unknown: {age.problem}", "", source
            )
            continue
        text = f"{spell_age(now - age.changed_at)} old" if age.changed_at else "missing"
        if rotation is None or rotation.rotation_period is None:
            why = "no rotation_period" if rotation is not None else "no target rotates it"
            yield Row(Section.ROTATION, age.environment, target, age.secret, f"{text}; {why}", time, source)
            yield Row(
                Section.EXCEPTIONS, age.environment, target, age.secret, f"no rotation: {why}; {text}", time, source
            )
            continue
        source = f"{source}, rotation.{age.target}.rotation_period"
        overdue = now - due_at(schedule_of(rotation), age.changed_at, 1.0) if age.changed_at else 0.0
        detail = f"{text}; every {spell(rotation.rotation_period)}"
        if overdue > 0:
            detail += f": OVERDUE by {spell_age(overdue)}"
        if overdue > 0 or not age.changed_at:
            yield Row(Section.EXCEPTIONS, age.environment, target, age.secret, detail, time, source)
        yield Row(Section.ROTATION, age.environment, target, age.secret, detail, time, source)


def weak_settings(config: Config, source: str) -> Iterator[Row]:
    """An exception for each setting that weakens security."""
    found = []
    url = urlsplit(config.vault.address)
    if config.vault.tls_skip_verify:
        found.append(("vault.tls_skip_verify", "Vault's certificate is not verified"))
    if url.scheme == "http" and url.hostname not in _LOCAL:
        found.append(("vault.address", "the connection to Vault has no TLS"))
    if config.allow_disk:
        found.append(("allow_disk", "tokens and leases may be stored on a disk"))
    found += [
        (f"apps.{name}.allow_disk", "secrets may be stored on a disk")
        for name, app in config.apps.items()
        if app.allow_disk
    ]
    listen = config.status.listen
    if listen is not None and listen.token_file is None:
        found.append(("status.allow_unauthenticated", "the status is readable without authentication"))
    if config.audit_trail is None:
        found.append(("audit_trail", "actions are not recorded"))
    elif not config.audit_trail.required:
        found.append(("audit_trail.required", "operator actions proceed even if they cannot be recorded"))
    for key, item in found:
        yield Row(Section.EXCEPTIONS, "", "", item, "", "", f"{source}: {key}")


def spell_age(seconds: float) -> str:
    """An age in days, hours or minutes."""
    if seconds >= 2 * _DAY:
        return f"{int(seconds / _DAY)}d"
    hours = int(seconds / 3600)
    return f"{hours}h" if hours >= 1 else f"{max(0, int(seconds / 60))}m"
