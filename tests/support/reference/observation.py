"""What lessee says of itself: log events, metrics, alerts, and the fields of its status."""

import ast
from collections import defaultdict

import yaml
from prometheus_client.parser import text_string_to_metric_families

from lessee.ops.backup import metrics as backup_metrics
from lessee.ops.drill import metrics as drill_metrics
from lessee.ops.issue import metrics as issuer_metrics
from lessee.ops.monitor import metrics as monitor_metrics
from lessee.ops.rotate import metrics as rotation_metrics
from lessee.status import metrics as agent_metrics
from support.models import measured_statuses
from support.paths import ROOT
from support.reference.configuration import SCHEMA
from support.reference.markdown import code, page, table

_LOG = """
Every event of the log, with its level and the names of its fields. A line is the event, then the fields as `key=value`,
or one JSON object (`--log-format json`). The level follows the consequence: an operator must act on a warning.
An event of several levels has the one that fits its cause. `…` is a part that differs. No field has a secret's value.
"""
_METRICS = """
Every metric for Prometheus, by the program that serves it. The
[monitoring stack](../../compose/monitoring/README.md) has rules and a dashboard for them.
"""
_ALERTS = """
There are two sorts of alerts. `lessee monitor` raises alerts about the audit log, each by a rule of `monitor.alerts`.
Prometheus raises alerts about metrics, by the rules of the
[monitoring stack](../../compose/monitoring/README.md#alerts).
"""
_LEVELS = ("debug", "info", "warning", "error")


def log_page():
    """The page of all log events."""
    events = defaultdict(lambda: (set(), {}))
    for file in sorted((ROOT / "agent/lessee").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and (found := _logged(node)):
                levels, event, fields = found
                events[event][0].update(levels)
                events[event][1].update(dict.fromkeys(fields))
    rows = [
        (code(event), ", ".join(filter(levels.__contains__, _LEVELS)) or "by cause", " ".join(map(code, fields)))
        for event, (levels, fields) in sorted(events.items())
    ]
    return page("Log events", _LOG, table(("event", "level", "fields"), rows))


def _logged(node):
    """The levels, the event and the fields of a call that logs; None of another call."""
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if name not in {"log", "_log", "Log"} or len(node.args) < 2:
        return None
    levels, events = _constants(node.args[0]), _constants(node.args[1])
    if not events or not set(levels) <= set(_LEVELS):
        return None
    fields = [field.arg or "…" for field in node.keywords]
    return levels, events[0], fields


def _constants(node):
    """The texts that an expression may be; a part that is computed is `…`."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.IfExp):
        return [*_constants(node.body), *_constants(node.orelse)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)]
    return []


def metrics_page():
    """The page of all metrics."""
    parts = []
    for title, text in (
        ("Agent", agent_metrics.exposition(measured_statuses.agent())),
        ("Rotator", rotation_metrics.exposition(measured_statuses.rotator())),
        ("Monitor", monitor_metrics.exposition(measured_statuses.monitor())),
        ("Issuer", issuer_metrics.exposition(measured_statuses.issuer())),
    ):
        rows = []
        for family in text_string_to_metric_families(text.decode()):
            labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
            suffix = "_total" if family.type == "counter" else ""
            rows.append((code(family.name + suffix), family.type, " ".join(map(code, labels)), family.documentation))
        parts += [f"## {title}\n", table(("metric", "type", "labels", "meaning"), sorted(rows))]
    files = {**backup_metrics._SAVE, **backup_metrics._VERIFICATION, **drill_metrics._TEXTS}
    parts += [
        "## Backups and drills\n",
        "A command writes these to `metrics_directory`, for node_exporter's textfile collector.\n",
        table(("metric", "meaning"), [(code(name), text) for name, text in sorted(files.items())]),
    ]
    return page("Metrics", _METRICS, *parts)


def alerts_page():
    """The page of all alerts."""
    rules = []
    for option in SCHEMA["$defs"]["Alerts"]["properties"]["rules"]["anyOf"]:
        for one in option.get("items", {}).get("anyOf", ()):
            found = SCHEMA["$defs"][one["$ref"].rpartition("/")[2]]
            rules.append((code(found["properties"]["rule"]["const"]), found["description"]))
    parts = [
        "## Rules of the monitor\n",
        "The keys of each rule are those of [`monitor.alerts.rules`](all-keys.md#monitor).\n",
        table(("rule", "when"), rules),
    ]
    groups = yaml.safe_load((ROOT / "compose/monitoring/rules/alerts.yml").read_text())["groups"]
    parts += ["## Rules for Prometheus\n"]
    for group in groups:
        rows = [
            (code(rule["alert"]), rule["labels"]["severity"], rule.get("for", ""), code(rule["expr"]), _action(rule))
            for rule in group["rules"]
        ]
        parts += [f"### {group['name']}\n", table(("alert", "severity", "after", "expression", "what to do"), rows)]
    return page("Alerts", _ALERTS, *parts)


def _action(rule):
    return rule["annotations"].get("action", "")
