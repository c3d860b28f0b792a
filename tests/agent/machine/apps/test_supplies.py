"""What an app reads under another identity, or may lack: the machines of both sides, and two Vaults."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.agent.machine.status.one_shot import results, results_at_timeout
from lessee.agent.machine.status.view import IdentityStatus, status
from lessee.core.errors import DeniedError, TemplateError, VaultUnreachableError
from lessee.core.failures import Kind
from lessee.core.immutable import replace
from lessee.core.paths import Folder
from lessee.core.secrets import Secret
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.protocol.app_spec import app_of, supply_name
from support.models.world import World, app_spec, creds, ref
from support.thorough import examples

NAME = "b"
A, B, C = ref("p/db/a"), ref("p/db/b"), ref("p/db/c")
FOLDER = Folder("secret", "p/keys/")
X, Y = creds("x"), creds("y")


def of_b(need):
    return replace(need, identity=NAME)


class Home(World):
    """The Vault of the app. The leases of the other one are not its own."""

    def save_snapshot(self, command):
        self.snapshots[command.app] = command
        self.post(ev.SnapshotSaved(command.app))


class Far(World):
    """The other Vault. Its readers are those of the app in the home world."""

    home = None

    def used_by_readers(self, app):
        files = [generation.files[0].content for generation in [self.home.live.get(app_of(app))] if generation]
        return {name for name in self.leases for content in files if f"'{name}'" in str(content)}


class Two:
    """An app `web` whose home is one Vault, while another one supplies some of its needs."""

    def __init__(self, own, other, *, optional=(), identity=NAME, home="available", far="available", **settings):
        self.source = supply_name("web", identity)
        labeled = frozenset(replace(need, identity=identity) for need in optional)
        spec = replace(app_spec(*own, **settings), sources=frozenset([self.source]), optional=labeled)
        supplied = replace(
            app_spec(*other, notifies=spec.notifies, compiled_app=None),
            supplies=identity,
            optional=frozenset(optional),
        )
        self.home, self.far = Home({"web": spec}), Far({self.source: supplied})
        self.far.home = self.home
        for world in (self.home, self.far):
            for need in (A, B, C, FOLDER.ref("one")):
                world.write(need)
        self.home.vault, self.far.vault = home, far
        self.boot()

    def boot(self):
        self.home.boot()
        self.far.boot()
        self.relay()

    def relay(self):
        supplied = self.far.state.apps[self.source]
        if supplied.supply is not None and self.app.supplies.get(self.source) is not supplied.supply:
            self.home.take(ev.Supplied("web", self.source, supplied.supply))
        self.far.take(ev.ReadersChanged(self.source, self.app))

    def run(self, seconds):
        for _ in range(int(seconds / 0.25)):
            self.home.run(0.25)
            self.far.run(0.25)
            self.relay()

    @property
    def app(self):
        return self.home.state.apps["web"]

    @property
    def content(self):
        live = self.home.live.get("web")
        return live.files[0].content.decode() if live else None

    @property
    def status(self):
        worlds = (
            IdentityStatus("home", "https://a", self.home.state),
            IdentityStatus("far", "https://b", self.far.state),
        )
        return status(worlds, self.home.now, self.home.now, environment=None)

    def shows(self, *needs):
        """The current version of each of these needs, as the two Vaults have it."""
        content = self.content
        return all(
            f"('{need}', {{'v': {(self.far if need.identity else self.home).kv[replace(need, identity='')]}}})"
            in content
            for need in needs
        )


def test_the_files_have_the_secrets_of_both_and_each_change():
    two = Two([A], [B, FOLDER])
    two.run(3)
    assert two.content is not None
    first = two.content
    two.far.write(B)
    two.run(3)
    second = two.content
    two.home.write(A)
    two.run(3)
    assert len({first, second, two.content}) == 3
    assert two.status["fresh"]
    two.far.write(FOLDER.ref("two"))
    two.run(3)
    assert f"{NAME}:{FOLDER}two" in two.content
    assert [secret["path"] for secret in two.status["apps"]["web"]["secrets"]] == [
        str(A),
        f"b:{B}",
        f"b:{FOLDER}one",
        f"b:{FOLDER}two",
    ]


def test_what_changes_together_is_supplied_together():
    two = Two([A], [B, C])
    two.run(3)
    published = len(two.home.published)
    unanswered = two.far.never_answer(cmd.ReadSecret)
    two.far.write(B)
    two.far.write(C)
    two.run(3)
    assert unanswered
    assert len(two.home.published) == published
    two.run(60)
    assert len(two.home.published) == published + 1


def test_a_change_is_supplied_although_another_secret_has_only_a_new_version():
    two = Two([A], [B, C])
    two.run(3)
    answer, dropped = two.far.answer, []
    two.far.secret = lambda ref, version=None: Secret({"v": 1 if ref == C else version or two.far.kv[ref]})

    def dropping(command):
        if isinstance(command, cmd.ReadSecret) and command.ref == C and not dropped:
            dropped.append(command)
        else:
            answer(command)

    two.far.answer = dropping
    two.far.write(B)
    two.far.write(C)
    two.run(60)
    assert f"('b:{B}', {{'v': 2}})" in two.content


def test_an_outage_of_one_leaves_the_part_of_the_other_fresh():
    two = Two([A], [B, FOLDER])
    two.run(3)
    two.far.write(B)
    two.far.write(FOLDER.ref("one"))
    two.far.vault = "refuses"
    two.run(30)
    before = two.content
    two.home.write(A)
    two.run(3)
    assert two.content != before
    described = two.status
    assert not described["fresh"]
    assert not described["apps"]["web"]["fresh"]
    assert described["apps"]["web"]["degraded"] is None
    two.far.vault = "available"
    two.run(40)
    assert two.status["fresh"]


def test_a_cold_start_waits_for_what_is_not_optional():
    two = Two([A], [B], far="refuses")
    two.run(30)
    assert two.content is None
    assert not two.status["ready"]
    assert results([two.home.state, two.far.state]) is None
    error = results_at_timeout([two.home.state, two.far.state])["web"]
    assert isinstance(error, VaultUnreachableError)
    assert f"b:{B}: connection refused" in str(error)
    two.far.vault = "available"
    two.run(40)
    assert two.status["fresh"]
    assert results([two.home.state, two.far.state]) == {"web": None}


@pytest.mark.no_cover
@pytest.mark.parametrize("need", [B, FOLDER, X])
def test_a_cold_start_does_without_what_is_optional_after_a_while(need):
    two = Two([A], [need], optional=[need], far="refuses")
    two.run(1.5)
    assert two.content is None
    two.run(10)
    assert str(A) in two.content
    assert "b:" not in two.content
    described = two.status["apps"]["web"]
    assert described["degraded"] == f"b:{need} is missing: connection refused"
    assert described["degraded_since"] == described["published_at"]
    assert not described["fresh"]
    assert any(line.startswith("web: web is degraded: b:") for line in two.status["problems"])
    two.far.vault = "available"
    two.run(40)
    assert f"b:{need}" in two.content
    assert two.status["fresh"]
    assert two.status["apps"]["web"]["degraded"] is None


def test_one_s_own_secret_can_be_optional_too():
    two = Two([A], [B], optional=[B], identity="")
    two.far.delete(B)
    two.run(5)
    assert str(B) not in two.content
    described = two.status
    assert described["fresh"]
    assert not described["problems"]
    two.far.write(B)
    two.run(5)
    assert str(B) in two.content


@pytest.mark.no_cover
def test_a_secret_that_is_deleted_is_missing_and_one_that_is_denied_is_not():
    two = Two([A], [B, C], optional=[B])
    two.run(3)
    two.far.denied.add(B)
    two.far.write(B)
    two.run(10)
    two.home.write(A)
    two.run(3)
    assert f"b:{B}" in two.content
    two.far.denied.discard(B)
    two.far.delete(B)
    two.run(90)
    assert f"b:{B}" not in two.content
    two.far.delete(C)
    two.run(5)
    published = len(two.home.published)
    two.home.write(A)
    two.run(10)
    assert len(two.home.published) == published
    error = results([two.home.state, two.far.state])["web"]
    assert isinstance(error, TemplateError)


def test_a_failing_folder_is_missing_and_a_secret_in_it_that_does_not_exist_is_not():
    two = Two([A], [FOLDER], optional=[FOLDER])
    two.far.denied.add(FOLDER.ref("one"))
    two.boot()
    two.run(5)
    assert "keys" not in two.content
    two.far.denied.clear()
    two.far.delete(FOLDER.ref("one"))
    two.run(60)
    assert two.status["apps"]["web"]["degraded"] is None


def test_a_path_that_fails_for_a_moment_is_waited_for():
    two = Two([A], [B], optional=[B])
    two.far.fail(Kind.PATH_ERROR, cmd.ReadSecret, times=1)
    two.boot()
    two.run(10)
    assert len(two.home.published) == 1
    assert f"b:{B}" in two.content


def test_what_is_optional_is_not_the_reason():
    two = Two([A], [B], optional=[B], far="refuses")
    two.home.denied.add(A)
    two.far.fail(Kind.DENIED, cmd.Login)
    two.boot()
    two.run(5)
    error = results([two.home.state, two.far.state])["web"]
    assert isinstance(error, DeniedError)
    assert str(A) in str(error)


def test_an_optional_secret_that_does_not_exist_is_not_the_reason_while_another_vault_is_slow():
    two = Two([A], [B, C], optional=[B])
    two.far.delete(B)
    two.home.vault = "refuses"
    two.boot()
    two.run(5)
    assert results([two.home.state, two.far.state]) is None
    two.far.delete(C)
    two.run(5)
    error = results([two.home.state, two.far.state])["web"]
    assert str(C) in str(error)
    assert str(B) not in str(error)


def test_a_login_that_is_refused_is_the_reason():
    two = Two([A], [B])
    two.far.fail(Kind.DENIED, cmd.Login)
    two.boot()
    two.run(5)
    assert two.content is None
    error = results([two.home.state, two.far.state])["web"]
    assert isinstance(error, DeniedError)
    assert "login as b failed" in str(error)


def test_the_files_of_a_previous_run_stay_until_an_input_changes():
    two = Two([A], [B], optional=[B])
    two.run(3)
    whole = two.content
    two.far.vault = "refuses"
    two.boot()
    two.run(20)
    assert two.content == whole
    assert two.status["apps"]["web"]["degraded"] is not None
    two.home.write(A)
    two.run(3)
    assert f"b:{B}" not in two.content
    two.far.vault = "available"
    two.run(40)
    assert f"b:{B}" in two.content


def test_a_child_s_environment_is_rendered_without_what_is_missing():
    two = Two([A], [B], optional=[B], sets_environment=True)
    two.run(3)
    two.far.vault = "refuses"
    two.boot()
    two.run(20)
    assert f"b:{B}" not in two.content


@pytest.mark.no_cover
@pytest.mark.parametrize("probes", [False, True])
def test_a_lease_is_replaced_and_the_old_one_revoked_once_readers_have_its_successor(probes):
    two = Two([A], [X], probes=probes)
    two.far.lease_ttl, two.far.lease_max_ttl = 600.0, 1200.0
    two.run(3)
    (first,) = two.far.leases
    two.home.write(A)
    two.run(3)
    two.run(1300)
    assert len(two.far.issued) > 1
    assert first in two.far.revocations_sent
    assert two.status["fresh"]
    assert [lease["apps"] for lease in two.status["leases"]] == [["web"]]


@pytest.mark.no_cover
def test_a_lease_that_ends_in_an_outage_is_reported_and_its_files_handled():
    two = Two([A], [X])
    two.far.lease_ttl = two.far.lease_max_ttl = 20.0
    two.boot()
    two.run(3)
    two.far.vault = "refuses"
    two.run(40)
    assert [(app, paths) for _, app, paths in two.far.expired] == [("web@b", ("database/creds/x",))]
    described = two.status["apps"]["web"]
    assert described["degraded"] == "the lease of database/creds/x has expired"
    assert described["degraded_since"]
    published = len(two.home.published)
    two.home.write(A)
    two.run(5)
    assert len(two.home.published) == published
    two.far.vault = "available"
    two.run(60)
    assert len(two.home.published) > published
    assert two.status["apps"]["web"]["degraded"] is None


def test_a_lease_that_has_ended_is_not_published_again_before_its_successor_is_issued():
    two = Two([A], [X])
    two.far.lease_ttl = two.far.lease_max_ttl = 20.0
    two.boot()
    two.run(3)
    two.far.never_answer(cmd.IssueSecret, times=1)
    while two.app.supplies[two.source].live:
        two.run(0.25)
    assert not two.app.supplies[two.source].missing
    published = len(two.home.published)
    two.home.write(A)
    two.home.run(1.5)
    assert len(two.home.published) == published
    two.far.run(1.5)
    two.run(40)
    assert len(two.home.published) > published


def test_leases_of_the_other_identity_do_not_forbid_a_rollback():
    two = Two([A], [X], probes=True)
    two.run(5)
    good = two.content
    two.home.is_ready = lambda generation: generation.files[0].content.decode() == good
    two.home.write(A)
    two.run(20)
    assert two.content == good
    assert two.app.publication.rolled_back is not None


def test_a_fallback_serves_if_any_of_the_vaults_is_unavailable():
    two = Two([A], [B], far="refuses", falls_back=True)
    two.home.render_fallback = lambda command: two.home.post(
        ev.FallbackRendered("web", command.job, two.home.generation("web", "variables"), "env"), 0.01
    )
    two.run(20)
    assert two.content == "variables"
    two.far.vault = "available"
    two.run(40)
    assert f"b:{B}" in two.content


def test_a_fallback_does_not_hide_what_another_identity_may_not_read():
    two = Two([A], [B], falls_back=True)
    two.far.denied.add(B)
    two.boot()
    two.run(10)
    assert two.app.fallback.barred


def test_a_snapshot_has_everything_with_the_ends_of_all_leases():
    two = Two([A, Y], [X, B], optional=[B], saves_snapshots=True)
    two.run(5)
    command = two.home.snapshots["web"]
    assert command.ends.keys() == {Y, of_b(X)}
    assert command.dynamic.keys() == {Y, of_b(X)}
    assert command.secrets.keys() == {A, of_b(B)}


def test_a_snapshot_that_lacks_something_is_not_saved():
    two = Two([A], [B], optional=[B], far="refuses", saves_snapshots=True)
    two.run(20)
    assert two.content is not None
    assert not two.home.snapshots


def test_a_reload_retains_what_is_supplied_and_forgets_what_is_not_read_any_more():
    two = Two([A], [B])
    two.run(3)
    spec = two.home.apps["web"]
    two.home.configure({"web": replace(spec, compiled_app="r2")})
    two.run(1)
    assert two.app.supplies.keys() == {two.source}
    two.home.configure({"web": replace(spec, sources=frozenset(), compiled_app="r3")})
    two.run(0)
    assert two.app.supplies == {}
    supplied = two.far.apps[two.source]
    two.far.configure({two.source: replace(supplied, needs=frozenset([B, C]))})
    two.far.run(3)
    assert two.far.state.apps[two.source].supply.secrets.keys() == {of_b(B), of_b(C)}
    two.far.configure({})
    assert not [line for line in two.far.log_lines if line[1] == "app removed from configuration"]


def test_a_refresh_looks_at_what_is_supplied():
    two = Two([A], [B])
    two.run(3)
    two.far.take(ev.RefreshRequested())
    two.far.run(1)
    assert two.far.state.apps[two.source].supply is not None


def test_what_is_supplied_to_an_app_that_is_gone_is_ignored():
    two = Two([A], [B])
    two.run(3)
    supply = two.far.state.apps[two.source].supply
    two.home.take(ev.Supplied("gone", "gone@b", supply))
    two.far.take(ev.ReadersChanged("gone@b", two.app))
    assert "gone" not in two.home.state.apps


def test_versions_of_another_identity_are_not_reported_here():
    two = Two([A], [B], reports_as="host")
    two.home.rotated.add(A)
    two.far.rotated.add(B)
    two.boot()
    two.run(10)
    assert [list(versions) for versions in two.home.reported.values()] == [["db/a"]]


actions = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.sampled_from([0.25, 1.0, 5.0, 40.0, 400.0])),
        st.tuples(st.sampled_from(["write home", "write far", "delete far", "boot", "revoke", "refresh"]), st.none()),
        st.tuples(st.sampled_from(["home", "far"]), st.sampled_from(["available", "refuses", "hangs"])),
        st.tuples(st.sampled_from(["deny", "allow"]), st.none()),
    ),
    max_size=14,
)


@pytest.mark.long
@settings(max_examples=examples(25))
@given(actions, st.booleans(), st.booleans())
def test_no_order_of_events_loses_a_change_or_revokes_a_lease_that_readers_use(history, is_optional, probes):
    two = Two([A], [B, X], optional=[B, X] if is_optional else [], probes=probes)
    two.far.lease_ttl, two.far.lease_max_ttl = 300.0, 600.0
    for action, argument in history:
        match action:
            case "run":
                two.run(argument)
            case "home" | "far":
                getattr(two, action).vault = argument
            case "write home":
                two.home.write(A)
            case "write far":
                two.far.write(B)
            case "delete far":
                two.far.delete(B)
            case "deny":
                two.far.denied.add(B)
            case "allow":
                two.far.denied.clear()
            case "revoke":
                two.far.revoke_tokens()
            case "refresh":
                two.home.take(ev.RefreshRequested())
                two.far.take(ev.RefreshRequested())
            case _:
                two.boot()
        two.relay()
    two.far.denied.clear()
    two.far.write(B)
    two.home.write(A)
    for world in (two.home, two.far):
        world.repair()
    two.run(400)
    assert two.shows(A, of_b(B))
    held = two.far.state.leases[two.far.state.issuances[X].lease].lease
    assert str(dict(held.secret.data)) in two.content
    assert two.status["fresh"]
    assert two.status["apps"]["web"]["degraded"] is None
