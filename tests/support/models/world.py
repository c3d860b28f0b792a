"""A model of what surrounds the state machine: Vault, a disk, an app, and a clock that jumps to the next deadline."""

import heapq
import itertools
import random

from lessee.agent.machine.apps.fallback import COLD_START_DELAY
from lessee.agent.machine.apps.state import NOTIFIED_GRACE
from lessee.agent.machine.deadlines import wake_at
from lessee.agent.machine.kv.event_source import affected_needs
from lessee.agent.machine.step import start, steps
from lessee.core.change_events import Change
from lessee.core.failures import Failure, Kind
from lessee.core.generation import File, Generation
from lessee.core.immutable import replace
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.tokens import Token
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.protocol.app_spec import AppSpec, ReportTarget
from support.models.stored_deadlines import check_deadlines

ALWAYS_CHECKED = 200
"""Steps of a world after each of which the stored deadlines are checked."""
MAX_IDLE_STEPS = 10
"""Consecutive steps without an event and without any time between them, after which the machine is in a loop."""
REPORTS = "secret/metadata/p/lessee/consumers"


def app_spec(
    *needs,
    refresh_interval=1.0,
    notifies=True,
    compiled_app="r1",
    checks=False,
    probes=False,
    falls_back=False,
    saves_snapshots=False,
    reports_as="",
    sets_environment=False,
    keeps_files=False,
):
    """`reports_as`: the name under which the agent reports the app's versions of rotated secrets."""
    return AppSpec(
        frozenset(needs),
        refresh_interval,
        notifies,
        compiled_app,
        checks,
        probes,
        falls_back,
        saves_snapshots,
        ReportTarget(f"{REPORTS}/{reports_as}", "p/") if reports_as else None,
        sets_environment,
        keeps_files=keeps_files,
    )


class World:
    """Obeys the machine's commands after a latency. Each response is made at the moment of the command."""

    def __init__(
        self,
        apps,
        *,
        seed=1,
        lists_metadata=True,
        version=2,
        ttl=3600.0,
        token_max_ttl=float("inf"),
        token_uses=0,
        lease_ttl=3600.0,
        lease_max_ttl=float("inf"),
        latency=0.005,
        emergency_at=0.0,
    ):
        self.random = random.Random(seed)  # noqa: S311  # Every run can be repeated.
        self.now = 1000.0
        self.apps = self.all_apps = dict(apps)

        # Vault.
        self.vault = "available"
        """Or it "refuses" connections, or each request "hangs"."""
        self.lists_metadata, self.version, self.latency = lists_metadata, version, latency
        self.ttl, self.token_max_ttl = ttl, token_max_ttl
        self.emergency_at = emergency_at
        """What the metadata of a login's secret_id says."""
        self.token_uses, self.uses_left = token_uses, {}
        """How many requests a token allows, and how many each token still does; 0: any number."""
        self.lease_ttl, self.lease_max_ttl = lease_ttl, lease_max_ttl
        self.kv, self.deleted = {}, set()
        """The number of the latest version of each secret, and those whose latest version is deleted."""
        self.denied, self.without_metadata = set(), set()
        """Paths whose data the policy denies, and those whose metadata it denies."""
        self.rotated, self.reported = set(), {}
        """What a rotator writes, and the versions reported to it, by path."""
        self.loses_reports, self.unanswered_reports = False, set()
        """Whether reports are stored without an answer, and the paths whose last report was not answered."""
        self.names, self.tokens, self.leases = itertools.count(1), {}, {}
        self.issued, self.revocations_sent = [], set()
        self.requests, self.hanging = [], set()

        # What outlives the agent.
        self.stored_leases, self.stored_tokens = {}, {}
        self.disk_full = False
        self.numbers, self.generations, self.records = itertools.count(1), {}, {}
        self.live, self.number, self.published = {}, {}, []
        """The generation that readers see, its number, and all that were published."""
        self.snapshots, self.fallbacks = {}, {}
        """The saved snapshots, and the fallback of each app whose files come from one."""

        self.drifts = {}
        """What another program changed in an app's directory, and whether readers may have read it."""

        # The apps.
        self.notification_pending, self.notified = set(), {}
        """The apps with a pending notification on record, and the generation of which each was last notified."""
        self.app_running = True
        self.check_passes = self.is_ready = lambda _generation: True
        self.can_render, self.not_rendered = True, set()
        """Whether the templates can be rendered, and the apps whose own could not."""
        self.probe_seconds = 0.5
        self.fallback_variables, self.fallback_seconds, self.fallback_renderings = None, 0.01, []
        self.expired = []

        self.log_lines, self.steps = [], 0
        self.state = start(seed)
        self.inbox, self.order = [], itertools.count()
        self.boot()

    # What tests do.

    def write(self, ref):
        self.kv[ref] = self.kv.get(ref, 0) + 1
        self.deleted.discard(ref)

    def delete(self, ref):
        if ref in self.kv:
            self.deleted.add(ref)

    def boot(self):
        """Start the agent, with what its previous run stored."""
        self.state = start(self.random.getrandbits(64))
        self.listings = {}
        self.inbox.clear()
        self.not_rendered.clear()
        self.replaced = {}
        events = [
            ev.Configured(self.apps),
            ev.LeasesRecovered(tuple(self.stored_leases.values()), tuple(self.stored_tokens.values())),
        ]
        self.take(*events, *map(self.recovered, self.apps))

    def configure(self, apps):
        new = set(apps) - set(self.apps)
        self.not_rendered = {
            name
            for name in self.not_rendered
            if name in apps and apps[name].compiled_app == self.apps[name].compiled_app
        }
        self.apps = dict(apps)
        self.take(ev.Configured(self.apps))
        for app in new:
            self.take(self.recovered(app))

    def recovered(self, app):
        number = self.number.get(app)
        record = self.records.get(app, {})
        pending = record.get("unverified") == number and number is not None
        generations = self.generations.get(app, {})
        old = [n for n in sorted(generations) if number is not None and n < number]
        self.replaced[app] = dict.fromkeys(old, self.now)
        self.generations[app] = {n: generation for n, generation in generations.items() if n in {*old, number}}
        return ev.AppRecovered(
            app,
            number,
            app in self.notification_pending,
            self.now if number else None,
            tuple((n, self.now) for n in old),
            readiness_pending=pending,
            rollback_to=record.get("previous") if pending and record.get("previous") in self.generations[app] else None,
            failed_fingerprint=record.get("failed"),
            fingerprint=self.live[app].fingerprint if number else None,
            fallback=self.fallbacks.get(app) if number else None,
        )

    def set_event_source(self, *, live, poll_interval=60.0, jitter=0.0, silent_for=0.0):
        self.take(ev.EventSourceChanged(live, poll_interval, jitter, silent_for))

    def report_change(self, ref, operation="update"):
        """The event source reports a change."""
        change = Change(None, ref.mount, ref.path, None, operation, "")
        if needs := affected_needs(self.state, change):
            self.take(ev.SecretsChanged(needs))

    def touch(self, app, what="a.txt: altered", *, changed=True, seen=True):
        """Another program changes an app's files. `seen`: inotify reports it."""
        if app in self.live:
            self.drifts[app] = (what, changed or (app in self.drifts and self.drifts[app][1]))
        if seen:
            self.post(ev.FilesTouched(app), 0.1)

    def revoke_tokens(self):
        """An operator does this, or a server that lost its storage."""
        for token in list(self.tokens):
            self.end_token(token)

    def end_token(self, token):
        self.tokens.pop(token, None)
        for lease in [name for name, known in self.leases.items() if known.token == token]:
            del self.leases[lease]

    def use_token(self, token):
        """Vault revokes a token with its last request; no reader may depend on its leases then."""
        if token in self.uses_left:
            self.uses_left[token] -= 1
            assert self.uses_left[token] > 0, "the last use of a token is for its revocation"

    def expire_old(self):
        for token in [name for name, known in self.tokens.items() if known.ends_at <= self.now]:
            self.end_token(token)
        for lease in [name for name, known in self.leases.items() if known.ends_at <= self.now]:
            del self.leases[lease]

    def used_by_readers(self, app):
        """The leases in what the app's readers see, and in what the app was last notified of."""
        record, generations = self.records.get(app, {}), self.generations.get(app, {})
        previous = generations.get(record.get("previous")) if self.apps[app].probes else None
        contents = [each for each in (self.live.get(app), self.notified.get(app), previous) if each]
        return {
            name for name in self.leases for generation in contents if f"'{name}'" in str(generation.files[0].content)
        }

    def run(self, seconds):
        """Jump from deadline to deadline."""
        until = self.now + seconds
        idle_steps = 0
        while True:
            due = min(self.inbox[0][0] if self.inbox else until, max(self.now, wake_at(self.state)))
            if due >= until:
                self.now = until
                return
            idle_steps = 0 if due > self.now or self.inbox else idle_steps + 1
            assert idle_steps < MAX_IDLE_STEPS, "the machine is in a loop"
            self.now = due
            events = []
            while self.inbox and self.inbox[0][0] <= self.now:
                events.append(heapq.heappop(self.inbox)[2])
            before = self.state
            self.take(*(events or [ev.Tick()]))
            if not events and self.state == before:
                raise AssertionError(f"the deadline {self.now} has nothing to do")

    def act(self, action, argument):
        """One action of a random history."""
        match action:
            case "run":
                self.run(argument)
            case "write":
                self.write(argument)
            case "delete":
                self.delete(argument)
            case "deny":
                self.denied.add(argument)
            case "allow":
                self.denied.discard(argument)
            case "vault":
                self.vault = argument
            case "revoke":
                self.revoke_tokens()
            case "disk_full":
                self.disk_full = argument
            case "app_running":
                self.app_running = argument
            case "crash":
                self.boot()
            case "compiled_app":
                self.configure(self.apps | {"one": replace(self.apps["one"], compiled_app=argument)})
            case "apps":
                chosen = {name: spec for name, spec in self.all_apps.items() if name == "one" or name in argument}
                self.configure(chosen)
            case "is_ready":
                self.is_ready = argument
            case "check_passes":
                self.check_passes = argument
            case "can_render":
                self.can_render = argument
            case "refresh":
                self.take(ev.RefreshRequested())
            case "event_source":
                self.set_event_source(live=argument)
            case "report_change":
                self.report_change(argument)
            case "variables":
                self.fallback_variables = argument
            case "touch":
                self.touch(argument[0], changed=argument[1], seen=argument[2])
            case "reboot":
                self.reboot(argument)
            case _:
                raise AssertionError(action)

    def repair(self):
        """From now on nothing fails."""
        self.vault, self.disk_full, self.app_running, self.can_render = "available", False, True, True
        self.check_passes = self.is_ready = lambda _generation: True

    def fail(self, kind, *commands, times=10**9):
        """Fail the next requests of these commands."""
        answer, left = self.answer, [times]

        def failing(command):
            if isinstance(command, commands) and left[0]:
                left[0] -= 1
                self.post(ev.RequestFailed(command.request_id, Failure(kind, "some reason")), 0.01)
                self.note_unanswered(command)
            else:
                answer(command)

        self.answer = failing

    def never_answer(self, kind, *, times=1):
        """Do not answer the next requests of a kind. Returns the list to which they are added."""
        answer, unanswered = self.answer, []

        def collecting(command):
            if isinstance(command, kind) and len(unanswered) < times:
                unanswered.append(command)
                self.note_unanswered(command)
            else:
                answer(command)

        self.answer = collecting
        return unanswered

    def run_until_fallback(self):
        while not self.fallback_renderings:
            self.run(0.0005)

    def run_until_pending(self, kind):
        while not any(isinstance(request.command, kind) for request in self.state.requests.values()):
            self.run(0.0005)

    def reboot(self, app):
        """The machine boots: everything in memory is lost."""
        tables = (self.live, self.number, self.generations, self.records, self.replaced, self.notified, self.fallbacks)
        for table in tables:
            table.pop(app, None)
        self.notification_pending.discard(app)
        self.stored_leases.clear()
        self.stored_tokens.clear()
        self.boot()

    # How it obeys.

    def take(self, *events):
        self.expire_old()
        self.state, commands = steps(self.state, events, self.now)
        self.steps += 1
        # Wrong deadlines remain wrong for a while, and a month of simulated time has many steps.
        if self.steps < ALWAYS_CHECKED or self.steps % 20 == 0:
            check_deadlines(self.state)
        for command in commands:
            self.obey(command)

    def post(self, event, delay=0.0):
        heapq.heappush(self.inbox, (self.now + delay, next(self.order), event))

    def obey(self, command):
        match command:
            case cmd.Log():
                self.log_lines.append((command.level, command.event, dict(command.fields)))
            case cmd.AbandonRequest():
                self.hanging.discard(command.request_id)
            case cmd.Render():
                self.post(self.rendered(command))
            case cmd.RenderFallback():
                self.render_fallback(command)
            case cmd.SaveSnapshot():
                self.save_snapshot(command)
            case cmd.RunCheck():
                self.check(command)
            case cmd.Publish():
                self.publish(command)
            case cmd.Notify():
                self.notify(command)
            case cmd.Probe():
                self.probe(command)
            case cmd.CancelProbe():
                pass
            case cmd.MarkReady():
                self.records[command.app] |= {"unverified": None, "previous": None}
            case cmd.AllowRetry():
                self.records[command.app]["failed"] = None
            case cmd.RollBack():
                self.roll_back(command)
            case cmd.MarkNotified():
                self.notification_pending.discard(command.app)
            case cmd.StoreLease():
                self.stored_leases[command.lease.id] = command.lease
            case cmd.ForgetLease():
                del self.stored_leases[command.id]
            case cmd.ForgetToken():
                self.stored_tokens.pop(command.id, None)
            case cmd.HandleExpiry():
                self.expired.append((self.now, command.app, command.paths))
            case cmd.Prune():
                self.prune(command)
            case cmd.CheckFiles():
                self.check_files(command)
            case _:
                self.requests.append((self.now, command))
                self.answer(command)

    def rendered(self, command):
        if not self.can_render:
            self.not_rendered.add(command.app)
            return ev.RenderFailed(command.app, command.job, "no such key")
        self.not_rendered.discard(command.app)
        return ev.Rendered(command.app, command.job, self.render(command))

    def render(self, command):
        inputs = sorted((str(ref), dict(secret.data)) for ref, secret in command.secrets.items())
        for folder, secrets in command.folders.items():
            inputs += sorted((f"{folder}{name}", dict(secret.data)) for name, secret in secrets.items())
        inputs += sorted((str(need), dict(secret.data)) for need, secret in command.dynamic.items())
        return self.generation(command.app, repr((command.compiled_app, inputs)))

    def generation(self, app, content):
        return Generation(app, (File("a", content.encode(), 0o440), File("b", content.encode(), 0o440)))

    def render_fallback(self, command):
        """Render from variables, or else from a snapshot whose leases have not expired."""
        app, job = command.app, command.job
        assert self.live.get(app) is None or app in self.fallbacks, "used the fallback although there are files"
        assert app not in self.not_rendered, "used the fallback although the template fails"
        outage = self.state.session.outage
        assert outage.is_confirmed, "used the fallback although Vault was not known to be unavailable"
        assert outage.last_failure_at - outage.since >= COLD_START_DELAY, "used the fallback too early"
        self.fallback_renderings.append((self.now, app))
        spec, generation, ends_at = self.snapshots.get(app, (None, None, 0.0))
        if self.fallback_variables is not None:
            generation = self.generation(app, self.fallback_variables)
            self.post(ev.FallbackRendered(app, job, generation, "env"), self.fallback_seconds)
        elif ends_at > self.now and spec.needs == self.apps[app].needs:
            self.post(ev.FallbackRendered(app, job, generation, "last_known_good"), 0.01)
        else:
            self.post(ev.FallbackFailed(app, job, "there is no snapshot"), 0.01)

    def save_snapshot(self, command):
        app, spec = command.app, self.apps[command.app]
        assert app not in self.fallbacks, "saved what was rendered from a fallback"
        generation = self.render(
            cmd.Render(app, 0, spec.compiled_app, command.secrets, command.folders, command.dynamic)
        )
        assert generation == self.live[app], "saved what readers do not see"
        if self.disk_full:
            self.post(ev.SnapshotSaved(app, "no room"))
        else:
            self.snapshots[app] = spec, generation, min(command.ends.values(), default=float("inf"))
            self.post(ev.SnapshotSaved(app))

    def check(self, command):
        app, job = command.app, command.job
        passes = self.check_passes(command.generation)
        self.post(ev.CheckPassed(app, job) if passes else ev.CheckFailed(app, job, "unfit"), 0.2)

    def publish(self, command):
        app, generation = command.app, command.generation
        if self.disk_full:
            self.post(ev.PublishFailed(app, command.job, "no room"))
            return
        changed = self.live.get(app) != generation
        if changed:
            if command.notify:
                self.notification_pending.add(app)
            record = self.records.setdefault(app, {"unverified": None, "previous": None, "failed": None})
            live = self.number.get(app)
            if live is not None:
                self.replaced.setdefault(app, {})[live] = self.now
            self.number[app] = next(self.numbers)
            never_worked = record["unverified"] == live and record["failed"] is None
            previous = None if app in self.fallbacks else record["previous"] if never_worked else live
            record |= {"unverified": None, "previous": None, "failed": None}
            if command.probe:
                record |= {"unverified": self.number[app], "previous": previous}
            self.set_live(app, self.number[app], generation)
        self.fallbacks.pop(app, None)
        if command.fallback is not None:
            self.fallbacks[app] = command.fallback
        self.post(ev.Published(app, command.job, self.number[app], changed, command.fallback))

    def set_live(self, app, number, generation):
        self.number[app], self.live[app] = number, generation
        self.generations.setdefault(app, {})[number] = generation
        self.published.append((self.now, app, self.apps[app].compiled_app, generation))

    def notify(self, command):
        if self.app_running:
            self.notified[command.app] = self.live[command.app]
            self.post(ev.Notified(command.app, command.job, "by a signal"))
        else:
            self.post(ev.NotificationFailed(command.app, command.job, "no process"))

    def probe(self, command):
        if self.is_ready(self.live[command.app]):
            self.post(ev.ReadinessPassed(command.app, command.job), self.probe_seconds)
        else:
            self.post(ev.ReadinessFailed(command.app, command.job, "500"), 3.0)

    def roll_back(self, command):
        app = command.app
        generation = self.generations[app][command.to]
        assert self.live[app].fingerprint == command.failed_fingerprint, "rolled back from another generation"
        assert app not in self.fallbacks, "rolled back from a fallback"
        self.replaced.setdefault(app, {})[self.number[app]] = self.now
        self.replaced[app].pop(command.to, None)
        if command.notify:
            self.notification_pending.add(app)
        self.records[app] = {"unverified": command.to, "previous": None, "failed": command.failed_fingerprint}
        self.set_live(app, command.to, generation)
        self.post(ev.RolledBack(app))

    def prune(self, command):
        # A reader may still use what was live a moment ago.
        app = command.app
        previous = self.state.apps[app].previous
        for number in command.numbers:
            assert number != self.number[app], "pruned what readers see"
            assert previous is None or number != previous.number, "pruned the target of a rollback"
            assert self.now - self.replaced[app].pop(number) > NOTIFIED_GRACE - 0.001
            del self.generations[app][number]

    def check_files(self, command):
        app = command.app
        number, (what, changed) = self.number.get(app), self.drifts.get(app, (None, False))
        if what is None or number is None:
            self.post(ev.FilesChecked(app, number))
        elif self.disk_full:
            self.post(ev.FilesChecked(app, number, (what,), error="no room"))
        else:
            del self.drifts[app]
            self.replaced.setdefault(app, {})[number] = self.now
            if changed:
                self.notified.pop(app, None)
            if changed and command.notify:
                self.notification_pending.add(app)
            record = self.records[app]
            self.number[app] = new = next(self.numbers)
            record["unverified"] = new if record["unverified"] == number else record["unverified"]
            self.generations[app][new] = self.live[app]
            self.post(ev.FilesChecked(app, new, (what,), changed))
            self.post(ev.FilesTouched(app), 0.1)

    # How Vault answers.

    def answer(self, command):
        self.assert_reportable(command)
        delay = self.latency * self.random.uniform(0.5, 3)
        if isinstance(command, cmd.RevokeLease):
            self.revocations_sent.add(command.lease_id)
        if self.vault == "hangs":
            self.hanging.add(command.request_id)
            self.note_unanswered(command)
            return
        if self.vault == "refuses":
            failure = Failure(Kind.UNAVAILABLE, "connection refused")
            self.post(ev.RequestFailed(command.request_id, failure), delay)
            self.note_unanswered(command)
            return
        try:
            self.post(self.serve(command), delay)
        except _FailedError as exc:
            self.note_unanswered(command)
            failure = Failure(exc.kind, exc.kind.value)
            self.post(ev.RequestFailed(command.request_id, failure, exc.metadata), delay)

    def note_unanswered(self, command):
        if isinstance(command, cmd.ReportVersions):
            self.unanswered_reports.add(command.path)

    def serve(self, command):
        request_id = command.request_id
        self.expire_old()
        match command:
            case cmd.Login():
                return self.log_in(command)
            case cmd.RevokeToken():
                return self.revoke_token(command)
            case cmd.IssueSecret() if command.token not in self.tokens:
                raise _FailedError(Kind.DENIED)
        current = self.state.session.token or self.token_in_use
        self.token_in_use = current
        if current.id not in self.tokens:
            raise _FailedError(Kind.DENIED)
        self.use_token(current.id)
        match command:
            case cmd.RenewToken():
                self.tokens[current.id] = self.token(current.id, self.tokens[current.id].created_at)
                return ev.TokenRenewed(request_id, self.tokens[current.id].token)
            case cmd.LookUpToken():
                left = self.tokens[current.id].ends_at - self.now
                token = replace(self.tokens[current.id].token, sent_at=self.now, ttl=left)
                return ev.TokenRenewed(request_id, token)
            case cmd.IssueSecret():
                return self.issue(command)
            case cmd.RenewLease():
                return self.renew_lease(command)
            case cmd.LookUpLease():
                if command.lease_id not in self.leases:
                    raise _FailedError(Kind.NOT_FOUND)
                left = self.leases[command.lease_id].ends_at - self.now
                return ev.LeaseRenewed(request_id, self.now, left, renewable=True)
            case cmd.RevokeLease():
                self.assert_unused({command.lease_id})
                self.leases.pop(command.lease_id, None)
                return ev.Revoked(request_id)
            case cmd.DetectKvVersion():
                return ev.KvVersionDetected(request_id, self.version)
            case cmd.ListFolder():
                return self.list_folder(command)
            case cmd.ReadMetadata():
                if command.ref in self.without_metadata or command.ref in self.denied:
                    raise _FailedError(Kind.DENIED)
                return ev.MetadataRead(request_id, self.metadata(command.ref))
            case cmd.ReadSecret():
                return self.read_secret(command)
            case cmd.ReportVersions():
                return self.report(command)
        raise AssertionError(command)

    def report(self, command):
        if command.path in self.denied:
            raise _FailedError(Kind.DENIED)
        there = self.reported.get(command.path, command.previous)
        if command.path in self.unanswered_reports:
            assert set(there) <= {*command.previous, *command.versions}, "a part of the report would stay"
        else:
            assert not command.previous or command.previous == there
        self.reported[command.path] = dict(command.versions)
        if not command.versions:
            del self.reported[command.path]
        if self.loses_reports:
            raise _FailedError(Kind.UNAVAILABLE)
        self.unanswered_reports.discard(command.path)
        return ev.VersionsReported(command.request_id)

    def assert_reportable(self, command):
        if not isinstance(command, cmd.ReportVersions) or not command.versions:
            return
        app = command.app
        assert app not in self.notification_pending, "reported what the app was not notified of"
        assert self.records[app]["unverified"] is None, "reported what is not known to work"
        content = str(self.live[app].files[0].content)
        for path, version in command.versions.items():
            assert f"{{'v': {version}, 'rotation_count'" in content, f"reported of {path} what readers do not see"

    def log_in(self, command):
        saved = list(self.stored_tokens)[-1:] if not command.fresh else []
        if saved and saved[0] in self.tokens:
            left = self.tokens[saved[0]].ends_at - self.now
            self.use_token(saved[0])
            uses = self.uses_left.get(saved[0], 0)
            token = replace(self.tokens[saved[0]].token, sent_at=self.now, ttl=left, uses=uses)
            return ev.LoggedIn(command.request_id, token, reused=True)
        name = f"t{next(self.names)}"
        self.tokens[name] = self.token(name, self.now)
        if self.token_uses:
            self.uses_left[name] = self.token_uses
        self.stored_tokens[name] = self.tokens[name].token
        return ev.LoggedIn(command.request_id, replace(self.tokens[name].token, emergency_at=self.emergency_at))

    def token(self, name, created_at):
        ttl = min(self.ttl, created_at + self.token_max_ttl - self.now)
        token = Token(name, self.now, ttl, renewable=True, id=name, uses=self.uses_left.get(name, self.token_uses))
        return _ServerToken(token, self.now + ttl, created_at)

    def revoke_token(self, command):
        self.assert_unused({name for name, known in self.leases.items() if known.token == command.token})
        self.end_token(command.token)
        return ev.Revoked(command.request_id)

    def issue(self, command):
        need = command.need
        if need in self.denied:
            raise _FailedError(Kind.DENIED)
        # The agent cannot know of lost responses, nor whether a lease that it revoked has ended.
        for name in (self.leases.keys() & self.stored_leases.keys()) - self.revocations_sent:
            known = self.leases[name]
            is_near_end = known.ends_at - self.now <= known.ttl * 0.51
            assert is_near_end or known.need != need or known.token != command.token, "issued a second lease"
        name = f"l{len(self.issued) + 1}"
        end = self.now + min(self.lease_ttl, self.lease_max_ttl)
        self.leases[name] = _ServerLease(need, command.token, end, self.now + self.lease_max_ttl, self.now)
        self.issued.append((self.now, need))
        secret = Secret({"lease": name})
        ttl = end - self.now
        lease = Lease(name, need, secret, name, command.token, self.now, self.now, ttl, renewable=True)
        return ev.SecretIssued(command.request_id, lease)

    def renew_lease(self, command):
        known = self.leases.get(command.lease_id)
        if known is None:
            raise _FailedError(Kind.NOT_FOUND)
        assert known.ends_at - self.now > 1.9, "renewed in its final seconds"
        known.ends_at = min(self.now + self.lease_ttl, known.max_at)
        return ev.LeaseRenewed(command.request_id, self.now, known.ends_at - self.now, renewable=True)

    def assert_unused(self, leases):
        if not self.state.stopping:
            for app in self.apps:
                assert not leases & self.used_by_readers(app), "revoked what a reader uses"

    def list_folder(self, command):
        if command.detailed and not self.lists_metadata:
            raise _FailedError(Kind.UNSUPPORTED)
        refs = [ref for ref in self.kv if ref.folder == command.folder]
        if not refs:
            raise _FailedError(Kind.NOT_FOUND)  # As Vault does.
        secrets = {ref.path.removeprefix(command.folder.path): self.metadata(ref) for ref in refs}
        secrets = secrets if command.detailed else dict.fromkeys(secrets)
        key = (command.folder, command.detailed)
        if self.listings.get(key) != secrets:  # The agent's client decodes only a listing that has changed.
            self.listings[key] = secrets
        return ev.FolderListed(command.request_id, self.listings[key])

    def metadata(self, ref):
        if ref not in self.kv:
            raise _FailedError(Kind.NOT_FOUND)
        version = ref.version or self.kv[ref]
        return VersionMetadata(version, f"at {version}", "deleted" if ref in self.deleted else "")

    def read_secret(self, command):
        if command.ref in self.denied:
            raise _FailedError(Kind.DENIED)
        metadata = self.metadata(command.ref)
        if metadata.deletion_time:
            raise _FailedError(Kind.NOT_FOUND, metadata)
        secret = self.secret(command.ref, metadata.version)
        secret = replace(secret, metadata=metadata if self.version > 1 else None)
        return ev.SecretRead(command.request_id, secret)

    def secret(self, ref, version=None):
        number = version or self.kv[ref]
        return Secret({"v": number} | ({"rotation_count": number} if ref in self.rotated else {}))

    def current(self, app):
        """What the app's files should contain now, or None if an input is not available."""
        needs = self.apps[app].needs
        secrets, folders, dynamic = {}, {}, {}
        for need in needs:
            if isinstance(need, DynamicSecret):
                held = self.state.leases.get(self.state.issuances[need].lease)
                if held is None or held.lease.lease_id not in self.leases:
                    return None
                dynamic[need] = held.lease.secret
            elif isinstance(need, Folder):
                if any(ref.folder == need and ref in self.denied for ref in self.kv):
                    return None
                refs = [ref for ref in self.kv if ref.folder == need and ref not in self.deleted]
                folders[need] = {ref.path.removeprefix(need.path): self.secret(ref) for ref in refs}
            elif need not in self.kv or need in self.deleted or need in self.denied:
                return None
            else:
                secrets[need] = self.secret(need)
        return self.render(cmd.Render(app, 0, self.apps[app].compiled_app, secrets, folders, dynamic))


class _ServerToken:
    """A token on the server."""

    def __init__(self, token, ends_at, created_at):
        self.token, self.ends_at, self.created_at = token, ends_at, created_at


class _ServerLease:
    """A lease on the server."""

    def __init__(self, need, token, ends_at, max_at, now):
        self.need, self.token, self.ends_at, self.max_at = need, token, ends_at, max_at
        self.ttl = ends_at - now


class _FailedError(Exception):
    def __init__(self, kind, metadata=None):
        super().__init__(kind)
        self.kind, self.metadata = kind, metadata


def ref(path):
    return Ref("secret", path)


def creds(name):
    return DynamicSecret(f"database/creds/{name}")


def folder(path):
    return Folder("secret", path)
