"""Checks the block `monitor`, and resolves the names of its audit logs, watched services and alert rules."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lessee.config.grammar import alerts as grammar
from lessee.config.grammar.alerts import Alerts, WatchTarget
from lessee.config.grammar.monitor import AuditSource, Monitor
from lessee.config.grammar.problems import Path, Problems, spell

if TYPE_CHECKING:
    from lessee.config.grammar.responses import AnyResponse, Responses

SHORTHANDS = {"reads_per_hour": "reads-per-hour", "consecutive_denials": "consecutive-denials"}
"""The keys of `monitor.alerts` that define a rule, and the rule's name."""
STRIKES = frozenset({"revoke-token", "disable-role"})
"""The actions that strike a single token, or its role."""

_ALERTS: Path = ("monitor", "alerts")
_SERVICE_RULES = (grammar.RotationOverdue, grammar.RotationFailing, grammar.LeaseExpiring, grammar.AgentNotFresh)
_DEFAULTS = (grammar.RootToken, grammar.PolicyChanged, grammar.AuthChanged, grammar.AuditChanged, grammar.AuditOff)
_SERVICE_DEFAULTS = (*_SERVICE_RULES, grammar.AgentSilent)
"""The default rules with a `watch`; ops.monitor.policy.rules makes both kinds."""
_LOOPBACK = ("localhost", "127.", "[::1]")


def check_monitor(monitor: Monitor, problems: Problems) -> None:
    """Report what several keys contradict: ambiguous names, rules without a source, and passwords in clear text."""
    _check_audit(monitor, problems)
    _check_rules(monitor, problems)
    _check_smtp(monitor.alerts, problems)
    _check_watch(monitor, problems)
    metrics = monitor.request_metrics
    if metrics is not None and len({*metrics.labels}) < len(metrics.labels):
        at = ("monitor", "request_metrics", "labels")
        problems.add_dependent(at, "a label is listed twice", todo="remove one of them")
    check_responses(monitor, problems)


def check_responses(monitor: Monitor, problems: Problems) -> None:
    """Report a response that can never run: its rule does not exist, or there is no approver."""
    if monitor.responses is not None:
        _check_responses(monitor, monitor.responses, problems)


def audit_sources(monitor: Monitor) -> dict[str, AuditSource]:
    """The audit logs by name."""
    logs = monitor.audit if isinstance(monitor.audit, tuple) else (monitor.audit,)
    return {log.name or "vault": log for log in logs}


def watch_targets(monitor: Monitor) -> Mapping[str, WatchTarget]:
    """The agents and rotators to poll, by name."""
    return {_target_name(target): target for target in map(_target, monitor.watch)}


def rule_name(rule: grammar.Rule) -> str:
    """The name of the rule's alerts."""
    return rule.name or str(type(rule).__struct_config__.tag)


def response_name(response: "AnyResponse") -> str:
    """The name of a response: its own, or its action and rule."""
    return response.name or f"{tag_of(response)}.{response.rule}"


def tag_of(response: "AnyResponse") -> str:
    """The action of a response, such as `revoke-token`."""
    return str(type(response).__struct_config__.tag)


def _check_audit(monitor: Monitor, problems: Problems) -> None:
    if not isinstance(monitor.audit, tuple):
        return
    at: Path = ("monitor", "audit")
    names: set[str] = set()
    sources: set[str] = set()
    for index, log in enumerate(monitor.audit):
        if log.name is None and len(monitor.audit) > 1:
            what = "missing; several audit logs need names"
            problems.add_dependent((*at, index, "name"), what, todo="write `name:` with the name of the server")
        elif log.name in names:
            what = "another audit log has this name"
            problems.add_dependent((*at, index, "name"), what, todo="give each log its own name")
        names.add(log.name or "")
        for key, source in (("file", log.file), ("socket", log.socket)):
            if source in sources:
                what = "another audit log reads it too, so every request would count twice"
                problems.add_dependent((*at, index, key), what, todo="remove one of them")
            sources |= {source} if source is not None else set()
    if sum(log.stdin is True for log in monitor.audit) > 1:
        what = "several audit logs read standard input"
        problems.add_dependent(at, what, todo="leave `stdin: true` in one of them")


def _check_rules(monitor: Monitor, problems: Problems) -> None:
    alerts = monitor.alerts
    names: dict[str, Path] = {
        name: (*_ALERTS, key) for key, name in SHORTHANDS.items() if getattr(alerts, key) is not None
    }
    for index, rule in enumerate(alerts.rules):
        at = (*_ALERTS, "rules", index)
        other = names.setdefault(rule_name(rule), at)
        if other is not at:
            what = f"{spell(other)} has the same name, {rule_name(rule)}"
            problems.add_dependent(at, what, todo="write another `name:`")
        needs_watch = isinstance(rule, _SERVICE_RULES) or (
            isinstance(rule, grammar.AgentSilent) and not rule.components
        )
        if needs_watch and not monitor.watch:
            what = "this rule needs the status of agents and rotators, but monitor.watch is empty"
            problems.add_dependent(at, what, todo="list their status sockets in `monitor.watch`")


def _check_smtp(alerts: Alerts, problems: Problems) -> None:
    smtp = alerts.smtp
    if smtp is None:
        return
    at = (*_ALERTS, "smtp")
    if (smtp.username is None) != (smtp.password_file is None):
        what = "username and password_file need each other"
        problems.add_dependent(at, what, todo="write both, or remove both")
    if smtp.tls == "none" and smtp.password_file is not None and not smtp.server.startswith(_LOOPBACK):
        todo = "write `tls: starttls`, or remove username and password_file"
        problems.add_dependent((*at, "tls"), "the password would cross the network in clear text", todo=todo)


def _check_watch(monitor: Monitor, problems: Problems) -> None:
    names: dict[str, Path] = {}
    for index, target in enumerate(map(_target, monitor.watch)):
        at: Path = ("monitor", "watch", index)
        other = names.setdefault(_target_name(target), at)
        if other is not at:
            what = f"{spell(other)} has the same name, {_target_name(target)}"
            problems.add_dependent(at, what, todo="write another `name:`")


def _check_responses(monitor: Monitor, responses: "Responses", problems: Problems) -> None:
    at: Path = ("monitor", "responses")
    if any(source.file is None for source in audit_sources(monitor).values()):
        what = "responses need audit logs that are files: any client of a socket, or writer of stdin, could forge lines"
        problems.add_dependent(at, what, todo="write `file:` in `monitor.audit`, or remove `responses`")
    rules, names = _rule_types(monitor), dict[str, Path]()
    for index, response in enumerate(responses.actions):
        here = (*at, "actions", index)
        other = names.setdefault(response_name(response), here)
        if other is not here:
            what = f"{spell(other)} has the same name, {response_name(response)}"
            problems.add_dependent(here, what, todo="write another `name:`")
        _check_rule_of(response, rules, here, problems)
        needs_approval = response.approval == "required"
        if tag_of(response) == "emergency" and not needs_approval:
            what = "an emergency ends the access of all apps, so one client that causes an alert must not cause it"
            problems.add_dependent((*here, "approval"), what, todo="write `approval: required`")
        if needs_approval and not (responses.approvers and responses.approvals_dir):
            todo = "write `approvers` and `approvals_dir` in `monitor.responses`"
            problems.add_dependent((*here, "approval"), "the configuration has no approver for it", todo=todo)


def _check_rule_of(
    response: "AnyResponse", rules: Mapping[str, type[grammar.AlertRule]], at: Path, problems: Problems
) -> None:
    rule = rules.get(response.rule)
    if rule is None:
        todo = f"the rules are: {', '.join(sorted(rules))}"
        problems.add_dependent((*at, "rule"), f"no rule has the name {response.rule}", todo=todo)
    elif (action := tag_of(response)) in STRIKES:
        if issubclass(rule, grammar.RootToken):
            what = f"{action} never strikes a root token"
            problems.add_dependent((*at, "rule"), what, todo="use a `command`, or another rule")
        elif not issubclass(rule, grammar.AccessRule):
            what = f"alerts of this rule are not about requests, so {action} has nothing to strike"
            problems.add_dependent((*at, "rule"), what, todo="use a `command`, or a rule about requests")


def _rule_types(monitor: Monitor) -> Mapping[str, type[grammar.AlertRule]]:
    """The types of all rules by name: the configured ones, and the default ones of other types."""
    alerts = monitor.alerts
    types: dict[str, type[grammar.AlertRule]] = {rule_name(rule): type(rule) for rule in alerts.rules}
    if alerts.reads_per_hour is not None:
        types[SHORTHANDS["reads_per_hour"]] = grammar.Reads
    if alerts.consecutive_denials is not None:
        types[SHORTHANDS["consecutive_denials"]] = grammar.Denials
    if alerts.default_rules:
        configured = {type(rule) for rule in alerts.rules}
        more = _SERVICE_DEFAULTS if monitor.watch else ()
        types |= {str(kind.__struct_config__.tag): kind for kind in (*_DEFAULTS, *more) if kind not in configured}
    return types


def _target(item: str | WatchTarget) -> WatchTarget:
    if isinstance(item, WatchTarget):
        return item
    return WatchTarget(socket=item) if item.startswith("/") else WatchTarget(url=item)


def _target_name(target: WatchTarget) -> str:
    """Its own name, or else its host and port, or else the directory and name of its socket."""
    if target.name is not None:
        return target.name
    if target.url is not None:
        return urlsplit(target.url).netloc.rpartition("@")[2]
    return "/".join((target.socket or "").split("/")[-2:]).removesuffix(".sock")
