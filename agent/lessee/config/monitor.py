"""What the keys of `monitor` say together."""

from lessee.config import grammar
from lessee.config.grammar.operator import Audit, Monitor
from lessee.config.grammar.problems import Path, Problems


def sources(monitor: Monitor) -> dict[str, Audit]:
    """Where the log comes from, by the name of each."""
    said = monitor.audit if isinstance(monitor.audit, tuple) else (monitor.audit,)
    return {audit.name or "vault": audit for audit in said}


def check_monitor(said: grammar.Lessee, problems: Problems) -> None:
    """Tells of logs that nobody could tell apart."""
    monitor = said.monitor
    if monitor is None or not isinstance(monitor.audit, tuple):
        return
    at: Path = ("monitor", "audit")
    names: set[str] = set()
    logs: set[str] = set()
    for index, audit in enumerate(monitor.audit):
        if audit.name is None and len(monitor.audit) > 1:
            problems.follow((*at, index, "name"), "missing, and there are several", todo="write which server it is")
        elif audit.name in names:
            problems.follow((*at, index, "name"), "another has this name", todo="give each its own")
        names.add(audit.name or "")
        for key, where in (("file", audit.file), ("socket", audit.socket)):
            if where in logs:
                problems.follow((*at, index, key), "another reads it, and all would count twice", todo="name it once")
            logs |= {where} if where is not None else set()
    if sum(audit.stdin is True for audit in monitor.audit) > 1:
        problems.follow(at, "there is one stdin", todo="leave the others out")
