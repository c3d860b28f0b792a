"""The agent reports which versions of rotated secrets an app works with, as soon as that is known."""

import pytest

from lessee.agent.machine.apps.version_reports import is_deregistered, is_registered
from lessee.agent.machine.deadlines import wake_at
from lessee.agent.machine.status.problems import problems_of
from lessee.core.failures import Kind
from lessee.core.paths import Ref
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import REPORTS, World, app_spec, folder, ref

A, B = ref("p/db/a"), ref("p/db/b")
PLACE = f"{REPORTS}/simba/host"


def reporting_world(*needs, apps=None, rotated=(A,), version=2, **settings):
    world = World(
        apps if apps is not None else {"simba": app_spec(*(needs or (A,)), reports_as="simba/host", **settings)},
        version=version,
    )
    world.rotated = set(rotated)
    world.write(A)
    world.write(B)
    world.run(5.0)
    return world


def reports(world):
    return [command for _, command in world.requests if isinstance(command, cmd.ReportVersions)]


def logged(world, event):
    return [fields for _, what, fields in world.log_lines if what == event]


def rotator_problems(world):
    return [line for line in problems_of(world.state, world.now) if "rotator" in line]


@pytest.mark.no_cover
def test_versions_are_reported_once_immediately_after_the_notification():
    world = reporting_world()
    assert world.reported == {PLACE: {"db/a": 1}}
    world.run(600.0)
    assert len(reports(world)) == 1
    world.write(A)
    world.run(1.2)
    assert world.reported == {PLACE: {"db/a": 2}}
    assert [(one.versions, one.previous, one.generation) for one in reports(world)[1:]] == [
        ({"db/a": 2}, {"db/a": 1}, world.number["simba"])
    ]
    assert logged(world, "versions reported") == [
        {"app": "simba", "versions": "db/a=1"},
        {"app": "simba", "versions": "db/a=2"},
    ]


def test_an_app_without_rotated_secrets_costs_no_request():
    world = reporting_world(rotated=())
    world.write(A)
    world.run(60.0)
    assert not reports(world)


def test_kv_version_1_has_no_versions_to_report():
    assert not reports(reporting_world(version=1))


def test_an_app_without_report_target_reports_nothing():
    assert not reports(reporting_world(apps={"simba": app_spec(A)}))


def test_an_app_without_notification_reports_what_it_sees():
    assert reporting_world(notifies=False).reported == {PLACE: {"db/a": 1}}


def test_an_app_that_could_not_be_notified_reports_the_previous_versions():
    world = reporting_world()
    world.app_running = False
    world.write(A)
    world.run(120.0)
    assert world.reported == {PLACE: {"db/a": 1}}
    world.app_running = True
    world.run(30.0)
    assert world.reported == {PLACE: {"db/a": 2}}


def test_a_rolled_back_generation_is_never_reported():
    world = reporting_world(probes=True)
    world.is_ready = lambda generation: "'v': 2," not in str(generation.files[0].content)
    world.write(A)
    world.run(120.0)
    assert logged(world, "app rolled back")
    assert world.reported == {PLACE: {"db/a": 1}}
    assert len(reports(world)) == 1
    world.write(A)
    world.run(10.0)
    assert world.reported == {PLACE: {"db/a": 3}}


def test_an_unchanged_generation_is_reported_after_a_restart():
    world = reporting_world()
    world.reported.clear()
    world.boot()
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 1}}


def test_a_version_that_changes_no_file_is_reported_too():
    world = reporting_world()
    content = world.render
    world.render = lambda command: content(
        cmd.Render(command.app, command.job, command.compiled_app, {}, {}, {})  # It shows nothing of the secret.
    )
    world.assert_reportable = lambda _command: None
    world.write(A)
    world.run(3.0)
    shown = world.number["simba"]
    world.write(A)
    world.run(3.0)
    assert world.number["simba"] == shown
    assert world.reported == {PLACE: {"db/a": 3}}


def test_the_secrets_of_a_folder_and_the_pinned_version_of_a_secret_are_reported():
    world = reporting_world(folder("p/db/"), rotated=(A, B))
    world.write(B)
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 1, "db/b": 2}}
    pinned = Ref("secret", "p/db/a", 1)
    world = World({"simba": app_spec(A, pinned, reports_as="simba/host")})
    world.rotated = {A, pinned}
    world.kv |= {A: 3, pinned: 1}
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 1}}, "it still works with the old one"


def test_a_secret_outside_the_prefix_is_reported_by_its_full_path():
    shared = ref("shared/smtp")
    world = World({"simba": app_spec(shared, reports_as="simba/host")})
    world.rotated = {shared}
    world.write(shared)
    world.run(5.0)
    assert world.reported == {PLACE: {"shared/smtp": 1}}


def test_the_report_is_deleted_once_no_rotated_secret_is_read():
    world = reporting_world()
    world.configure({"simba": app_spec(B, compiled_app="r2", reports_as="simba/host")})
    world.run(5.0)
    assert world.reported == {}


def test_a_removed_app_is_not_reported_until_it_is_configured_again():
    world = reporting_world()
    apps = world.apps
    unanswered = world.never_answer(cmd.ReportVersions)
    world.write(A)
    world.run(2.0)
    assert len(unanswered) == 1
    world.configure({})
    world.post(ev.VersionsReported(unanswered[0].request_id))
    world.run(2.0)
    assert not world.state.version_reports
    world.configure(apps)
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 2}}


def test_a_failed_report_of_a_removed_app_is_not_logged():
    world = reporting_world()
    unanswered = world.never_answer(cmd.ReportVersions)
    world.write(A)
    world.run(2.0)
    world.configure({})
    world.fail(Kind.DENIED, cmd.ReportVersions)
    world.answer(unanswered[0])
    world.run(2.0)
    assert not logged(world, "versions not reported")


def test_a_new_report_path_gets_a_new_report():
    world = reporting_world()
    world.configure({"simba": app_spec(A, reports_as="simba/other")})
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 1}, f"{REPORTS}/simba/other": {"db/a": 1}}
    assert [one.previous for one in reports(world)] == [{}, {}], "nothing was reported at the new path before"


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.INVALID, Kind.UNSUPPORTED, Kind.NOT_FOUND])
def test_a_denied_report_is_logged_once_and_retried_only_with_the_next_version(kind):
    world = World({"simba": app_spec(A, reports_as="simba/host")})
    world.rotated = {A}
    world.fail(kind, cmd.ReportVersions)
    world.write(A)
    world.run(600.0)
    assert len(reports(world)) == 1
    for _ in range(5):
        world.write(A)
        world.run(60.0)
    assert len(reports(world)) == 6
    [warning] = logged(world, "versions not reported")
    assert warning["todo"] == f"grant `create`, `update` and `delete` on {REPORTS}/simba/*"
    [line] = rotator_problems(world)
    assert line == f"the rotator does not know which versions simba uses: some reason; {warning['todo']}"
    assert world.notified["simba"] == world.live["simba"] == world.current("simba"), "nothing else suffers"
    assert not is_registered(world.state)


def test_a_denied_report_is_retried_after_a_refresh_and_with_a_new_token():
    other = f"{REPORTS}/other/host"
    world = reporting_world(
        apps={
            "simba": app_spec(A, reports_as="simba/host"),
            "other": app_spec(B, compiled_app="r2", reports_as="other/host"),
        }
    )
    world.rotated.add(B)
    world.write(B)
    world.run(5.0)
    assert world.reported[other] == {"db/b": 2}
    world.denied.add(PLACE)
    world.write(A)
    world.run(60.0)
    world.take(ev.RefreshRequested())
    world.run(5.0)
    assert len(reports(world)) == 4
    world.revoke_tokens()
    world.run(60.0)
    assert len(reports(world)) == 6, "the other one too: the server may have lost it as well"
    assert len(logged(world, "versions not reported")) == 1
    world.denied.clear()
    world.take(ev.RefreshRequested())
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 2}, other: {"db/b": 2}}
    assert not rotator_problems(world)


@pytest.mark.no_cover
def test_a_server_that_lost_its_storage_gets_the_report_again():
    world = reporting_world()
    world.reported.clear()
    world.revoke_tokens()
    world.run(60.0)
    assert world.reported == {PLACE: {"db/a": 1}}
    world.run(600.0)
    assert len(reports(world)) == 2


def test_an_app_without_rotated_secrets_reports_nothing_with_a_new_token():
    world = reporting_world(rotated=())
    for _ in range(2):
        world.revoke_tokens()
        world.run(60.0)
        world.take(ev.RefreshRequested())
        world.run(5.0)
    assert reports(world) == []


def test_a_deleted_report_is_not_deleted_again_with_a_new_token():
    world = reporting_world()
    world.rotated.clear()
    world.write(A)
    world.run(60.0)
    assert world.reported == {}
    before = len(reports(world))
    world.revoke_tokens()
    world.run(60.0)
    assert len(reports(world)) == before


@pytest.mark.no_cover
def test_a_failing_report_is_retried_with_backoff():
    world = reporting_world()
    before = len(reports(world))
    world.fail(Kind.RATE_LIMITED, cmd.ReportVersions, times=5)
    world.write(A)
    world.run(600.0)
    assert world.reported == {PLACE: {"db/a": 2}}
    assert len(reports(world)) == before + 6
    assert len(logged(world, "versions not reported")) == 1
    sent_at = [at for at, sent in world.requests if isinstance(sent, cmd.ReportVersions)]
    assert sent_at[-1] - sent_at[before] > 5, "more than five times the longest first delay"


@pytest.mark.parametrize("kind", [Kind.RATE_LIMITED, Kind.PATH_ERROR, Kind.UNAVAILABLE])
def test_a_failing_report_path_is_no_outage(kind):
    """Nothing else is asked meanwhile, so that nothing tells that the server is well."""
    apps = {
        f"app{i}": app_spec(A, compiled_app=f"r{i}", refresh_interval=3600.0, reports_as=f"app{i}/host")
        for i in range(8)
    }
    world = World(apps)
    world.rotated = {A}
    world.write(A)
    world.fail(kind, cmd.ReportVersions)
    world.run(600.0)
    assert not logged(world, "vault unavailable")
    assert len(rotator_problems(world)) == 8
    world.write(A)
    world.take(ev.RefreshRequested((A.path,)))
    world.run(0.5)
    assert world.live["app0"] == world.current("app0")


@pytest.mark.parametrize("vault", ["refuses", "hangs"])
def test_reports_wait_for_the_end_of_an_outage(vault):
    world = reporting_world()
    unanswered = world.never_answer(cmd.ReportVersions)
    world.write(A)
    world.run(2.0)
    assert unanswered
    world.vault = vault
    world.run(600.0)
    before = len(reports(world))
    world.vault = "available"
    world.run(60.0)
    assert world.reported == {PLACE: {"db/a": 2}}
    assert len(reports(world)) == before + 1


def test_at_most_two_reports_are_sent_concurrently():
    apps = {f"app{i}": app_spec(A, compiled_app=f"r{i}", reports_as=f"app{i}/host") for i in range(20)}
    world = World(apps)
    world.rotated = {A}
    world.latency = 0.5
    world.write(A)
    most = 0
    while len(world.reported) < 20:
        world.run(0.01)
        under_way = sum(isinstance(call.command, cmd.ReportVersions) for call in world.state.requests.values())
        most = max(most, under_way)
        assert wake_at(world.state) > world.now or under_way < 2
    assert most == 2


def test_a_stopping_agent_deletes_its_reports():
    world = reporting_world()
    assert is_registered(world.state)
    assert not is_deregistered(world.state)
    world.take(ev.Deregistering())
    assert not is_deregistered(world.state), "it is under way"
    world.run(1.0)
    assert is_deregistered(world.state)
    assert not is_registered(world.state)
    assert world.reported == {}
    world.write(A)
    world.run(60.0)
    assert world.reported == {}, "it says nothing any more"


def test_a_stopping_agent_deletes_a_report_that_is_still_under_way():
    world = World({"web": app_spec(A, reports_as=PLACE)})
    world.rotated = {A}
    world.write(A)
    world.latency = 0.5
    while not any(isinstance(call.command, cmd.ReportVersions) for call in world.state.requests.values()):
        world.run(0.01)
    assert is_registered(world.state)
    world.take(ev.Deregistering())
    assert not is_deregistered(world.state)
    world.run(2.0)
    assert is_deregistered(world.state)
    assert not is_registered(world.state)
    assert world.reported == {}


def test_a_stopping_agent_deletes_a_report_whose_answer_was_lost():
    world = World({"web": app_spec(A, reports_as=PLACE)})
    world.rotated, world.loses_reports = {A}, True
    world.write(A)
    while not world.reported:
        world.run(0.01)
    world.run(0.1)
    assert not any(isinstance(call.command, cmd.ReportVersions) for call in world.state.requests.values())
    world.loses_reports = False
    assert is_registered(world.state)
    world.take(ev.Deregistering())
    assert not is_deregistered(world.state)
    world.run(1.0)
    assert world.reported == {}
    assert is_deregistered(world.state)
    assert not is_registered(world.state)


def test_a_stopping_agent_does_not_wait_for_the_next_attempt_to_report():
    world = reporting_world()
    world.fail(Kind.RATE_LIMITED, cmd.ReportVersions, times=5)
    world.write(A)
    while len(reports(world)) < 6:
        world.run(0.1)
    world.take(ev.Deregistering())
    world.run(0.5)
    assert is_deregistered(world.state)
    assert world.reported == {}


def test_what_was_lost_at_another_path_does_not_concern_the_new_one():
    world = reporting_world(A, B, rotated=(A, B))
    world.loses_reports = True
    world.write(B)
    while world.reported != {PLACE: {"db/a": 1, "db/b": 2}}:
        world.run(0.1)
    world.loses_reports = False
    world.configure({"simba": app_spec(A, compiled_app="r2", reports_as="simba/other")})
    world.run(60.0)
    assert world.reported[f"{REPORTS}/simba/other"] == {"db/a": 1}
    assert reports(world)[-1].previous == {}


def test_a_report_whose_answer_was_lost_is_repeated_although_the_app_is_again_as_before():
    world = reporting_world(A, B)
    before = {"db/a": 1}
    assert world.reported == {PLACE: before}
    world.loses_reports = True
    world.rotated.add(B)
    world.write(B)
    while world.reported == {PLACE: before}:
        world.run(0.1)
    world.run(0.2)
    world.loses_reports = False
    world.rotated.remove(B)
    world.write(B)
    world.run(90.0)
    assert world.reported == {PLACE: before}


def test_a_stopping_agent_does_not_wait_for_an_unavailable_vault_or_a_denied_report():
    world = reporting_world()
    world.denied.add(PLACE)
    world.take(ev.Deregistering())
    world.run(1.0)
    assert is_deregistered(world.state)
    world = reporting_world()
    world.vault = "refuses"
    world.run(10.0)
    assert is_deregistered(world.state)


def test_versions_from_a_fallback_are_not_reported():
    world = World({"simba": app_spec(A, falls_back=True, reports_as="simba/host")})
    world.rotated = {A}
    world.fallback_variables = "from the environment"
    world.write(A)
    world.vault = "refuses"
    world.run(60.0)
    assert world.fallbacks
    world.vault = "available"
    world.run(90.0)
    assert not world.fallbacks
    assert len(reports(world)) == 1
    assert world.reported == {PLACE: {"db/a": 1}}


def test_an_app_without_files_reports_nothing_new():
    world = reporting_world()
    world.take(ev.Withdrawn("simba"))
    world.run(10.0)
    assert world.reported == {PLACE: {"db/a": 1}}
