"""The rotator is told which versions of rotated secrets an app works with, once that is known, and not before."""

import pytest

from lessee.agent.machine.apps.version_reports import has_said, has_taken_leave
from lessee.agent.machine.deadlines import wake_at
from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.agent.machine.status.problems import troubles
from lessee.core.failures import Kind
from lessee.core.paths import Ref
from support.models.world import CONSUMERS, World, folder, ref, want

A, B = ref("p/db/a"), ref("p/db/b")
PLACE = f"{CONSUMERS}/simba/host"


def saying(*needs, apps=None, rotated=(A,), version=2, **settings):
    world = World(
        apps if apps is not None else {"simba": want(*(needs or (A,)), says="simba/host", **settings)}, version=version
    )
    world.rotated = set(rotated)
    world.write(A)
    world.write(B)
    world.run(5.0)
    return world


def reports(world):
    return [command for _, command in world.requests if isinstance(command, cmd.ReportVersions)]


def told(world, event):
    return [fields for _, what, fields in world.said if what == event]


def trouble(world):
    return [line for line in troubles(world.state, world.now) if "rotator" in line]


def test_what_an_app_was_told_of_is_said_at_once_and_once():
    world = saying()
    assert world.confirmed == {PLACE: {"db/a": 1}}
    world.run(600.0)
    assert len(reports(world)) == 1
    world.write(A)
    world.run(1.2)
    assert world.confirmed == {PLACE: {"db/a": 2}}
    assert [(one.versions, one.before, one.generation) for one in reports(world)[1:]] == [
        ({"db/a": 2}, {"db/a": 1}, world.number["simba"])
    ]
    assert told(world, "versions confirmed") == [
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
    assert not reports(saying(apps={"simba": want(A)}))


def test_an_app_that_is_told_of_nothing_is_said_to_work_with_what_it_sees():
    assert saying(notifies=False).confirmed == {PLACE: {"db/a": 1}}


def test_an_app_that_could_not_be_told_is_not_said_to_work_with_it():
    world = saying()
    world.tellable = False
    world.write(A)
    world.run(120.0)
    assert world.confirmed == {PLACE: {"db/a": 1}}
    world.tellable = True
    world.run(30.0)
    assert world.confirmed == {PLACE: {"db/a": 2}}


def test_what_is_rolled_back_is_never_said():
    world = saying(proves=True)
    world.works = lambda generation: "'v': 2," not in str(generation.files[0].content)
    world.write(A)
    world.run(120.0)
    assert told(world, "rolled back")
    assert world.confirmed == {PLACE: {"db/a": 1}}
    assert len(reports(world)) == 1
    world.write(A)
    world.run(10.0)
    assert world.confirmed == {PLACE: {"db/a": 3}}


def test_what_is_shown_after_a_restart_is_said_though_it_did_not_change():
    world = saying()
    world.confirmed.clear()
    world.boot()
    world.run(5.0)
    assert world.confirmed == {PLACE: {"db/a": 1}}


def test_a_version_that_changes_no_file_is_said_too():
    world = saying()
    content = world.render
    world.render = lambda command: content(
        cmd.Render(command.app, command.job, command.recipe, {}, {}, {})  # It shows nothing of the secret.
    )
    world.refuse_what_is_not_proved = lambda _command: None
    world.write(A)
    world.run(3.0)
    shown = world.number["simba"]
    world.write(A)
    world.run(3.0)
    assert world.number["simba"] == shown
    assert world.confirmed == {PLACE: {"db/a": 3}}


def test_a_folder_s_secrets_are_said_and_of_a_pinned_one_the_version_it_is_pinned_to():
    world = saying(folder("p/db/"), rotated=(A, B))
    world.write(B)
    world.run(5.0)
    assert world.confirmed == {PLACE: {"db/a": 1, "db/b": 2}}
    pinned = Ref("secret", "p/db/a", 1)
    world = World({"simba": want(A, pinned, says="simba/host")})
    world.rotated = {A, pinned}
    world.kv |= {A: 3, pinned: 1}
    world.run(5.0)
    assert world.confirmed == {PLACE: {"db/a": 1}}, "it still works with the old one"


def test_a_secret_outside_the_prefix_is_said_by_its_whole_path():
    shared = ref("shared/smtp")
    world = World({"simba": want(shared, says="simba/host")})
    world.rotated = {shared}
    world.write(shared)
    world.run(5.0)
    assert world.confirmed == {PLACE: {"shared/smtp": 1}}


def test_what_is_not_read_any_more_is_taken_back():
    world = saying()
    world.configure({"simba": want(B, recipe="r2", says="simba/host")})
    world.run(5.0)
    assert world.confirmed == {}


def test_an_app_that_leaves_is_left_to_the_rotator_and_says_again_when_it_is_back():
    world = saying()
    apps = world.apps
    swallowed = world.swallow(cmd.ReportVersions)
    world.write(A)
    world.run(2.0)
    assert len(swallowed) == 1
    world.configure({})
    world.post(ev.VersionsReported(swallowed[0].call))
    world.run(2.0)
    assert not world.state.reports
    world.configure(apps)
    world.run(5.0)
    assert world.confirmed == {PLACE: {"db/a": 2}}


def test_an_app_that_left_meanwhile_is_not_told_of():
    world = saying()
    swallowed = world.swallow(cmd.ReportVersions)
    world.write(A)
    world.run(2.0)
    world.configure({})
    world.fail(Kind.DENIED, cmd.ReportVersions)
    world.answer(swallowed[0])
    world.run(2.0)
    assert not told(world, "versions not confirmed")


def test_at_another_place_it_is_said_anew():
    world = saying()
    world.configure({"simba": want(A, says="simba/other")})
    world.run(5.0)
    assert world.confirmed == {PLACE: {"db/a": 1}, f"{CONSUMERS}/simba/other": {"db/a": 1}}


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.INVALID, Kind.UNSUPPORTED, Kind.NOT_FOUND])
def test_what_is_refused_is_told_once_and_asked_again_only_with_the_next_version(kind):
    world = World({"simba": want(A, says="simba/host")})
    world.rotated = {A}
    world.fail(kind, cmd.ReportVersions)
    world.write(A)
    world.run(600.0)
    assert len(reports(world)) == 1
    for _ in range(5):
        world.write(A)
        world.run(60.0)
    assert len(reports(world)) == 6
    [warning] = told(world, "versions not confirmed")
    assert warning["todo"] == f"grant `create`, `update` and `delete` on {CONSUMERS}/simba/*"
    [line] = trouble(world)
    assert line == f"the rotator cannot see which versions simba works with: told in words; {warning['todo']}"
    assert world.told["simba"] == world.live["simba"] == world.current("simba"), "nothing else suffers"
    assert not has_said(world.state)


def test_what_was_refused_is_asked_again_for_an_operator_and_under_another_token():
    other = f"{CONSUMERS}/other/host"
    world = saying(apps={"simba": want(A, says="simba/host"), "other": want(B, recipe="r2", says="other/host")})
    world.rotated.add(B)
    world.write(B)
    world.run(5.0)
    assert world.confirmed[other] == {"db/b": 2}
    world.denied.add(PLACE)
    world.write(A)
    world.run(60.0)
    world.take(ev.RefreshRequested())
    world.run(5.0)
    assert len(reports(world)) == 4
    world.revoke_tokens()
    world.run(60.0)
    assert len(reports(world)) == 6, "the other too: nobody knows what else the server has lost"
    assert len(told(world, "versions not confirmed")) == 1
    world.denied.clear()
    world.take(ev.RefreshRequested())
    world.run(5.0)
    assert world.confirmed == {PLACE: {"db/a": 2}, other: {"db/b": 2}}
    assert not trouble(world)


def test_a_server_that_lost_its_memory_is_told_again():
    world = saying()
    world.confirmed.clear()
    world.revoke_tokens()
    world.run(60.0)
    assert world.confirmed == {PLACE: {"db/a": 1}}
    world.run(600.0)
    assert len(reports(world)) == 2


def test_a_path_that_is_broken_is_tried_again_ever_more_seldom():
    world = saying()
    before = len(reports(world))
    world.fail(Kind.RATE_LIMITED, cmd.ReportVersions, times=5)
    world.write(A)
    world.run(600.0)
    assert world.confirmed == {PLACE: {"db/a": 2}}
    assert len(reports(world)) == before + 6
    assert len(told(world, "versions not confirmed")) == 1


@pytest.mark.parametrize("kind", [Kind.RATE_LIMITED, Kind.PATH_ERROR, Kind.UNAVAILABLE])
def test_a_place_of_the_rotator_s_that_does_not_serve_is_no_bad_weather(kind):
    """Nothing else is asked meanwhile, so that nothing tells that the server is well."""
    apps = {f"app{i}": want(A, recipe=f"r{i}", refresh=3600.0, says=f"app{i}/host") for i in range(8)}
    world = World(apps)
    world.rotated = {A}
    world.write(A)
    world.fail(kind, cmd.ReportVersions)
    world.run(600.0)
    assert not told(world, "vault is away")
    assert len(trouble(world)) == 8
    world.write(A)
    world.take(ev.RefreshRequested((A.path,)))
    world.run(0.5)
    assert world.live["app0"] == world.current("app0")


@pytest.mark.parametrize("sky", ["refuses", "hangs"])
def test_bad_weather_is_waited_for(sky):
    world = saying()
    swallowed = world.swallow(cmd.ReportVersions)
    world.write(A)
    world.run(2.0)
    assert swallowed
    world.sky = sky
    world.run(600.0)
    before = len(reports(world))
    world.sky = "fair"
    world.run(60.0)
    assert world.confirmed == {PLACE: {"db/a": 2}}
    assert len(reports(world)) == before + 1


def test_many_apps_say_it_two_at_a_time():
    apps = {f"app{i}": want(A, recipe=f"r{i}", says=f"app{i}/host") for i in range(20)}
    world = World(apps)
    world.rotated = {A}
    world.latency = 0.5
    world.write(A)
    most = 0
    while len(world.confirmed) < 20:
        world.run(0.01)
        under_way = sum(isinstance(call.command, cmd.ReportVersions) for call in world.state.calls.values())
        most = max(most, under_way)
        assert wake_at(world.state) > world.now or under_way < 2
    assert most == 2


def test_who_leaves_is_not_waited_for():
    world = saying()
    assert has_said(world.state)
    assert not has_taken_leave(world.state)
    world.take(ev.Deregistering())
    assert not has_taken_leave(world.state), "it is under way"
    world.run(1.0)
    assert has_taken_leave(world.state)
    assert not has_said(world.state)
    assert world.confirmed == {}
    world.write(A)
    world.run(60.0)
    assert world.confirmed == {}, "it says nothing any more"


def test_who_leaves_does_not_wait_for_a_vault_that_is_away_or_refuses():
    world = saying()
    world.denied.add(PLACE)
    world.take(ev.Deregistering())
    world.run(1.0)
    assert has_taken_leave(world.state)
    world = saying()
    world.sky = "refuses"
    world.run(10.0)
    assert has_taken_leave(world.state)


def test_what_comes_from_a_fallback_is_not_said():
    world = World({"simba": want(A, falls_back=True, says="simba/host")})
    world.rotated = {A}
    world.variables = "from the environment"
    world.write(A)
    world.sky = "refuses"
    world.run(60.0)
    assert world.fell_back
    world.sky = "fair"
    world.run(90.0)
    assert not world.fell_back
    assert len(reports(world)) == 1
    assert world.confirmed == {PLACE: {"db/a": 1}}


def test_who_shows_nothing_says_nothing_new():
    world = saying()
    world.take(ev.Withdrawn("simba"))
    world.run(10.0)
    assert world.confirmed == {PLACE: {"db/a": 1}}
