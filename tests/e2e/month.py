"""A month of the usual environment, from nothing, by the commands that an operator types: what reports each event?

`make month` is a whole month; with fewer than 27 days (MONTH_DAYS) there are an outage and a leak alone. It prints each
day and event as it is lived. The report lists what happened, which component reported it and when, and what people
typed; each finding fails the test. With MONTH_WRITE, a whole month writes the table of docs/explanation/month.md.

How time passes: all periods of the configuration (rotations, confirmations, alerts) are as short as a simulated day
needs, because OpenBao and PostgreSQL have the machine's clock: no library moves that of a program written in Go.
Only backups are saved with a clock that is days ahead, since retention counts calendar days, and nothing else of them
depends on a server's clock.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from support.environments.month import BRAVE, PROCESSES, ROLES, TEMPLATES, Month
from support.models.month_report import Chronicle, Event, Notice, with_table
from support.needs import need
from support.paths import ROOT
from support.programs.pulse import Pulse
from support.programs.sidecar import PATIENCE, eventually, pass_by

DAYS = int(os.environ.get("MONTH_DAYS") or 3)
IS_WHOLE = DAYS >= 27
"""Whether everything happens; otherwise the outage and the leak alone."""
DAY = float(os.environ.get("MONTH_DAY") or 8.0)
"""Seconds: longer than what most days' commands take on an idle machine."""
WEEK = 7
PAGE = ROOT / "docs/explanation/month.md"
HIDDEN_FILES = ("keys", "logins", "operator-token", "backup.key", "trail.key")
"""Whose contents are secret by themselves."""


class Operator:
    """Who lives through the month."""

    def __init__(self, month, chronicle):
        self.month, self.chronicle = month, chronicle
        self.type, self.hidden = month.type, set()
        self.entered_at = 0.0
        """When a key was entered last."""
        self.windows = []
        """Times in which logins of an app may fail, as the event says."""

    # The days.

    def live(self, days, calendar):
        for day in range(days):
            began = time.monotonic()
            self.month.today = day
            self.chronicle.begin_day(day)
            if day == 0:
                self.set_up()
            self.enter_what_is_due()
            self.timers(day)
            for happen in calendar.get(day, ()):
                with self.or_finding("broken", happen.__name__):
                    happen(self)
            self.remember()
            rest = DAY - (time.monotonic() - began)
            if rest > 0:
                pass_by(rest)

    def timers(self, day):
        """What systemd's timers do each day and each week."""
        self.type("lessee backup save --quiet", by="each day", days_ahead=day)
        if day % WEEK == WEEK - 1:
            self.type("lessee backup verify latest --quiet", by="each week", days_ahead=day)
            self.type("lessee audit verify", by="each week")
        self.validate(by="each day")

    def validate(self, *, by="a timer", failed=()):
        """`failed`: the components that must not pass."""
        said = self.type("lessee validate --quiet --format json", by=by, code=1 if failed else (0, 1))
        report = json.loads(said[said.index("{") :])
        found = {
            result["component"]: result["text"]
            for result in report["results"]
            if result["passed"] is False and result["level"] == "critical" and result["check"] != "no-swap"
        }
        unexpected = {name: text for name, text in found.items() if not failed}
        self.chronicle.check(not unexpected, "broken", f"day {self.month.today}: validate: {unexpected}")
        return found

    def set_up(self):
        """From nothing to a running environment."""
        month, why = self.month, "a new server: who gets the keys is a decision"
        what = "a new server is initialized and set up; each target is rotated for the first time"
        event = self.chronicle.begin(Event(0, time.time(), what, ("rotation-overdue",)))
        self.type("lessee setup --init keys", why=why)
        month.environ["VAULT_TOKEN"] = (month.folder / "keys" / "root-token").read_text().strip()
        self.type("bao policy write operator operator.hcl", why=why)
        self.type("bao token create -orphan -policy=operator -ttl=8h -field=token > operator-token", why=why)
        self.type("bao token revoke -self", why=why)
        month.environ["VAULT_TOKEN"] = (month.folder / "operator-token").read_text().strip()
        self.hidden.add(month.operator_token)
        self.type("age-keygen -o backup.key", why="a key of backups, of which a person keeps a copy elsewhere")
        self.type("mkdir -p backups metrics drills", why=why)
        self.type("lessee setup --plan", why="a person reads what is about to change")
        self.type("lessee setup --output logins", why="the first start of an environment")
        self.type("lessee audit key > trail.pub", why="a copy on another machine shows a forged trail")
        month.start("agent")
        for app in PROCESSES:
            month.start_app(app)
        month.start("rotator")
        month.start("monitor")
        month.until("agent", month.is_well)
        rotated = ("postgres", "cache", "storage", "openrouter", "memory", "admins", "rotator")

        def all_rotated():
            targets = month.status("rotator")["targets"]
            return all(targets[name]["rotation_count"] and not targets[name]["open_seconds"] for name in rotated)

        eventually(all_rotated, "the first rotations", patience=PATIENCE)
        self.answered(event, "rotator", "lessee status: all targets are rotated")
        self.chronicle.settle(event, time.time())

    # Events.

    @contextmanager
    def event(self, what, *rules, when=""):
        """`rules`: the alerts that it explains. `when`: instead of the day, if that depends on the machine."""
        event = self.chronicle.begin(Event(self.month.today, time.time(), what, rules, when=when))
        yield event
        self.chronicle.settle(event, time.time())

    def calm(self, *rules):
        """Wait until no alert of these rules fires: a message about a new cause says `firing`, and not `repeated`."""
        self.month.until(
            "monitor", lambda status: not any(one["firing"] and one["rule"] in rules for one in status["alerts"])
        )

    @contextmanager
    def or_finding(self, kind, text):
        try:
            yield
        except (AssertionError, subprocess.TimeoutExpired) as exc:
            self.chronicle.finding(kind, f"{text}: {exc}")

    def reported(self, event, component, what, check):
        """Wait until a component reports the event."""
        try:
            eventually(check, what, patience=PATIENCE)
        except AssertionError:
            event.notices.append(Notice(component, what, None))
        else:
            event.notices.append(Notice(component, what, max(0.0, time.time() - event.at)))

    def answered(self, event, command, what, *, ok=True):
        """The answer to a command reports the event."""
        seconds = max(0.0, time.time() - event.at) if ok else None
        event.notices.append(Notice(command, what, seconds, is_answer=True))

    def alerted(self, event, rule, words=""):
        """Wait until the inbox has an alert of this rule. What counts is when it arrived."""

        def arrivals():
            return [
                at
                for alert, at in self.month.inbox.arrived()
                if alert["rule"] == rule and alert["state"] == "firing" and at >= event.at and words in alert["text"]
            ]

        what = f"alert {rule}"
        try:
            first = min(eventually(arrivals, what, patience=PATIENCE))
        except AssertionError:
            event.notices.append(Notice("monitor", what, None))
        else:
            event.notices.append(Notice("monitor", what, first - event.at))

    def recovers(self):
        """The environment is well again, without another command."""
        self.month.until("agent", self.month.is_well)
        self.month.until(
            "rotator", lambda status: status["ready"] and all(": due, " in one for one in status["problems"])
        )

    def enter_what_is_due(self):
        brave = self.month.status("rotator")["targets"]["brave"]
        # The service sees within a minute what another process has entered.
        if brave["entry_due"] and seconds_of(brave["next_rotation_at"]) > self.entered_at:
            self.enter_a_key()

    def enter_a_key(self):
        """The provider has no API: the key's age is the rotator's to know, and a person creates the next one."""
        month = self.month
        what = "the key of Brave is due, whose provider has no API"
        with self.event(what, "rotation-overdue", when="each 3 weeks") as event:
            due = month.until("rotator", lambda status: status["targets"]["brave"]["entry_due"])["targets"]["brave"]
            event.at = seconds_of(due["next_rotation_at"])
            self.answered(event, "rotator", "lessee status: run `lessee rotate brave --enter`")
            self.alerted(event, "rotation-overdue", "brave")
            key = f"brave-{secrets.token_hex(12)}"
            self.hidden.update({key, month.providers.keys[BRAVE]})
            month.providers.keys[BRAVE] = key
            why = "only a person can create a key of this provider"
            self.type("lessee rotate brave --enter", stdin=f"{key}\n", why=why)
            self.entered_at = time.time()
            self.recovers()

    def change_a_value(self):
        month = self.month
        with self.event("the app's name changes") as event:
            command = "echo Simba 2 | lessee set frontend/app VITE_APP_NAME --note 'a new name'"
            said = self.type(command, why="what the app is called")
            self.answered(event, "lessee set", "its output, once the app has it", ok="simba" in said or "site" in said)
            text = published(month)["site"]
            self.chronicle.check("Simba 2" in text, "lost", "the new name is not in the file")

    def a_file_is_altered(self):
        month, file = self.month, self.month.memory / "simba" / "simba.env"
        with self.event("another program alters a published file") as event:
            file.chmod(0o600)
            file.write_text("POSTGRES_PASSWORD=wrong\n")
            words = "lessee status: files changed by another program"
            self.reported(event, "agent", words, lambda: month.status()["apps"]["simba"]["drift"]["total"])
            eventually(lambda: "wrong" not in file.read_text(), "the file's content")
            self.recovers()

    def a_policy_is_altered(self):
        month = self.month
        self.calm("policy-changed")
        with self.event("an administrator alters a policy of the environment", "policy-changed") as event:
            policy = 'path "secret/data/production/*" { capabilities = ["read", "delete"] }'
            month.ask("PUT", "sys/policies/acl/production-ci", {"policy": policy})
            self.alerted(event, "policy-changed")
            said = self.type("lessee setup", code=75, by="a timer")
            self.answered(event, "lessee setup", "exit code 75, and the difference", ok="production-ci" in said)
            self.type("lessee setup --force", why="which of the two policies is meant")
            self.recovers()

    def a_secret_is_deleted(self):
        month = self.month
        self.calm("agent-not-fresh")
        with self.event("a secret is deleted by accident", "agent-not-fresh", "rotation-failing") as event:
            month.ask("DELETE", "secret/metadata/production/frontend/app")
            self.reported(
                event, "agent", "lessee status: the secret does not exist", lambda: any_problem(month, "frontend/")
            )
            self.alerted(event, "agent-not-fresh")
            failed = self.validate(failed=("frontend",))
            self.answered(event, "lessee validate", "exit code 1: frontend", ok="frontend" in failed)
            command = "lessee backup restore latest --path secret/production/frontend/ --yes --quiet"
            self.type(command, days_ahead=month.today, why="whether the deletion was an accident")
            self.recovers()

    def the_database_is_down(self):
        month = self.month
        self.calm("rotation-failing")
        with self.event("PostgreSQL is down", "rotation-failing", "rotation-overdue") as event:
            self.windows.append([time.time(), None])
            month.postgres.stop()
            failed = self.validate(failed=("database",))
            self.answered(event, "lessee validate", "exit code 1: database", ok="database" in failed)

            def failures():
                return month.status("rotator")["targets"]["postgres"]["consecutive_failures"]

            self.reported(event, "rotator", "lessee status: the error of postgres", failures)
            self.alerted(event, "rotation-failing")
            month.postgres.start()
            self.recovers()
            self.windows[-1][1] = time.time()

    def the_agent_is_killed(self):
        agent = self.month.services["agent"]
        with self.event("the agent is killed", "agent-silent") as event:
            restarts = len(agent.restarts)
            agent.kill()
            self.reported(event, "systemd", "its journal: restarted", lambda: len(agent.restarts) > restarts)
            self.recovers()

    def outage(self):
        month = self.month
        self.calm("audit-off", "agent-not-fresh")
        with self.event(
            "Vault is killed, and starts sealed", "audit-off", "agent-not-fresh", "rotation-overdue"
        ) as event:
            month.server.stop()
            words = "vault is unavailable"
            self.reported(event, "agent", f"lessee status: {words}", lambda: any_problem(month, words))
            self.alerted(event, "agent-not-fresh")
            self.alerted(event, "audit-off")
            failed = self.validate(failed=("vault",))
            self.answered(event, "lessee validate", "exit code 1: vault", ok="vault" in failed)
            month.server.start()
            self.type("lessee setup --unseal keys", why="the keys are with people; auto-unseal needs none")
            self.recovers()
            month.until("monitor", lambda status: status["ready"])

    def leak(self):
        """A thief with an app's secret_id; the emergency; and the new logins."""
        month, login = self.month, self.login_of("production-simba")
        # An alert fires after a fifth of a day at least, and a rotation waits for its consumers.
        rules = ("agent-not-fresh", "rotation-overdue", "rotation-failing", "auth-changed")
        follow_up = "lessee emergency --environment production --follow-up"
        self.calm("consecutive-denials")
        with self.event("a copied secret_id reads a secret, and looks for more", "consecutive-denials") as event:
            thief = month.server.ask("POST", "auth/approle/login", login)["auth"]["client_token"]
            stolen = month.ask("GET", "secret/data/production/database/postgres", token=thief)["data"]["data"]
            self.hidden.update({thief, login["secret_id"], stolen["password"]})
            for _ in range(6):
                with suppress(RuntimeError):
                    month.ask("GET", "secret/data/production/admin/openrouter", token=thief)
            self.alerted(event, "consecutive-denials")
            self.reported(event, "monitor", "its response revokes the thief's token", lambda: not works(month, thief))
        self.calm("agent-not-fresh")
        self.windows.append([time.time(), None])
        why = "whether it is a leak is a decision"
        # An agent may say that its login failed, and its alert may fire, before the command has rotated everything.
        with self.event("an emergency ends all logins to the environment", *rules, "consecutive-denials") as event:
            said = self.type("lessee emergency --environment production --yes --quiet", why=why)
            self.answered(event, "lessee emergency", "what it revoked and rotated", ok="NOT DONE" not in said)
            self.manual_steps(said)
            with pytest.raises(RuntimeError, match="400"):
                month.server.ask("POST", "auth/approle/login", login)
            is_refused = not month.can_log_in(stolen["username"], stolen["password"])
            self.chronicle.check(is_refused, "lost", "the thief can log in to PostgreSQL")
            self.reported(event, "agent", "lessee status: login failed", lambda: any_problem(month, "login"))
            self.alerted(event, "agent-not-fresh")
            missing = self.type(follow_up, code=75, by="a timer")
            self.answered(event, follow_up, "exit code 75: which logins are missing", ok="missing: " in missing)
        command = "lessee setup --only environment=production --output logins"
        self.type(command, why="who gets new credentials after a leak is a decision")
        with self.event("new secret_ids are delivered", *rules) as event:
            words = "lessee status: login revoked by an emergency, and logged in again"
            self.reported(event, "agent", words, lambda: all_revoked(month))
            self.recovers()
            self.windows[-1][1] = time.time()
            said = self.type(follow_up, by="a timer")
            self.answered(event, follow_up, "exit code 0: all have new logins", ok="NOT logged in" not in said)

    def login_of(self, role):
        return {"role_id": self.month.role_id(role), "secret_id": self.month.secret_id(role)}

    def manual_steps(self, said):
        """What the emergency leaves to people is a finding if a machine could do it."""
        section = said.partition("MANUAL STEPS")[2].partition("\nNEXT")[0]
        for line in section.splitlines():
            if line.startswith("     ") and not any(known in line for known in ONLY_PEOPLE):
                self.chronicle.finding("manual", f"emergency: {line.strip()}")

    def drill(self):
        with self.event("a drill in a private server, from the newest backup") as event:
            # With the machine's clock: agents compare it with that of file systems, which nothing moves.
            said = self.type("lessee drill", by="a timer")
            self.answered(event, "lessee drill", "its report")
            all_played = f"an agent and {len(TEMPLATES)} apps run" in said
            self.chronicle.check(all_played, "broken", "the drill does not play each app")

    # What must hold.

    def remember(self):
        """Credentials that were published today, which no output may contain."""
        for path, key in SECRETS:
            with suppress(RuntimeError, OSError):
                self.hidden.add(str(self.month.fields(path)[key]))

    def nothing_is_lost(self):
        month, chronicle = self.month, self.chronicle

        def only_the_published_role_logs_in():
            current = month.fields("database/postgres")
            able = [role for role in ROLES if can_log_in(month.postgres, role)]
            return able == [current["username"]] and month.can_log_in(current["username"], current["password"])

        def files_are_the_newest():
            files = published(month)
            return all(
                str(month.fields(path)[key]) in files[app]
                for app, text in TEMPLATES.items()
                for path, key in SECRETS
                if f'secret("{path}")' in text and f".{key} " in text
            )

        # Between two rotations: there is one each day.
        with self.or_finding("lost", "only the published role of PostgreSQL logs in"):
            eventually(only_the_published_role_logs_in, "one role", patience=PATIENCE)
        with self.or_finding("lost", "the apps have the newest values"):
            eventually(files_are_the_newest, "the newest values", patience=PATIENCE)
        for path, key in SECRETS:
            chronicle.check(bool(month.fields(path).get(key)), "lost", f"{path} has no {key}")
            chronicle.fact(f"versions of {path}", month.version(path))
        for app in PROCESSES:
            month.services[app].stop()
            self.logins_of(app)

    def logins_of(self, app):
        lines = [json.loads(line) for line in self.month.journal(app).read_text().splitlines()]
        failed = [line for line in lines if "error" in line]
        expected = [line for line in failed if any(begin <= line["at"] <= end + 1 for begin, end in self.windows)]
        for line in failed:
            if line not in expected:
                self.chronicle.finding("lost", f"a login of {app} failed: {line['error']}")
        self.chronicle.fact(f"logins of {app} at its system", f"{sum(line.get('logins', 0) for line in lines):,}")
        if self.windows:
            self.chronicle.fact(
                f"of these refused while its system was down, or after the emergency: {app}", len(expected)
            )

    def the_archives_are_those_of_the_configuration(self):
        """One for each of the last seven days and four weeks, and the newest two, by a rule of its own."""
        said = self.type("lessee backup list", by="a timer", days_ahead=self.month.today)
        # A slow machine's output also has progress.
        found = [seconds_of(line.split()[0]) for line in said.splitlines() if line[:4].isdigit()]
        days = [datetime.fromtimestamp(moment, UTC).date() for moment in found]
        newest = datetime.now(UTC).date() + timedelta(days=self.month.today)
        wanted = {newest - timedelta(days=back) for back in range(min(7, DAYS))}
        self.chronicle.check(wanted <= set(days), "lost", f"archives of the days {sorted(wanted - set(days))}")
        weeks = {day.isocalendar()[:2] for day in days}
        lived = {(newest - timedelta(days=back)).isocalendar()[:2] for back in range(DAYS)}
        self.chronicle.check(len(weeks) == min(4, len(lived)), "lost", f"archives of {len(weeks)} weeks")
        self.chronicle.fact("archives", len(found))

    def the_trail_is_whole(self):
        self.type("lessee audit verify", by="a timer")
        said = self.type("lessee audit report --format json", by="a timer")
        report = json.loads(said)
        self.chronicle.fact("acts in the audit trail", len(report["actions"]))
        for row in report["exceptions"]:
            sys.stderr.write(f"exception {row}\n")

    def nothing_is_visible(self):
        month = self.month
        for file in month.folder.rglob("*"):
            name = str(file.relative_to(month.folder)).split("/")[0]
            if not file.is_file() or name in {*HIDDEN_FILES, "vault", "store", "redis", "providers-pair.pem"}:
                continue
            content = file.read_bytes()
            leaked = [value for value in self.hidden if value.encode() in content]
            self.chronicle.check(not leaked, "visible", f"{len(leaked)} values are in {name}")


ONLY_PEOPLE = (
    "it is your own token",
    "batch tokens that were created manually cannot be listed",
    "SELECT pg_terminate_backend",
    "CLIENT KILL USER",
    "api-keys/brave-search",
    "cache/admin",
    "admin/openrouter",
    "frontend/app",
)
"""Parts of the manual steps of an emergency that only a person can take."""
SECRETS = (
    ("database/postgres", "password"),
    ("database/admin", "password"),
    ("cache/redis", "password"),
    ("storage/minio", "secret_key"),
    ("api-keys/openrouter", "api_key"),
    ("api-keys/brave-search", "api_key"),
    ("mcp/memory-service", "api_key"),
)


def any_problem(month, words):
    with suppress(Exception):
        return any(words in problem for problem in month.status()["problems"])
    return False


def all_revoked(month):
    """Whether each app's identity says that an emergency revoked its login."""
    found = [identity["revoked_login"] for identity in month.status()["identities"] if identity["apps"]]
    return all(one and one["emergency_at"] and one["logged_in_at"] for one in found)


def seconds_of(text):
    return datetime.fromisoformat(text).timestamp()


def works(month, token):
    with suppress(RuntimeError):
        return month.ask("GET", "auth/token/lookup-self", token=token)
    return None


def can_log_in(postgres, role):
    return postgres.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", role) == [(True,)]


def published(month):
    return {app: (month.memory / app / f"{app}.env").read_text() for app in TEMPLATES}


SHORT = {1: (Operator.outage,), 2: (Operator.leak,)}
WHOLE = {
    3: (Operator.change_a_value,),
    5: (Operator.a_file_is_altered,),
    6: (Operator.a_policy_is_altered,),
    9: (Operator.the_database_is_down,),
    12: (Operator.outage,),
    15: (Operator.a_secret_is_deleted,),
    17: (Operator.the_agent_is_killed,),
    20: (Operator.leak,),
    26: (Operator.drill,),
}


def say(line):
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@pytest.fixture
def chronicle():
    with Pulse() as pulse:
        yield Chronicle(DAY, pulse.between, say)


@pytest.fixture(autouse=True)
def everything_is_installed():
    """Not only when it is needed, after some minutes."""
    programs = {"age-keygen": "age", "faketime": "faketime", "redis-server": "redis-server", "openssl": "openssl"}
    for program, package in programs.items():
        need(shutil.which(program), f"needs {program}: apt install {package}")


@pytest.fixture
def month(tmp_path, memory, postgres, chronicle):
    with Month(tmp_path, memory, postgres, chronicle) as month:
        yield month


@pytest.mark.timeout(0)
def test_a_month_loses_nothing_is_never_silent_and_leaves_nothing_to_people(month, chronicle):
    operator, began = Operator(month, chronicle), time.monotonic()
    operator.live(DAYS, WHOLE if IS_WHOLE else SHORT)
    operator.recovers()
    operator.nothing_is_lost()
    for alert, at in month.inbox.arrived():
        if alert["state"] == "firing":
            chronicle.take_alert(alert["rule"], alert["subject"], alert["text"], at)
    operator.the_archives_are_those_of_the_configuration()
    operator.the_trail_is_whole()
    operator.nothing_is_visible()
    chronicle.fact("days", DAYS)
    chronicle.fact("seconds in all", round(time.monotonic() - began))
    chronicle.close(bounded=IS_WHOLE)
    if IS_WHOLE and not chronicle.findings:
        page = with_table(PAGE.read_text(), chronicle.table())
        if os.environ.get("MONTH_WRITE"):
            PAGE.write_text(page)
        todo = "the table of docs/explanation/month.md is another one: run `MONTH_WRITE=yes make month`"
        chronicle.check(PAGE.read_text() == page, "docs", todo)
    say(f"\n{chronicle.text()}")
    assert not chronicle.findings
