"""What the keys of `monitor.alerts` and `monitor.watch` say together."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from lessee.config.grammar import alerts as grammar
from lessee.config.grammar.alerts import Alerts, Watched
from lessee.config.grammar.operator import Monitor
from lessee.config.grammar.problems import Path, Problems, spell

SHORT = {"reads_per_hour": "reads-per-hour", "refusals_in_a_row": "refusals-in-a-row"}
"""What the rules are called that are written short."""
_ALERTS: Path = ("monitor", "alerts")
_OF_SERVICES = (grammar.RotationOverdue, grammar.RotationFailing, grammar.LeaseEnding)
_HERE = ("localhost", "127.", "[::1]")


def check_alerts(said: Monitor, problems: Problems) -> None:
    """Tells of rules that would share a name, or could never see anything, and of ways that would give a password."""
    names: dict[str, Path] = {
        name: (*_ALERTS, key) for key, name in SHORT.items() if getattr(said.alerts, key) is not None
    }
    for index, rule in enumerate(said.alerts.rules):
        at = (*_ALERTS, "rules", index)
        other = names.setdefault(name_of(rule), at)
        if other is not at:
            what = f"its alerts would be those of {spell(other)}: {name_of(rule)}"
            problems.follow(at, what, todo="give one of them a `name:` of its own")
        nothing = isinstance(rule, grammar.AgentSilent) and not rule.components
        if (nothing or isinstance(rule, _OF_SERVICES)) and not said.watch:
            todo = "name the status sockets of agents and of the rotator in `monitor.watch`"
            problems.follow(at, "nobody says how they are", todo=todo)
    _check_mail(said.alerts, problems)
    _check_watch(said, problems)


def name_of(said: grammar.Rule) -> str:
    """What its alerts are called."""
    return said.name or str(type(said).__struct_config__.tag)


def watched(said: Monitor) -> Mapping[str, Watched]:
    """The services that are asked, by their names."""
    return {_name(one): one for one in map(_long, said.watch)}


def _check_mail(said: Alerts, problems: Problems) -> None:
    mail = said.smtp
    if mail is None:
        return
    at = (*_ALERTS, "smtp")
    if (mail.username is None) != (mail.password_file is None):
        problems.follow(at, "username and password_file go together", todo="write both, or neither")
    if mail.tls == "none" and mail.password_file is not None and not mail.server.startswith(_HERE):
        todo = "write `tls: starttls`, or leave username and password_file out"
        problems.follow((*at, "tls"), "the password would cross the network in the clear", todo=todo)


def _check_watch(said: Monitor, problems: Problems) -> None:
    names: dict[str, Path] = {}
    for index, one in enumerate(map(_long, said.watch)):
        at: Path = ("monitor", "watch", index)
        other = names.setdefault(_name(one), at)
        if other is not at:
            problems.follow(at, f"{spell(other)} is called {_name(one)} too", todo="give one a `name:` of its own")


def _long(said: str | Watched) -> Watched:
    if isinstance(said, Watched):
        return said
    return Watched(socket=said) if said.startswith("/") else Watched(url=said)


def _name(said: Watched) -> str:
    """Its own; else by the host, or by the folder and name of the socket."""
    if said.name is not None:
        return said.name
    if said.url is not None:
        return urlsplit(said.url).netloc.rpartition("@")[2]
    return "/".join((said.socket or "").split("/")[-2:]).removesuffix(".sock")
