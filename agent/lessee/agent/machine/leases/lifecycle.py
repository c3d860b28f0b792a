"""DynamicSecret secrets: issued once for all who name them, renewed, and replaced before they end.

issue ──► keep ──► render, publish, tell ──► renew, renew … ──► capped, or its token ends
                                                                      │
                let go  ◄── the app has been told of ◄── a successor is issued
"""

from collections.abc import Mapping

from lessee.agent.machine.kv.planning import touch
from lessee.agent.machine.leases.renewal import ends_at, is_of_another_token, lease_ended
from lessee.agent.machine.protocol.app_spec import Want
from lessee.agent.machine.protocol.commands import IssueSecret, LookUpLease, RenewLease, RevokeLease, StoreLease
from lessee.agent.machine.protocol.events import LeaseRenewed, LeasesRecovered
from lessee.agent.machine.session.login import CAPPED, renewal_after, suspect_token
from lessee.agent.machine.state import NEVER, Former, Held, Standing, Supply
from lessee.agent.machine.transaction import Turn
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret

POLL_STATIC = 10.0
"""Seconds between looks at a static role, at least, for it may be rotated by hand."""
LATE = 1.0
"""Seconds between looks at a static role whose rotation is due: the server does it within a few."""


def configure_leases(turn: Turn, apps: Mapping[str, Want]) -> None:
    """Issue what the apps' templates read, once for all; what is held already is kept."""
    wants: dict[DynamicSecret, tuple[float, frozenset[str]]] = {}
    for name, want in apps.items():
        for need in want.needs:
            if isinstance(need, DynamicSecret):
                refresh, others = wants.get(need, (want.refresh, frozenset()))
                wants[need] = min(refresh, want.refresh), others | {name}
    every = min((refresh for refresh, _ in wants.values()), default=NEVER)
    turn.session = replace(turn.session, idle_every=every)
    before, supplies = turn.supplies, turn.edit_supplies()
    kept = {need: supply for need, supply in before.items() if need in wants}
    for need in set(before) - set(wants):
        _set_standing(turn, before[need].lease, "unwanted")
    supplies.clear()
    for need, (refresh, names) in sorted(wants.items(), key=str):
        supply = replace(kept.get(need) or Supply(refresh, lease=_left(turn, need)), refresh=refresh)
        supplies[need] = supply
        held = turn.leases.get(supply.lease or "")
        if held is not None:
            lease = replace(held.lease, apps=held.lease.apps | names)
            if lease != held.lease:
                _keep(turn, lease)
            turn.edit_leases()[lease.id] = replace(held, lease=lease, standing="current")
    for id_, held in list(turn.leases.items()):
        if held.lease.static and held.lease.need not in wants:
            del turn.edit_leases()[id_]


def _left(turn: Turn, need: DynamicSecret) -> str | None:
    """A lease that nobody wanted any more, and that is not gone yet."""
    for id_, held in turn.leases.items():
        going = held.call is not None and isinstance(turn.calls[held.call].command, RevokeLease)
        if held.lease.need == need and held.standing == "unwanted" and not going and held.ended_at is None:
            return id_
    return None


def _set_standing(turn: Turn, id_: str | None, standing: Standing) -> None:
    if id_ is not None and id_ in turn.leases:
        turn.edit_leases()[id_] = replace(turn.leases[id_], standing=standing)


def kept(turn: Turn, event: LeasesRecovered) -> None:
    """Leases of an earlier life: the newest of each secret serves it, once it has been looked up."""
    tokens = {token.id: Former(token) for token in event.tokens}
    turn.session = replace(turn.session, former=tokens | dict(turn.session.former))
    newest = {lease.need: lease for lease in sorted(event.leases, key=lambda lease: lease.issued_at)}
    for lease in event.leases:
        supply = turn.supplies.get(lease.need)
        standing: Standing = "current" if supply is not None else "unwanted"
        if newest[lease.need] is not lease:
            standing = "superseded"
        elif supply is not None:
            turn.edit_supplies()[lease.need] = replace(supply, lease=lease.id)
            touch(turn, lease.need)
        held = Held(lease, standing, proved=not lease.lease_id)
        turn.edit_leases()[lease.id] = _scheduled(turn, held)


def issued_late(turn: Turn, lease: Lease) -> None:
    """A secret came that nobody waited for any more: it serves where there is none, or is revoked."""
    supply = turn.supplies.get(lease.need)
    held = turn.leases.get(supply.lease or "") if supply is not None else None
    if supply is not None and (held is None or held.ended_at is not None):
        issued(turn, lease)
    elif not lease.static:
        _keep(turn, lease)
        turn.edit_leases()[lease.id] = Held(lease, "superseded")


def issued(turn: Turn, lease: Lease) -> None:
    """A secret is here: noted first, then used; its predecessor goes when the apps have been told."""
    need = lease.need
    supply = turn.supplies.get(need)
    apps = frozenset(name for name, app in turn.apps.items() if need in app.want.needs)
    lease = replace(lease, apps=apps)
    if lease.static:
        if supply is not None:
            _reread(turn, supply, lease)
        return
    _keep(turn, lease)
    turn.totals = replace(turn.totals, issued=turn.totals.issued + 1)
    turn.tell("info", "issued", path=str(need), lease=lease.lease_id, ttl=round(lease.ttl))
    held = Held(lease, "current" if supply is not None else "unwanted")
    turn.edit_leases()[lease.id] = _scheduled(turn, held)
    if supply is not None:
        _set_standing(turn, supply.lease, "superseded")
        turn.edit_supplies()[need] = Supply(supply.refresh, lease=lease.id, call=supply.call)
        touch(turn, need)


def _reread(turn: Turn, supply: Supply, lease: Lease) -> None:
    # Another password is another lease: who goes back to a generation must see that its own has ended.
    before = turn.edit_leases().pop(supply.lease or "", None)
    if before is None or before.lease.secret.data != lease.secret.data:
        turn.tell("info", "read a static role", path=str(lease.need), rotates_in=round(lease.ttl))
        touch(turn, lease.need)
    poll = max(POLL_STATIC, supply.refresh) * (0.9 + 0.1 * turn.draw())
    replace_at = turn.now + max(LATE, min(poll, lease.ends_at - turn.now))
    turn.edit_leases()[lease.id] = Held(lease, replace_at=replace_at)
    turn.edit_supplies()[lease.need] = Supply(supply.refresh, lease=lease.id)


def lease_renewed(turn: Turn, command: RenewLease | LookUpLease, event: LeaseRenewed) -> None:
    """A lease is valid, and this is what is left of it."""
    held = turn.leases.get(command.id)
    if held is None:
        return
    before = held.lease
    shorter = bool(before.ttl) and event.ttl < before.ttl
    # A shorter ttl than before is what is left of the longer one: its end is as near as that of any lease this old.
    ttl = before.ttl if shorter else event.ttl
    lease = replace(before, sent_at=event.sent_at + event.ttl - ttl, ttl=ttl)
    if isinstance(command, RenewLease):
        turn.totals = replace(turn.totals, lease_renewals=turn.totals.lease_renewals + 1)
        turn.tell("debug", "renewed a lease", path=str(lease.need), ttl=round(event.ttl))
        capped = shorter and event.ttl < before.ttl * CAPPED
        lease = replace(lease, renewable=event.renewable and not capped)
    else:
        turn.tell("info", "goes on with a lease", path=str(lease.need), ttl=round(event.ttl))
        lease = replace(lease, renewable=before.renewable and event.renewable)
    _keep(turn, lease)
    if held.ended_at is not None:
        touch(turn, lease.need)
    turn.edit_leases()[lease.id] = _scheduled(turn, Held(lease, held.standing))


def lease_failed(turn: Turn, command: RenewLease | LookUpLease, failure: Failure) -> None:
    """It goes on as long as it is good; a successor is asked for in time."""
    held = turn.leases.get(command.id)
    if held is None:
        return
    lease = held.lease
    if failure.kind is Kind.DENIED:
        suspect_token(turn)
    if failure.kind in {Kind.NOT_FOUND, Kind.INVALID}:
        lease_ended(turn, lease.id, replace(held, proved=True))
        return
    if held.failure != failure:
        turn.tell("warning", "lease not renewed", path=str(lease.need), reason=failure.text)
    again, since = turn.retry_at(held, failure), turn.began(held)
    soonest = turn.now + max(1.0, (ends_at(turn, lease) - turn.now) / 4)
    held = replace(held, tries=held.tries + 1, since=since, failure=failure, next_at=min(again, soonest))
    refused = failure.kind in {Kind.DENIED, Kind.UNSUPPORTED}
    if refused and isinstance(command, LookUpLease):
        held = replace(held, proved=True)  # its own deadline tells too
    elif failure.kind is Kind.UNSUPPORTED:
        held = replace(held, renew_at=NEVER, replace_at=turn.now)
    turn.edit_leases()[lease.id] = held


def issue_failed(turn: Turn, command: IssueSecret, failure: Failure) -> None:
    """The lease that is there goes on."""
    supply = turn.supplies.get(command.need)
    if supply is None:
        return
    if failure.kind is Kind.DENIED:
        suspect_token(turn)
    if supply.failure != failure:
        turn.tell("warning", "not issued", path=str(command.need), reason=failure.text)
    again, since = turn.retry_at(supply, failure), turn.began(supply)
    turn.edit_supplies()[command.need] = replace(
        supply, tries=supply.tries + 1, since=since, failure=failure, next_at=again
    )


def with_another_token(turn: Turn) -> None:
    """What was issued under another token is issued anew, whatever became of it. What was denied is asked again."""
    for id_, held in turn.leases.items():
        if held.standing == "current" and is_of_another_token(turn, held):
            turn.edit_leases()[id_] = replace(held, proved=True)
    for need, supply in turn.supplies.items():
        if supply.failure is not None and supply.failure.kind is Kind.DENIED:
            turn.edit_supplies()[need] = replace(supply, next_at=turn.now)


def _keep(turn: Turn, lease: Lease) -> None:
    if not lease.static:
        turn.commands.append(StoreLease(lease))


def _scheduled(turn: Turn, held: Held) -> Held:
    lease = held.lease
    if not lease.ttl:
        return held
    if lease.renewable:
        # Should no renewal succeed, a successor is asked for while there is still time.
        renew_at = lease.sent_at + renewal_after(turn, lease.ttl)
        return replace(held, renew_at=renew_at, replace_at=lease.sent_at + lease.ttl * (0.8 + 0.1 * turn.draw()))
    return replace(held, renew_at=NEVER, replace_at=lease.sent_at + renewal_after(turn, lease.ttl))
