"""What another program changes in an app's directory is restored, counted, reported, and fought only so often."""

import pytest

from lessee.agent.machine.apps.drift import APP_INTERVAL, FIGHT_INTERVAL, FILE_INTERVAL, MAX_REPAIRS
from lessee.agent.machine.apps.state import FIRST_LOOK_DELAY, MANY_APPS
from lessee.agent.machine.status.view import IdentityStatus, status
from lessee.core.immutable import replace
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import World, app_spec, ref

A = ref("p/db/a")


def published(**settings):
    """A world in which the app `web` is published, notified and watched."""
    spec = app_spec(A, **{"keeps_files": True, "refresh_interval": 60.0} | settings)
    world = World({"web": spec})
    world.looks, obey = [], world.obey

    def watching(command):
        if isinstance(command, cmd.CheckFiles):
            world.looks.append(world.now)
        obey(command)

    world.obey = watching
    world.write(A)
    world.run(8.0)
    return world


def drift(world):
    return world.state.apps["web"].drift


def lines(world, event):
    return [fields for _, name, fields in world.log_lines if name == event]


def problems(world):
    return status([IdentityStatus("id", "a", world.state)], world.now, 0.0, environment=None)["problems"]


def test_files_are_watched_after_their_publication_and_compared_each_refresh_interval():
    world = published()
    at = world.state.apps["web"].publication.published_at
    assert (world.looks, FIRST_LOOK_DELAY) == ([at + FIRST_LOOK_DELAY], 0.3)
    world.run(180.0)
    assert [round(later - at, 1) for later in world.looks] == [0.3, 60.3, 120.3, 180.3]
    assert (drift(world).total, problems(world)) == (0, [])


@pytest.mark.no_cover
def test_many_apps_and_files_are_compared_less_often():
    specs = {f"app{number}": app_spec(A, keeps_files=True, refresh_interval=1.0) for number in range(20)}
    world = World(specs)
    looks, obey = [], world.obey
    world.obey = lambda command: (
        looks.append(world.now) if isinstance(command, cmd.CheckFiles) else None,
        obey(command),
    )
    world.write(A)
    world.run(30.0)
    looks.clear()
    world.run(60.0)
    files = len(world.live["app0"].files)
    assert len(looks) == pytest.approx(20 * 60 / (20 * APP_INTERVAL + files * FILE_INTERVAL), abs=20)


def test_the_first_look_at_many_apps_leaves_time_for_their_publications():
    names = [f"app{number}" for number in range(2 * MANY_APPS)]
    world = World({name: app_spec(A, keeps_files=True, refresh_interval=60.0) for name in names})
    first, obey = {}, world.obey

    def watching(command):
        if isinstance(command, cmd.CheckFiles):
            first.setdefault(command.app, world.now)
        obey(command)

    world.obey = watching
    world.write(A)
    world.run(10.0)
    published_at = {name: app.publication.published_at for name, app in world.state.apps.items()}
    waits = [first[name] - published_at[name] for name in names]
    assert waits == pytest.approx([2 * FIRST_LOOK_DELAY] * len(names))


def test_files_of_a_one_shot_command_are_not_watched():
    world = published(keeps_files=False)
    world.take(ev.RefreshRequested())
    world.run(180.0)
    assert world.looks == []


def test_files_that_were_touched_are_compared_at_once_and_restored_and_the_app_notified():
    world = published()
    world.touch("web")
    number = world.number["web"]
    world.run(0.2)
    app = world.state.apps["web"]
    assert (drift(world).total, drift(world).found, drift(world).error) == (1, "a.txt: altered", None)
    assert lines(world, "files restored") == [{"app": "web", "generation": number + 1, "found": "a.txt: altered"}]
    assert (app.publication.number, [old for old, _ in app.old_generations]) == (number + 1, [number])
    assert world.notified["web"] == world.live["web"]
    # Readers may still use the replaced folder.
    world.run(10.0)
    assert world.state.apps["web"].old_generations == ()


def test_what_readers_read_unchanged_is_restored_without_a_notification():
    world = published()
    before = world.state.counters.notifications
    world.touch("web", "a.txt: mode 0644 instead of 0640", changed=False)
    world.run(5.0)
    assert (drift(world).total, world.state.counters.notifications) == (1, before)


def test_an_app_without_a_notification_gets_its_files_back():
    world = published(notifies=False)
    world.touch("web")
    world.run(5.0)
    assert (drift(world).total, world.state.apps["web"].notification) == (1, None)


def test_a_repair_in_place_keeps_the_generation():
    world = published()
    number = world.number["web"]
    world.take(ev.FilesChecked("web", number, ("a.txt: leads elsewhere",), changed=True))
    app = world.state.apps["web"]
    assert (app.publication.number, app.old_generations, app.publication.published_at) == (number, (), world.now)


def test_a_notification_under_way_is_repeated_because_the_app_may_have_read_what_was_restored():
    world = published()
    notify, pending = world.notify, []
    world.notify = pending.append
    world.write(A)
    world.take(ev.RefreshRequested())
    while not pending:
        world.run(0.001)
    world.touch("web")
    world.run(0.2)
    world.notify = notify
    assert [command.job for command in pending[1:]] != []
    world.take(ev.Notified("web", pending[0].job, "too early"))
    assert world.state.apps["web"].notification is not None
    notify(pending[-1])
    world.run(0.1)
    assert world.state.apps["web"].notification is None


def test_a_probe_under_way_is_repeated():
    world = published(probes=True)
    world.probe_seconds = 5.0
    probes, probe = [], world.probe
    world.probe = lambda command: (probes.append(command.job), probe(command))
    world.write(A)
    world.take(ev.RefreshRequested())
    while not probes:
        world.run(0.001)
    world.touch("web")
    world.run(1.0)
    assert len(probes) == 2
    world.run(10.0)
    assert world.state.apps["web"].unverified is None


def test_a_change_that_inotify_does_not_see_is_found_within_refresh_interval():
    world = published()
    world.touch("web", seen=False)
    world.run(30.0)
    assert drift(world).total == 0
    world.run(30.0)
    assert drift(world).total == 1


@pytest.mark.no_cover
def test_a_program_that_fights_is_reported_and_its_changes_are_restored_seldom():
    world = published()

    def fight(seconds):
        end = world.now + seconds
        while world.now < end:
            world.touch("web")
            world.run(0.25)

    fight(5.0)
    assert drift(world).total == MAX_REPAIRS
    text = (
        "another program changes its files again and again, the last time a.txt: altered; the agent restores them every"
        " 30 s: stop that program, then run `lessee refresh`"
    )
    assert problems(world) == [f"web: {text}"]
    fight(10 * FIGHT_INTERVAL)
    assert MAX_REPAIRS + 9 <= drift(world).total <= MAX_REPAIRS + 10
    assert len(lines(world, "files changed again and again")) == 1
    # Once the program has stopped, the report ends by itself.
    world.run(2 * FIGHT_INTERVAL)
    assert problems(world) == []
    assert lines(world, "files right again") == [{"app": "web"}]


@pytest.mark.no_cover
def test_a_change_now_and_then_is_no_fight():
    world = published(refresh_interval=3600.0)
    for _ in range(100):
        world.touch("web")
        world.run(FIGHT_INTERVAL + 1)
    assert (drift(world).total, problems(world)) == (100, [])


def test_a_refresh_restores_at_once_also_in_a_fight():
    world = published()
    for _ in range(MAX_REPAIRS):
        world.touch("web")
        world.run(0.25)
    world.touch("web")
    world.run(1.0)
    assert (drift(world).total, drift(world).is_fought) == (MAX_REPAIRS, True)
    world.take(ev.RefreshRequested(("secret/p/other",)))
    world.run(0.1)
    assert drift(world).total == MAX_REPAIRS
    world.take(ev.RefreshRequested())
    world.run(0.1)
    assert (drift(world).total, drift(world).is_fought, problems(world)) == (MAX_REPAIRS + 1, False, [])


def test_what_cannot_be_restored_is_a_problem_counted_once_and_tried_again():
    world = published()
    world.disk_full = True
    world.touch("web")
    world.run(0.2)
    text = "its files were changed (a.txt: altered) and are not restored: no room"
    assert (problems(world), drift(world).total) == ([f"web: {text}"], 1)
    world.run(300.0)
    assert len(lines(world, "files not restored")) == 1
    assert 10 < len(world.looks) < 60
    world.disk_full = False
    world.run(FIGHT_INTERVAL)
    assert (problems(world), drift(world).total) == ([], 2)


def test_the_events_of_a_failed_repair_are_the_agents_own():
    world = published()
    world.disk_full = True
    world.touch("web")
    world.run(0.2)
    before = len(world.looks)
    world.take(ev.FilesTouched("web"))
    assert len(world.looks) == before
    world.run(0.6)
    world.take(ev.FilesTouched("web"))
    assert len(world.looks) > before


def test_another_finding_that_cannot_be_restored_counts_too_and_an_unreadable_directory_does_not():
    world = published()
    for found in ("a.txt: replaced",), ("b.txt: replaced",), (), ("b.txt: replaced",):
        world.take(ev.FilesChecked("web", 1, found, error="no room"))
    assert drift(world).total == 3
    assert [fields["found"] for fields in lines(world, "files not restored")] == [
        "a.txt: replaced",
        "b.txt: replaced",
        "",
        "b.txt: replaced",
    ]
    world.take(ev.FilesChecked("web", 1, error="no room"))
    assert problems(world) == ["web: no room"]


def test_changes_that_cannot_be_restored_are_reported_ten_times_and_then_looked_at_seldom():
    """The app's user may make one repair fail, and change something else again and again."""
    world = published()
    for number in range(100):
        world.take(ev.FilesChecked("web", 1, (f"a.txt: mode {number:04o}",), error="no room"))
        if number % 2:
            world.take(ev.FilesChecked("web", 1))
    world.take(ev.FilesChecked("web", 1, ("a.txt: removed",), error="no room"))
    assert len(lines(world, "files not restored")) == MAX_REPAIRS
    assert len(lines(world, "files right again")) < MAX_REPAIRS
    before = len(world.looks)
    world.now += 1.0
    world.take(ev.FilesTouched("web"))
    assert len(world.looks) == before
    world.now += FIGHT_INTERVAL
    world.take(ev.FilesChecked("web", 1))
    world.take(ev.FilesChecked("web", 1, ("a.txt: removed",), error="no room"))
    assert len(lines(world, "files not restored")) == MAX_REPAIRS + 1


def test_looks_at_unknown_apps_and_at_those_without_files_mean_nothing():
    world = published()
    before = world.state
    world.take(ev.FilesTouched("stranger"))
    world.take(ev.FilesChecked("stranger", 3, ("a.txt: altered",)))
    assert world.state == before
    world.take(ev.Withdrawn("web"))
    world.disk_full = True
    world.run(1.0)
    looks = len(world.looks)
    world.take(ev.FilesTouched("web"))
    world.take(ev.FilesChecked("web", 3, ("a.txt: altered",)))
    world.run(120.0)
    assert (len(world.looks), drift(world).total) == (looks, 0)


def test_what_was_counted_stays_when_an_app_is_recovered():
    world = published()
    world.touch("web")
    world.run(1.0)
    world.take(replace(world.recovered("web"), notification_pending=False))
    assert (drift(world).total, drift(world).look_at) == (1, world.now + FIRST_LOOK_DELAY)


def test_files_that_were_removed_while_the_agent_did_not_run_are_counted_and_rendered_again():
    world = published()
    world.take(ev.AppRecovered("web", None, notification_pending=False, is_missing=True))
    assert (drift(world).total, drift(world).found) == (1, "all files: removed")
    assert [fields["app"] for fields in lines(world, "files missing")] == ["web"]
    assert world.state.apps["web"].dirty or world.state.apps["web"].job is not None


def test_files_that_are_restored_without_their_directory_s_owner_are_notified_and_a_problem_remains():
    world = published()
    number = world.number["web"]
    world.take(ev.FilesChecked("web", number + 1, ("a.txt: altered",), changed=True, error="no CAP_CHOWN"))
    app = world.state.apps["web"]
    assert (app.publication.number, [old for old, _ in app.old_generations]) == (number + 1, [number])
    assert app.notification is not None or app.job is not None
    assert problems(world) == ["web: its files were changed (a.txt: altered) and are not restored: no CAP_CHOWN"]
