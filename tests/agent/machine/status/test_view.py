"""What a running agent says of itself, of states that the machine came to."""

import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee import __version__
from lessee.agent.machine.apps.state import Drift
from lessee.agent.machine.session.state import Outage
from lessee.agent.machine.status.view import FRESH_INTERVALS, IdentityStatus, fresh, problems, ready, status
from lessee.agent.machine.step import start
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.secrets import Secret
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.stored_deadlines import altered
from support.models.world import World, app_spec, creds, folder, ref

CANARY = "HUNTER2-c4n4ry"
A, B, C = ref("p/db/a"), ref("p/db/b"), ref("p/key/c")
WALL = 1_764_000_000.0


class Vault(World):
    """The world with recognizable secret values, and with errors on request."""

    def __init__(self, apps, *, written=(A, B, C), failing=None, **more):
        self.failing, self.broken = dict(failing or {}), False
        super().__init__(apps, **more)
        for secret in written:
            self.write(secret)

    def answer(self, command):
        if failure := self.failing.get(type(command)):
            self.post(ev.RequestFailed(command.request_id, failure))
        else:
            super().answer(command)

    def serve(self, command):
        event = super().serve(command)
        if isinstance(event, ev.SecretRead):
            return ev.SecretRead(
                event.request_id, Secret({"v": f"{CANARY}-{event.secret.data['v']}"}, event.secret.metadata)
            )
        return event

    def obey(self, command):
        if isinstance(command, cmd.Render) and self.broken:
            self.post(ev.RenderFailed(command.app, command.job, "app.j2:3: db has no such key: 'nope'"))
        else:
            super().obey(command)

    def status(self):
        return status([self.account], self.now, WALL, environment="production")

    @property
    def account(self):
        return IdentityStatus("1234abcd", "https://vault:8200", self.state)


def world(*needs, refresh_interval=1.0, notifies=True, seconds=3.0, **more):
    made = Vault({"web": app_spec(*needs, refresh_interval=refresh_interval, notifies=notifies)}, **more)
    made.run(seconds)
    return made


def seconds_of(text):
    return datetime.fromisoformat(text).timestamp()


def test_the_status_has_the_documented_keys():
    found = world(A, C).status()
    assert {"version", "environment", "ready", "fresh", "problems", "vault", "token", "apps", "leases"} <= found.keys()
    assert {"address", "reachable", "since"} <= found["vault"].keys()
    assert {"accessor", "expires_at", "request_id"} <= found["token"].keys()
    app = found["apps"]["web"]
    assert {"generation", "published_at", "state", "degraded", "next_retry_at", "secrets", "notify"} <= app.keys()
    keys = {"path", "version", "read_at", "error", "since", "next_retry_at"}
    assert all(keys <= secret.keys() for secret in app["secrets"])
    assert {"pending", "last", "error"} <= app["notify"].keys()


def test_a_status_without_problems():
    found = world(A, C).status()
    assert (found["version"], found["environment"]) == (__version__, "production")
    assert (found["ready"], found["fresh"], found["problems"], found["leases"]) == (True, True, [], [])
    assert (found["vault"]["address"], found["vault"]["reachable"]) == ("https://vault:8200", True)
    assert found["token"]["accessor"] == "t1"
    app = found["apps"]["web"]
    assert (app["generation"], app["state"], app["degraded"], app["error"]) == (1, "notified", None, None)
    assert (app["notify"]["pending"], app["notify"]["error"], app["next_retry_at"]) == (False, None, None)
    assert [(s["path"], s["version"], s["error"]) for s in app["secrets"]] == [
        ("secret/p/db/a", 1, None),
        ("secret/p/key/c", 1, None),
    ]
    assert {found["totals"][key] for key in ("logins", "renders", "publications", "notifications")} == {1}


def test_each_app_has_its_freshness_and_its_oldest_check():
    made = Vault(
        {
            "web": app_spec(A, C),
            "api": app_spec(ref("p/none"), compiled_app="r2"),
            "none": app_spec(creds("x"), compiled_app="r3"),
        }
    )
    assert {app["last_checked_at"] for app in made.status()["apps"].values()} == {None}
    made.run(3)
    apps = made.status()["apps"]
    assert (apps["web"]["fresh"], apps["api"]["fresh"]) == (True, False)
    assert apps["web"]["last_checked_at"] == min(secret["last_checked_at"] for secret in apps["web"]["secrets"])
    assert WALL - FRESH_INTERVALS < seconds_of(apps["web"]["last_checked_at"]) <= WALL
    # A lease is no source that is looked at.
    assert apps["none"]["last_checked_at"] is None


def test_times_are_on_the_wall_clock():
    made = world(A)
    found = made.status()
    assert seconds_of(found["token"]["expires_at"]) == round(WALL - made.now + made.state.session.token.ends_at, 3)
    app = found["apps"]["web"]
    first = min(seconds_of(app["secrets"][0]["read_at"]), seconds_of(app["published_at"]))
    assert WALL - 3.0 <= first <= seconds_of(app["published_at"]) <= seconds_of(app["notify"]["last"]) < WALL
    assert found["token"]["expires_at"].endswith("+00:00")


def test_a_token_without_ttl_has_no_expiry():
    assert world(A, ttl=0.0).status()["token"]["expires_at"] is None


def test_the_initial_status_claims_nothing():
    found = status([IdentityStatus("1", "https://vault:8200", start(1))], 5.0, WALL, environment=None)
    assert (found["vault"]["reachable"], found["vault"]["since"], found["token"], found["apps"]) == (
        False,
        None,
        None,
        {},
    )
    waiting = Vault({"web": app_spec(A, folder("p/db/"))}).status()
    assert (waiting["ready"], waiting["fresh"], waiting["apps"]["web"]["state"]) == (False, False, "waiting")
    assert waiting["apps"]["web"]["published_at"] is None


def test_ready_means_that_every_app_has_a_published_generation():
    made = Vault({"web": app_spec(A), "api": app_spec(ref("p/none"), compiled_app="r2")})
    made.run(3)
    assert not ready(made.state)
    made.write(ref("p/none"))
    made.run(60)
    assert ready(made.state)


def test_a_generation_of_a_previous_run_counts_as_ready():
    made = world(A)
    made.vault = "refuses"
    made.boot()
    made.run(10)
    assert ready(made.state)
    assert not fresh(made.state, made.now)
    assert made.status()["apps"]["web"]["generation"] == 1


def test_fresh_means_that_every_secret_was_checked_within_its_interval_and_three_retries():
    for needs in ([A], [A, B], [folder("p/db/")]):
        made = world(*needs, refresh_interval=2.0, seconds=10)
        assert fresh(made.state, made.now)
        made.vault = "hangs"
        seen = made.now
        made.run(2.0 * FRESH_INTERVALS - 2.5)
        assert fresh(made.state, made.now), needs
        made.run(seen + 2.0 * FRESH_INTERVALS + 0.1 - made.now)
        assert not fresh(made.state, made.now), needs
        made.vault = "available"
        made.run(120)
        assert fresh(made.state, made.now), needs


def test_a_folder_that_was_never_listed_is_not_fresh():
    made = Vault({"web": app_spec(folder("p/db/"))})
    made.failing[cmd.ListFolder] = Failure(Kind.RATE_LIMITED, "asked too often")
    made.run(5)
    assert not fresh(made.state, made.now)


def test_an_empty_folder_is_fresh():
    made = world(folder("p/empty/"))
    assert fresh(made.state, made.now)
    assert ready(made.state)


def test_a_pinned_version_stays_fresh():
    pinned = replace(A, version=1)
    made = world(pinned, written=[pinned])
    made.run(1800)
    assert fresh(made.state, made.now)


def test_a_missing_secret_is_not_fresh_but_its_folder_is():
    alone, whole = world(A, B), world(folder("p/db/"))
    for made in (alone, whole):
        made.delete(A)
        made.run(10)
    assert not fresh(alone.state, alone.now)
    assert fresh(whole.state, whole.now)


def test_a_changed_secret_that_cannot_be_read_is_not_fresh():
    made = world(A, B)
    made.failing[cmd.ReadSecret] = Failure(Kind.RATE_LIMITED, "asked too often")
    made.write(A)
    made.run(2)
    assert not fresh(made.state, made.now)
    assert made.status()["apps"]["web"]["secrets"][0]["error"] == "asked too often"


def test_app_states_are_the_documented_ones():
    def state(made):
        return made.status()["apps"]["web"]["state"]

    assert state(world(ref("p/none"))) == "waiting"
    assert state(world(A)) == "notified"
    assert state(world(A, notifies=False)) == "published"
    deaf = Vault({"web": app_spec(A)})
    deaf.app_running = False
    deaf.run(3)
    assert state(deaf) == "published"
    broken = world(A)
    broken.broken = True
    broken.write(A)
    broken.run(3)
    assert state(broken) == "rejected"
    assert broken.status()["apps"]["web"]["generation"] == 1


def test_a_pending_notification_has_its_next_retry():
    made = Vault({"web": app_spec(A)})
    made.app_running = False
    made.run(3)
    app = made.status()["apps"]["web"]
    assert app["notify"] == {"pending": True, "last": None, "error": "no process"}
    assert seconds_of(app["next_retry_at"]) >= WALL - 0.001
    assert made.status()["problems"] == ["web is not notified: no process"]


def test_a_full_disk_has_its_next_retry():
    made = Vault({"web": app_spec(A)})
    made.disk_full = True
    made.run(3)
    found = made.status()
    assert found["problems"] == ["web is not published: no room"]
    assert found["apps"]["web"]["error"] == "no room"
    assert seconds_of(found["apps"]["web"]["next_retry_at"]) >= WALL - 0.001


def test_an_outage_has_its_start_and_its_next_retry():
    made = world(A)
    made.vault = "refuses"
    left = made.now
    made.run(30)
    found = made.status()
    assert found["vault"]["reachable"] is False
    assert WALL - 30 <= seconds_of(found["vault"]["since"]) <= WALL - 28 + (made.now - left - 30)
    assert seconds_of(found["vault"]["next_retry_at"]) >= WALL - 0.001
    assert found["problems"] == ["vault is unavailable: connection refused; files keep what it provided before"]
    assert found["ready"] is True


def test_a_login_that_fails_is_a_problem():
    made = Vault({"web": app_spec(A)}, failing={cmd.Login: Failure(Kind.DENIED, "invalid role or secret ID")})
    made.run(3)
    assert problems(made.account, made.now) == ["login failed: invalid role or secret ID"]
    assert made.status()["token"] is None


def revoked(made, *, emergency=None, again=True):
    """The revoked login in the status. `emergency`: seconds from the revocation to the emergency of the new login."""
    at = WALL - 5.0  # The status has the time WALL, five seconds after the revocation.
    made.revoke_tokens()
    made.emergency_at = at + emergency if emergency is not None else 0.0
    if not again:
        made.failing[cmd.Login] = Failure(Kind.DENIED, "refused")
    made.run(5.0)
    return made.status()["identities"][0]["revoked_login"]


def test_a_login_that_an_emergency_revoked_is_in_the_status_until_the_process_ends():
    made = world(A, token_max_ttl=300.0)
    assert made.status()["identities"][0]["revoked_login"] is None
    found = revoked(made, emergency=0.0)
    assert seconds_of(found["emergency_at"]) == WALL - 5.0
    assert WALL - 5.0 < seconds_of(found["found_at"]) <= seconds_of(found["logged_in_at"]) < WALL
    known, logins = made.state.session.revoked, made.state.counters.logins
    made.run(600.0)
    assert made.state.counters.logins > logins
    assert made.state.session.revoked == known


def test_a_revoked_login_without_a_new_one_says_when_it_was_found():
    found = revoked(world(A), emergency=0.0, again=False)
    assert (found["emergency_at"], found["logged_in_at"]) == (None, None)
    assert WALL - 5.0 < seconds_of(found["found_at"]) < WALL


@pytest.mark.no_cover
def test_only_an_emergency_during_the_login_counts():
    assert revoked(world(A))["emergency_at"] is None
    # The secret_id of this login was written after it: the earlier login was revoked then, and this one now.
    assert revoked(world(A, seconds=600.0), emergency=-3600.0)["emergency_at"] is None
    assert revoked(world(A), emergency=3600.0)["emergency_at"] is None


def test_a_restarted_agent_says_that_an_emergency_was_before_its_login():
    made = Vault({"web": app_spec(A)}, emergency_at=WALL - 3600.0)
    made.run(5.0)
    found = made.status()["identities"][0]["revoked_login"]
    assert found["found_at"] is None
    assert seconds_of(found["emergency_at"]) == WALL - 3600.0
    assert WALL - 5.0 <= seconds_of(found["logged_in_at"]) < WALL
    # The next login is not another one after an emergency.
    made.revoke_tokens()
    made.run(60.0)
    assert made.status()["identities"][0]["revoked_login"]["emergency_at"] is None


def test_a_login_that_names_an_emergency_of_the_future_says_nothing():
    made = Vault({"web": app_spec(A)}, emergency_at=WALL + 3600.0)
    made.run(5.0)
    assert made.status()["identities"][0]["revoked_login"] is None


def test_a_second_revocation_replaces_the_first():
    made = world(A)
    assert revoked(made, emergency=0.0)["emergency_at"]
    first = made.state.session.revoked
    made.run(60.0)
    made.emergency_at = 0.0
    made.revoke_tokens()
    made.run(60.0)
    second = made.status()["identities"][0]["revoked_login"]
    assert second["emergency_at"] is None
    assert made.state.session.revoked.found_at > first.logged_in_at


def test_a_login_that_waits_for_a_person_is_pending():
    made = Vault({"web": app_spec(A)}, failing={cmd.Login: Failure(Kind.PENDING, "waiting for a person")})
    made.run(3)
    assert problems(made.account, made.now) == ["login pending: waiting for a person"]


def test_a_missing_or_denied_secret_has_a_remedy():
    made = Vault({"web": app_spec(A, ref("p/none"))})
    made.denied.add(A)
    made.run(3)
    assert sorted(problems(made.account, made.now)) == [
        (
            "secret/p/db/a: denied; "
            "grant `read` in the token's policy (`lessee check --policy` prints it), or correct the path"
        ),
        "secret/p/none: it does not exist; write it, or correct the path in the template",
    ]


def test_a_mount_or_folder_that_fails_is_a_problem():
    made = Vault({"web": app_spec(A)})
    made.failing[cmd.DetectKvVersion] = Failure(Kind.DENIED, "there is no such mount")
    made.run(3)
    assert problems(made.account, made.now) == ["secret/: there is no such mount"]
    made = Vault({"web": app_spec(folder("p/db/"))})
    made.failing[cmd.ListFolder] = Failure(Kind.RATE_LIMITED, "asked too often")
    made.run(2)
    assert problems(made.account, made.now) == ["secret/p/db/: asked too often"]


def test_each_error_of_an_edited_configuration_is_a_problem():
    made = world(A)
    error = "lessee.yaml:3: unknown key\nlessee.yaml:9: wrong type"
    found = status([made.account], made.now, WALL, environment=None, reload_error=error)
    assert found["problems"] == [
        "the edited configuration is not in effect: lessee.yaml:3: unknown key",
        "the edited configuration is not in effect: lessee.yaml:9: wrong type",
    ]


def test_the_status_has_the_polling_method_of_each_folder():
    assert world(A, B, C).status()["vault"]["polling"] == {"secret/p/db/": "list", "secret/p/key/": "metadata"}
    assert world(A, B, lists_metadata=False).status()["vault"]["polling"] == {"secret/p/db/": "metadata"}
    assert world(A, B, version=1).status()["vault"]["polling"] == {"secret/p/db/": "data"}
    pinned = replace(A, version=1)
    assert world(A, pinned, lists_metadata=False).status()["vault"]["polling"] == {"secret/p/db/": "metadata"}


ACTIONS = st.lists(
    st.sampled_from(["write", "delete", "deny", "break", "refuse", "hang", "full", "deaf", "crash", "mend"]), max_size=8
)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(ACTIONS)
def test_whatever_happens_the_status_is_json_without_secrets(actions):
    made = Vault({"web": app_spec(A, C), "all": app_spec(folder("p/db/"), compiled_app="r2", notifies=False)})
    made.run(7)
    assert all(CANARY.encode() in made.live[app].files[0].content for app in ("web", "all"))
    for action in actions:
        match action:
            case "write":
                made.write(A)
            case "delete":
                made.delete(A)
            case "deny":
                made.denied.add(B)
            case "break":
                made.broken = True
            case "refuse" | "hang":
                made.vault = f"{action}s"
            case "full":
                made.disk_full = True
            case "deaf":
                made.app_running = False
            case "crash":
                made.boot()
            case "mend":
                made.vault, made.broken, made.disk_full, made.app_running = "fair", False, False, True
                made.denied.clear()
        made.run(7)
        assert CANARY not in json.dumps(made.status(), allow_nan=False)
        assert CANARY not in repr(made.state)


X = creds("x")


def test_a_lease_has_its_times_and_its_apps():
    made = world(X, lease_ttl=100.0)
    (lease,) = made.status()["leases"]
    assert (lease["path"], lease["lease_id"], lease["state"], lease["apps"]) == (X.path, "l1", "held", ["web"])
    assert lease["issued_at"] < lease["renew_at"] < lease["expires_at"]
    assert 96 < lease["expires_in"] < 97.1
    assert made.status()["totals"]["leases_issued"] == 1
    assert (made.status()["fresh"], made.status()["apps"]["web"]["degraded"]) == (True, None)


def test_a_lease_without_ttl_and_a_superseded_lease_are_recognizable():
    made = world(X)
    held = made.state.leases["l1"]
    endless = replace(held, lease=replace(held.lease, ttl=0.0, token="none"), renew_at=float("inf"))
    superseded = replace(held, status="superseded", lease=replace(held.lease, id="l0", lease_id=""))
    leases = {"l1": replace(endless, replace_at=float("inf")), "l0": superseded}
    made.state = altered(made.state, made.now, leases=leases)
    first, second = made.status()["leases"]
    assert (first["expires_at"], first["expires_in"], first["renew_at"]) == (None, None, None)
    assert (second["state"], second["lease_id"]) == ("retiring", None)


def test_a_lease_that_expired_during_an_outage_makes_its_app_degraded_and_not_fresh():
    made = world(X, lease_ttl=100.0)
    made.vault = "refuses"
    made.run(200.0)
    found = made.status()
    assert [lease["state"] for lease in found["leases"]] == ["expired"]
    assert found["leases"][0]["expires_in"] < -90
    assert found["apps"]["web"]["degraded"] == "the lease of database/creds/x has expired"
    assert (found["ready"], found["fresh"]) == (True, False)
    reason = "the lease of database/creds/x has expired"
    note = "its files remain unchanged until Vault issues a new lease"
    assert f"web is degraded: {reason}; {note}" in found["problems"]


def test_a_failed_issuance_or_renewal_is_a_problem_with_a_remedy():
    denied = world(X, failing={cmd.IssueSecret: Failure(Kind.DENIED, "permission denied (403)")})
    assert denied.status()["problems"] == [
        (
            "database/creds/x: not issued: permission denied (403); grant `read` in the token's policy "
            "(`lessee check --policy` prints it), or correct the path"
        )
    ]
    assert not denied.status()["fresh"]
    broken = world(
        X, seconds=1.0, failing={cmd.IssueSecret: Failure(Kind.PATH_ERROR, "the server failed at this path (500)")}
    )
    assert broken.status()["problems"] == ["database/creds/x: not issued: the server failed at this path (500)"]
    late = world(X, lease_ttl=100.0, failing={cmd.RenewLease: Failure(Kind.PATH_ERROR, "the server failed (500)")})
    late.run(72.0)
    assert "database/creds/x: not renewed: the server failed (500)" in late.status()["problems"]
    assert late.status()["leases"][0]["error"] == "the server failed (500)"


def test_problems_of_several_identities_name_their_apps():
    one, two = world(A), Vault({"db": app_spec(B)}, failing={cmd.Login: Failure(Kind.DENIED, "no such role")})
    two.run(2.0)
    gone = replace(two.account, id="5678", state=altered(two.state, two.now, apps={}))
    found = status([one.account, two.account, gone], one.now, WALL, environment=None)
    assert [identity["apps"] for identity in found["identities"]] == [["web"], ["db"], []]
    assert [identity["id"] for identity in found["identities"]] == ["1234abcd", "1234abcd", "5678"]
    assert found["problems"] == [
        "db: login failed: no such role",
        "an identity without apps: login failed: no such role",
    ]
    assert found["token"] == found["identities"][0]["token"]
    assert set(found["apps"]) == {"web", "db"}
    assert not found["ready"]
    assert found["totals"]["requests"] > one.status()["totals"]["requests"]


def test_a_request_without_response_is_a_problem_after_seconds():
    made = world(A)
    made.vault = "hangs"
    made.run(2.0)
    assert made.status()["problems"] == []
    made.run(4.0)
    (found,) = made.status()["problems"]
    assert found in {"vault has not answered a request for 4 s", "vault has not answered a request for 5 s"}


def test_a_suspected_outage_is_no_problem_yet():
    made = world(A)
    outage = Outage(since=made.now, attempts=0, next_at=made.now, text="the connection broke")
    made.state = replace(made.state, session=replace(made.state.session, outage=outage))
    assert (made.status()["problems"], made.status()["vault"]["reachable"]) == ([], True)


def test_a_rollback_has_its_reason_and_a_remedy():
    one = Vault({"one": app_spec(A, probes=True)})
    one.run(5.0)
    assert one.status()["apps"]["one"]["state"] == "ready"
    assert one.status()["apps"]["one"]["readiness"] == {"pending": False, "error": None}
    one.is_ready = lambda generation: f"{CANARY}-1" in str(generation.files[0].content)
    one.write(A)
    one.run(2.0)
    assert one.status()["apps"]["one"]["state"] == "notified"
    one.run(10.0)
    found = one.status()
    assert found["apps"]["one"]["state"] == "rolled_back"
    assert found["problems"] == [
        (
            "one is rolled back to generation 1: it was not ready with the newest: 500; "
            "correct the secret, or try again with `lessee refresh`"
        )
    ]
    assert found["totals"]["rollbacks"] == 1


def test_files_that_are_not_the_newest_are_not_fresh():
    made = world(A)
    assert made.status()["fresh"]
    made.broken = True
    made.write(A)
    made.run(3)
    rejected = made.status()
    assert (rejected["fresh"], rejected["apps"]["web"]["fresh"]) == (False, False)
    assert (rejected["ready"], rejected["apps"]["web"]["state"]) == (True, "rejected")
    made.broken = False
    made.write(A)
    made.run(3)
    assert made.status()["fresh"]
    made.disk_full = True
    made.write(A)
    made.run(3)
    unwritten = made.status()
    assert (unwritten["ready"], unwritten["fresh"], unwritten["apps"]["web"]["error"]) == (True, False, "no room")
    made.disk_full = False
    made.run(60)
    assert made.status()["fresh"]
    drifted = replace(made.state.apps["web"], drift=Drift(error="not restored"))
    assert not fresh(altered(made.state, made.now, apps={"web": drifted}), made.now)


def test_a_rollback_is_not_fresh():
    one = Vault({"one": app_spec(A, probes=True)})
    one.run(5.0)
    assert one.status()["fresh"]
    one.is_ready = lambda generation: f"{CANARY}-1" in str(generation.files[0].content)
    one.write(A)
    one.run(12.0)
    assert one.status()["apps"]["one"]["state"] == "rolled_back"
    assert not one.status()["fresh"]


def test_a_configuration_that_is_not_in_effect_is_not_fresh():
    made = world(A)
    found = status([made.account], made.now, WALL, environment=None, reload_error="unknown key")
    assert (found["ready"], found["fresh"], found["apps"]["web"]["fresh"]) == (True, False, True)
    app = status([made.account], made.now, WALL, environment=None, refused={"web": "no such template"})["apps"]["web"]
    assert (app["fresh"], app["error"]) == (False, "no such template")


def test_an_app_that_is_not_ready_is_a_problem():
    one = Vault({"one": app_spec(A, probes=True)})
    one.is_ready = lambda _generation: False
    one.run(10.0)
    assert one.status()["problems"] == ["one is not ready: 500"]


def test_refused_apps_are_problems_and_one_that_is_not_served_is_not_ready():
    made = world(A)
    made.run(5)

    def found(refused):
        status_ = status([made.account], made.now, WALL, environment=None, refused=refused)
        return status_["ready"], status_["fresh"], status_["problems"]

    assert found({}) == (True, True, [])
    assert found({"web": "one\ntwo"}) == (True, False, ["web: refused: one", "web: refused: two"])
    assert found({"other": "one"}) == (False, False, ["other: refused: one"])
