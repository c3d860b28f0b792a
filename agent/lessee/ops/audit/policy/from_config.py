"""What the configuration promises, held against what is: ages of secrets, and settings that weaken it."""

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


class Age(ImmutableStruct, frozen=True):
    """When a secret was last changed, in seconds since 1970, and where that stands. `changed_at` 0: it is not there.

    `target`: what rotates it, by its name in `rotation:`.
    """

    environment: str
    secret: str
    changed_at: float
    source: str
    target: str | None = None
    missing: str = ""
    """Why it is not known."""


def ages(config: Config, seen: Iterable[Age], now: float) -> Iterator[Row]:
    """How old each is, and what the policy says; what is overdue is an exception too."""
    for one in seen:
        said = config.rotation[one.target] if one.target is not None else None
        at = rfc3339(one.changed_at) if one.changed_at else ""
        who, source = one.target or "nobody", one.source
        if one.missing:
            yield Row(Section.EXCEPTIONS, one.environment, who, one.secret, f"not known: {one.missing}", "", source)
            continue
        age = f"{spell_age(now - one.changed_at)} old" if one.changed_at else "not there"
        if said is None or said.rotation_period is None:
            rule = "no period" if said is not None else "no target rotates it"
            yield Row(Section.ROTATION, one.environment, who, one.secret, f"{age}; {rule}", at, source)
            yield Row(Section.EXCEPTIONS, one.environment, who, one.secret, f"no rotation: {rule}; {age}", at, source)
            continue
        source = f"{source}, rotation.{one.target}.every"
        late = now - due_at(schedule_of(said), one.changed_at, 1.0) if one.changed_at else 0.0
        rule = f"every {spell(said.rotation_period)}"
        if late > 0:
            rule += f": OVERDUE by {spell_age(late)}"
        if late > 0 or not one.changed_at:
            yield Row(Section.EXCEPTIONS, one.environment, who, one.secret, f"{age}; {rule}", at, source)
        yield Row(Section.ROTATION, one.environment, who, one.secret, f"{age}; {rule}", at, source)


def weaknesses(config: Config, source: str) -> Iterator[Row]:
    """Settings that somebody should have a reason for."""
    found = []
    url = urlsplit(config.vault.address)
    if config.vault.tls_skip_verify:
        found.append(("vault.tls_skip_verify", "Vault's certificate is not checked"))
    if url.scheme == "http" and url.hostname not in _LOCAL:
        found.append(("vault.address", "Vault is asked without TLS"))
    if config.allow_disk:
        found.append(("allow_disk", "tokens and leases may lie on a disk"))
    found += [
        (f"apps.{name}.allow_disk", "secrets may lie on a disk") for name, app in config.apps.items() if app.allow_disk
    ]
    listen = config.status.listen
    if listen is not None and listen.token_file is None:
        found.append(("status.allow_unauthenticated", "the status is told to everybody on the machine"))
    if config.audit_trail is None:
        found.append(("audit_trail", "what is done is not recorded"))
    elif not config.audit_trail.required:
        found.append(("audit_trail.required", "an operator may act though it cannot be recorded"))
    for key, what in found:
        yield Row(Section.EXCEPTIONS, "", "", what, "", "", f"{source}: {key}")


def spell_age(seconds: float) -> str:
    """In the largest units that say enough."""
    if seconds >= 2 * _DAY:
        return f"{int(seconds / _DAY)}d"
    hours = int(seconds / 3600)
    return f"{hours}h" if hours >= 1 else f"{max(0, int(seconds / 60))}m"
