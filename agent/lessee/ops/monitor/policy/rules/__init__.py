"""The rules that raise alarms, and how the configuration makes them."""

from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import assert_never

from lessee.config.alerts import SHORT, name_of
from lessee.config.grammar import alerts as grammar
from lessee.config.grammar.alerts import Alerts, Severity
from lessee.config.time_windows import spans
from lessee.core.immutable import Record
from lessee.ops.monitor.policy.alerts import Manner
from lessee.ops.monitor.policy.interpretation import Kind
from lessee.ops.monitor.policy.rules.changes import Changed, RootUsed
from lessee.ops.monitor.policy.rules.counts import Denials, FirstRead, Reads
from lessee.ops.monitor.policy.rules.hours import OutsideHours
from lessee.ops.monitor.policy.rules.rule import Filter, Rule
from lessee.ops.monitor.policy.rules.silence import AgentSilent, AuditOff
from lessee.ops.monitor.policy.rules.state import LeaseEnding, RotationFailing, RotationOverdue

_CRITICAL = (grammar.RootToken, grammar.AuditChanged, grammar.AuditOff, grammar.AgentSilent, grammar.LeaseEnding)


class Ruling(Record, frozen=True):
    """All rules of a configuration, and how the alerts of each are told, by its name."""

    rules: tuple[Rule, ...]
    manners: Mapping[str, Manner]


def ruling(said: Alerts, *, watches: bool, zone: Callable[[str], tzinfo]) -> Ruling:
    """`watches`: services are asked how they are. `zone`: a time zone by its name."""
    wanted = wanted_rules(said, watches=watches)
    return Ruling(
        tuple(_rule(name, one, zone) for name, one in wanted.items()),
        {name: _manner(said, one) for name, one in wanted.items()},
    )


def wanted_rules(said: Alerts, *, watches: bool) -> Mapping[str, grammar.Rule]:
    """Those that are written, long or short, and the usual ones of which none is, by their names."""
    wanted: list[grammar.Rule] = list(said.rules)
    if said.reads_per_hour is not None:
        wanted.append(grammar.Reads(limit=said.reads_per_hour, name=SHORT["reads_per_hour"]))
    if said.refusals_in_a_row is not None:
        wanted.append(grammar.Denials(limit=said.refusals_in_a_row, name=SHORT["refusals_in_a_row"]))
    if said.usual:
        there = {type(one) for one in said.rules}
        wanted += [one for one in _usual(watches=watches) if type(one) not in there]
    return {name_of(one): one for one in wanted}


def _usual(*, watches: bool) -> Iterable[grammar.Rule]:
    yield from (grammar.RootToken(), grammar.PolicyChanged(), grammar.AuthChanged(), grammar.AuditChanged())
    yield grammar.AuditOff()
    if watches:
        yield from (grammar.RotationOverdue(), grammar.RotationFailing(), grammar.LeaseEnding(), grammar.AgentSilent())


def _manner(said: Alerts, one: grammar.Rule) -> Manner:
    severity: Severity = one.severity or ("critical" if isinstance(one, _CRITICAL) else "warning")
    return Manner(
        severity,
        said.again_after if one.again_after is None else one.again_after,
        said.resolve_after if one.resolve_after is None else one.resolve_after,
    )


def _rule(name: str, said: grammar.Rule, zone: Callable[[str], tzinfo]) -> Rule:
    match said:
        case grammar.Reads():
            return Reads(name, _filter(said), said.limit, said.within, said.by)
        case grammar.Denials():
            return Denials(name, _filter(said), said.limit)
        case grammar.FirstRead():
            return FirstRead(name, _filter(said), said.by, said.learn)
        case grammar.RootToken():
            return RootUsed(name, _filter(said))
        case grammar.PolicyChanged():
            return Changed(name, _filter(said), Kind.POLICY)
        case grammar.AuthChanged():
            return Changed(name, _filter(said), Kind.AUTH)
        case grammar.AuditChanged():
            return Changed(name, _filter(said), Kind.AUDIT)
        case grammar.OutsideHours():
            return OutsideHours(name, _filter(said), spans(said.hours), zone(said.zone))
        case grammar.AuditOff():
            return AuditOff(name, said.after, said.silent_after)
        case grammar.RotationOverdue():
            return RotationOverdue(name, said.after)
        case grammar.RotationFailing():
            return RotationFailing(name, said.limit)
        case grammar.LeaseEnding():
            return LeaseEnding(name, said.before)
        case grammar.AgentSilent():
            return AgentSilent(name, said.after, said.components)
        case _:
            assert_never(said)


def _filter(said: grammar.OfAccess) -> Filter:
    return Filter(said.paths, said.components)
