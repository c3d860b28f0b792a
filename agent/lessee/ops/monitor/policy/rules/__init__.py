"""Builds the alert rules from the configuration."""

from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import assert_never

from lessee.config.grammar import alerts as grammar
from lessee.config.grammar.alerts import Alerts, Severity
from lessee.config.monitor import SHORTHANDS, rule_name
from lessee.config.time_windows import spans
from lessee.core.immutable import ImmutableStruct
from lessee.ops.monitor.policy.alerts import GROUP_WINDOW, AlertSettings
from lessee.ops.monitor.policy.classification import RequestKind
from lessee.ops.monitor.policy.history import RULE as HISTORY
from lessee.ops.monitor.policy.rules.changes import Changed, RootUsed
from lessee.ops.monitor.policy.rules.counts import Denials, FirstRead, Reads
from lessee.ops.monitor.policy.rules.hours import OutsideHours
from lessee.ops.monitor.policy.rules.liveness import AgentSilent, AuditOff
from lessee.ops.monitor.policy.rules.rule import Filter, Rule
from lessee.ops.monitor.policy.rules.service_state import (
    AgentNotFresh,
    LeaseExpiring,
    RotationFailing,
    RotationOverdue,
)

_CRITICAL = (grammar.RootToken, grammar.AuditChanged, grammar.AuditOff, grammar.AgentSilent, grammar.LeaseExpiring)


class RuleSet(ImmutableStruct, frozen=True):
    """All rules of a configuration, and their alert settings by rule name."""

    rules: tuple[Rule, ...]
    settings: Mapping[str, AlertSettings]


def build_rules(config: Alerts, *, polls_services: bool, timezone: Callable[[str], tzinfo]) -> RuleSet:
    """`polls_services`: the monitor polls agents and rotators. `timezone` finds a time zone by its name."""
    rules = effective_rules(config, polls_services=polls_services)
    return RuleSet(
        tuple(_rule(name, rule, timezone) for name, rule in rules.items()),
        {HISTORY: AlertSettings("info", config.repeat_interval, config.resolve_timeout)}
        | {name: _settings(config, rule) for name, rule in rules.items()},
    )


def effective_rules(config: Alerts, *, polls_services: bool) -> Mapping[str, grammar.Rule]:
    """The configured rules, and each default rule of a type that is not configured, by name."""
    rules: list[grammar.Rule] = list(config.rules)
    if config.reads_per_hour is not None:
        name = SHORTHANDS["reads_per_hour"]
        rules.append(grammar.Reads(limit=config.reads_per_hour, name=name, group_by="component-and-path"))
    if config.consecutive_denials is not None:
        rules.append(grammar.Denials(limit=config.consecutive_denials, name=SHORTHANDS["consecutive_denials"]))
    if config.default_rules:
        configured = {type(rule) for rule in config.rules}
        rules += [rule for rule in _default_rules(polls_services=polls_services) if type(rule) not in configured]
    return {rule_name(rule): rule for rule in rules}


def _default_rules(*, polls_services: bool) -> Iterable[grammar.Rule]:
    yield from (grammar.RootToken(), grammar.PolicyChanged(), grammar.AuthChanged(), grammar.AuditChanged())
    yield grammar.AuditOff()
    if polls_services:
        yield from (
            grammar.RotationOverdue(),
            grammar.RotationFailing(),
            grammar.LeaseExpiring(),
            grammar.AgentSilent(),
            grammar.AgentNotFresh(),
        )


def _settings(config: Alerts, rule: grammar.Rule) -> AlertSettings:
    severity: Severity = rule.severity or ("critical" if isinstance(rule, _CRITICAL) else "warning")
    return AlertSettings(
        severity,
        config.repeat_interval if rule.repeat_interval is None else rule.repeat_interval,
        config.resolve_timeout if rule.resolve_timeout is None else rule.resolve_timeout,
        # A service recovers on its own, so its alert does too.
        GROUP_WINDOW if isinstance(rule, grammar.AccessRule) else 0.0,
    )


def _rule(name: str, rule: grammar.Rule, timezone: Callable[[str], tzinfo]) -> Rule:
    match rule:
        case grammar.Reads():
            return Reads(name, _filter(rule), rule.limit, rule.window, rule.group_by)
        case grammar.Denials():
            return Denials(name, _filter(rule), rule.limit)
        case grammar.FirstRead():
            return FirstRead(name, _filter(rule), rule.group_by, rule.learning_period)
        case grammar.RootToken():
            return RootUsed(name, _filter(rule))
        case grammar.PolicyChanged():
            return Changed(name, _filter(rule), RequestKind.POLICY)
        case grammar.AuthChanged():
            return Changed(name, _filter(rule), RequestKind.AUTH)
        case grammar.AuditChanged():
            return Changed(name, _filter(rule), RequestKind.AUDIT)
        case grammar.OutsideHours():
            return OutsideHours(name, _filter(rule), spans(rule.hours), timezone(rule.timezone))
        case grammar.AuditOff():
            return AuditOff(name, rule.after, rule.silent_after)
        case grammar.RotationOverdue():
            return RotationOverdue(name, rule.after)
        case grammar.RotationFailing():
            return RotationFailing(name, rule.limit)
        case grammar.LeaseExpiring():
            return LeaseExpiring(name, rule.before)
        case grammar.AgentSilent():
            return AgentSilent(name, rule.after, rule.components)
        case grammar.AgentNotFresh():
            return AgentNotFresh(name, rule.after)
        case _:
            assert_never(rule)


def _filter(rule: grammar.AccessRule) -> Filter:
    return Filter(rule.paths, rule.components)
