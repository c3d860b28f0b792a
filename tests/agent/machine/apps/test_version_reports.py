"""The rotator is told which versions of rotated secrets an app works with, once that is known, and not before."""

import pytest

from lessee.agent.machine.apps.version_reports import is_deregistered, is_registered
from lessee.agent.machine.deadlines import wake_at
from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.agent.machine.status.problems import problems_of
from lessee.core.failures import Kind
from lessee.core.paths import Ref
from support.models.world import REPORTS, World, app_spec, folder, ref

A, B = ref("p/db/a"), ref("p/db/b")
PLACE = f"{REPORTS}/simba/host"


def saying(*needs, apps=None, rotated=(A,), version=2, **settings):
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


def told(world, event):
    return [fields for _, what, fields in world.log_lines if what == event]


def trouble(world):
    return [line for line in problems_of(world.state, world.now) if "rotator" in line]


def test_what_an_app_was_told_of_is_said_at_once_and_once():
    world = saying()
    assert world.reported == {PLACE: {"db/a": 1}}
    world.run(600.0)
    assert len(reports(world)) == 1
    world.write(A)
    world.run(1.2)
    assert world.reported == {PLACE: {"db/a": 2}}
    assert [(one.versions, one.previous, one.generation) for one in reports(world)[1:]] == [
        ({"db/a": 2}, {"db/a": 1}, world.number["simba"])
    ]
    assert told(world, "versions reported") == [
        {"app": "simba", "versions": "db/a=1"},
        {"app": "simba", "versions": "db/a=2"},
    ]


def test_an_app_without_rotated_secrets_costs_no_request():
    world = saying(rotated=())
    world.write(A)
    world.run(60.0)
    assert not reports(world)


def test_without_versions_nothing_can_be_said():
    assert not reports(saying(version=1))


def test_who_is_asked_to_say_nothing_says_nothing():
    assert not reports(saying(apps={"simba": app_spec(A)}))


def test_an_app_that_is_told_of_nothing_is_said_to_work_with_what_it_sees():
    assert saying(notifies=False).reported == {PLACE: {"db/a": 1}}


def test_an_app_that_could_not_be_told_is_not_said_to_work_with_it():
    world = saying()
    world.app_running = False
    world.write(A)
    world.run(120.0)
    assert world.reported == {PLACE: {"db/a": 1}}
    world.app_running = True
    world.run(30.0)
    assert world.reported == {PLACE: {"db/a": 2}}


def test_what_is_rolled_back_is_never_said():
    world = saying(probes=True)
    world.is_ready = lambda generation: "'v': 2," not in str(generation.files[0].content)
    world.write(A)
    world.run(120.0)
    assert told(world, "app rolled back")
    assert world.reported == {PLACE: {"db/a": 1}}
    assert len(reports(world)) == 1
    world.write(A)
    world.run(10.0)
    assert world.reported == {PLACE: {"db/a": 3}}


def test_what_is_shown_after_a_restart_is_said_though_it_did_not_change():
    world = saying()
    world.reported.clear()
    world.boot()
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 1}}


def test_a_version_that_changes_no_file_is_said_too():
    world = saying()
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


def test_a_folder_s_secrets_are_said_and_of_a_pinned_one_the_version_it_is_pinned_to():
    world = saying(folder("p/db/"), rotated=(A, B))
    world.write(B)
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 1, "db/b": 2}}
    pinned = Ref("secret", "p/db/a", 1)
    world = World({"simba": app_spec(A, pinned, reports_as="simba/host")})
    world.rotated = {A, pinned}
    world.kv |= {A: 3, pinned: 1}
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 1}}, "it still works with the old one"


def test_a_secret_outside_the_prefix_is_said_by_its_whole_path():
    shared = ref("shared/smtp")
    world = World({"simba": app_spec(shared, reports_as="simba/host")})
    world.rotated = {shared}
    world.write(shared)
    world.run(5.0)
    assert world.reported == {PLACE: {"shared/smtp": 1}}


def test_what_is_not_read_any_more_is_taken_back():
    world = saying()
    world.configure({"simba": app_spec(B, compiled_app="r2", reports_as="simba/host")})
    world.run(5.0)
    assert world.reported == {}


def test_an_app_that_leaves_is_left_to_the_rotator_and_says_again_when_it_is_back():
    world = saying()
    apps = world.apps
    swallowed = world.never_answer(cmd.ReportVersions)
    world.write(A)
    world.run(2.0)
    assert len(swallowed) == 1
    world.configure({})
    world.post(ev.VersionsReported(swallowed[0].request_id))
    world.run(2.0)
    assert not world.state.version_reports
    world.configure(apps)
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 2}}


def test_an_app_that_left_meanwhile_is_not_told_of():
    world = saying()
    swallowed = world.never_answer(cmd.ReportVersions)
    world.write(A)
    world.run(2.0)
    world.configure({})
    world.fail(Kind.DENIED, cmd.ReportVersions)
    world.answer(swallowed[0])
    world.run(2.0)
    assert not told(world, "versions not reported")


def test_at_another_place_it_is_said_anew():
    world = saying()
    world.configure({"simba": app_spec(A, reports_as="simba/other")})
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 1}, f"{REPORTS}/simba/other": {"db/a": 1}}


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.INVALID, Kind.UNSUPPORTED, Kind.NOT_FOUND])
def test_what_is_refused_is_told_once_and_asked_again_only_with_the_next_version(kind):
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
    [warning] = told(world, "versions not reported")
    assert warning["todo"] == f"grant `create`, `update` and `delete` on {REPORTS}/simba/*"
    [line] = trouble(world)
    assert line == f"the rotator does not know which versions simba uses: some reason; {warning['todo']}"
    assert world.notified["simba"] == world.live["simba"] == world.current("simba"), "nothing else suffers"
    assert not is_registered(world.state)


def test_what_was_refused_is_asked_again_for_an_operator_and_under_another_token():
    other = f"{REPORTS}/other/host"
    world = saying(
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
    assert len(reports(world)) == 6, "the other too: nobody knows what else the server has lost"
    assert len(told(world, "versions not reported")) == 1
    world.denied.clear()
    world.take(ev.RefreshRequested())
    world.run(5.0)
    assert world.reported == {PLACE: {"db/a": 2}, other: {"db/b": 2}}
    assert not trouble(world)


def test_a_server_that_lost_its_memory_is_told_again():
    world = saying()
    world.reported.clear()
    world.revoke_tokens()
    world.run(60.0)
    assert world.reported == {PLACE: {"db/a": 1}}
    world.run(600.0)
    assert len(reports(world)) == 2


def test_a_path_that_is_broken_is_tried_again_ever_more_seldom():
    world = saying()
    before = len(reports(world))
    world.fail(Kind.RATE_LIMITED, cmd.ReportVersions, times=5)
    world.write(A)
    world.run(600.0)
    assert world.reported == {PLACE: {"db/a": 2}}
    assert len(reports(world)) == before + 6
    assert len(told(world, "versions not reported")) == 1


@pytest.mark.parametrize("kind", [Kind.RATE_LIMITED, Kind.PATH_ERROR, Kind.UNAVAILABLE])
def test_a_place_of_the_rotator_s_that_does_not_serve_is_no_bad_weather(kind):
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
    assert not told(world, "vault unavailable")
    assert len(trouble(world)) == 8
    world.write(A)
    world.take(ev.RefreshRequested((A.path,)))
    world.run(0.5)
    assert world.live["app0"] == world.current("app0")


@pytest.mark.parametrize("vault", ["refuses", "hangs"])
def test_bad_weather_is_waited_for(vault):
    world = saying()
    swallowed = world.never_answer(cmd.ReportVersions)
    world.write(A)
    world.run(2.0)
    assert swallowed
    world.vault = vault
    world.run(600.0)
    before = len(reports(world))
    world.vault = "available"
    world.run(60.0)
    assert world.reported == {PLACE: {"db/a": 2}}
    assert len(reports(world)) == before + 1


def test_many_apps_say_it_two_at_a_time():
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


def test_who_leaves_is_not_waited_for():
    world = saying()
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


def test_who_leaves_does_not_wait_for_a_vault_that_is_away_or_refuses():
    world = saying()
    world.denied.add(PLACE)
    world.take(ev.Deregistering())
    world.run(1.0)
    assert is_deregistered(world.state)
    world = saying()
    world.vault = "refuses"
    world.run(10.0)
    assert is_deregistered(world.state)


def test_what_comes_from_a_fallback_is_not_said():
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


def test_who_shows_nothing_says_nothing_new():
    world = saying()
    world.take(ev.Withdrawn("simba"))
    world.run(10.0)
    assert world.reported == {PLACE: {"db/a": 1}}
