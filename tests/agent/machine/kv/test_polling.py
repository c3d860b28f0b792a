"""When KV mounts, folders and secrets are checked, and what follows from each response."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessee.agent.machine.apps.inputs import unknown_paths
from lessee.agent.machine.kv.reading import not_found
from lessee.core.backoff import MAX_DELAY
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from support.models.world import World, app_spec, folder, ref

A, B, C, D = ref("p/db/a"), ref("p/db/b"), ref("p/key/c"), ref("p/db/d")
APPS = {
    "one": app_spec(A, B, C),
    "two": app_spec(A, compiled_app="r2", notifies=False),
    "all": app_spec(folder("p/db/"), compiled_app="r3", refresh_interval=2.0),
}
REFS = st.sampled_from([A, B, C, D])


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), denied=st.sets(REFS), gone=st.sets(REFS))
def test_a_path_that_is_denied_or_missing_costs_few_requests_and_stops_no_other(seed, denied, gone):
    world = World(APPS | {"other": app_spec(ref("p/other/x"), compiled_app="r9")}, seed=seed)
    for secret in (A, B, C, D, ref("p/other/x")):
        world.write(secret)
    world.run(5.0)
    world.denied |= denied
    for secret in gone:
        world.delete(secret)
    world.run(60.0)
    before = len(world.requests)
    world.write(ref("p/other/x"))
    world.run(60.0)
    # Three folders a second, the change itself, and for each bad path a few tries and a look at the token.
    assert len(world.requests) - before <= 3 * 67 + 2 + 8 * len(denied | gone) + 8
    assert world.live["other"] == world.current("other")


def test_a_hundred_secrets_in_one_folder_cost_one_request_per_check():
    refs = [ref(f"p/many/s{i}") for i in range(100)]
    world = World({"app": app_spec(*refs)})
    for secret in refs:
        world.write(secret)
    world.run(10.0)
    before = len(world.requests)
    world.run(60.0)
    assert 60 <= len(world.requests) - before <= 70


def test_without_a_detailed_list_metadata_is_polled_and_without_its_permission_data():
    world = World({"app": app_spec(A, B)}, lists_metadata=False)
    world.without_metadata.add(B)
    world.write(A)
    world.write(B)
    world.run(10.0)
    lines = {event: fields for _, event, fields in world.log_lines}
    polled = lines["folder metadata not listed, polling each secret"]
    assert (polled["folder"], polled["reason"]) == (str(A.folder), "unsupported")
    assert lines["metadata not readable, polling data"]["secret"] == str(B)
    before = len(world.requests)
    world.run(10.0)
    kinds = [type(command).__name__ for _, command in world.requests[before:]]
    assert set(kinds) == {"ReadMetadata", "ReadSecret"}
    assert 10 <= kinds.count("ReadMetadata") <= 12
    assert 10 <= kinds.count("ReadSecret") <= 12


def test_secrets_of_a_removed_app_are_not_read_any_more():
    world = World(APPS)
    for secret in (A, B, C):
        world.write(secret)
    world.run(10.0)
    world.configure({"two": APPS["two"]})
    world.run(2.0)
    before = len(world.requests)
    world.run(60.0)
    assert len(world.requests) - before <= 70
    assert set(world.state.secrets) == {A}


def test_a_rate_limited_path_waits_for_retry_after_and_others_do_not():
    world = World({"app": app_spec(A), "other": app_spec(C, compiled_app="r2")})
    world.write(A)
    world.write(C)
    world.run(5.0)
    answer = world.answer

    def limiting(command):
        if getattr(command, "ref", None) == A:
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.RATE_LIMITED, "too often", 45.0)), 0.01)
        else:
            answer(command)

    world.answer = limiting
    world.run(2.0)
    before = len(world.requests)
    world.run(40.0)
    refs = [command.ref for _, command in world.requests[before:]]
    assert A not in refs
    assert refs.count(C) >= 35
    world.answer = answer
    world.write(A)
    world.run(15.0)
    assert world.live["app"] == world.current("app")


def test_a_retry_after_of_ages_postpones_a_path_by_no_more_than_the_longest_backoff():
    world = World({"app": app_spec(A)})
    world.write(A)
    world.run(5.0)
    answer = world.answer
    ages = Failure(Kind.RATE_LIMITED, "too often", 1e12)
    world.answer = lambda command: world.post(ev.RequestFailed(command.request_id, ages), 0.01)
    world.run(5.0)
    world.answer = answer
    world.write(A)
    world.run(MAX_DELAY)
    assert world.live["app"] == world.current("app")


def test_a_refresh_of_a_path_checks_only_this_path():
    needs = {"a": A, "c": C, "f": folder("p/f/")}
    world = World({name: app_spec(need, refresh_interval=3600.0, compiled_app=name) for name, need in needs.items()})
    for secret in (A, C, ref("p/f/x")):
        world.write(secret)
    world.run(5.0)
    before = len(world.requests)
    world.take(ev.RefreshRequested(("db/a",)))
    world.run(1.0)
    assert [command.ref for _, command in world.requests[before:]] == [A]
    world.take(ev.RefreshRequested(("secret/p/f/",)))
    world.run(1.0)
    assert type(world.requests[-1][1]).__name__ == "ListFolder"
    world.vault = "refuses"
    world.take(ev.RefreshRequested())
    world.run(20.0)
    world.vault = "available"
    before = len(world.requests)
    world.take(ev.RefreshRequested())
    world.run(0.5)
    assert len(world.requests) > before  # it did not wait for the next probe


def test_a_mount_that_cannot_be_detected_is_retried():
    world = World({"app": app_spec(A)})
    answer = world.answer

    def refusing(command):
        if isinstance(command, cmd.DetectKvVersion):
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.DENIED, "no such mount")), 0.01)
        else:
            answer(command)

    world.write(A)
    world.answer = refusing
    world.run(30.0)
    assert world.state.mounts["secret"].failure.text == "no such mount"
    world.answer = answer
    world.take(ev.RefreshRequested())
    world.run(5.0)
    assert world.live["app"] == world.current("app")


def test_a_folder_whose_list_is_denied_is_retried_rarely():
    world = World({"app": app_spec(folder("p/db/"))}, lists_metadata=False)
    answer = world.answer

    def refusing(command):
        if isinstance(command, cmd.ListFolder):
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.DENIED, "no list")), 0.01)
        else:
            answer(command)

    world.answer = refusing
    world.run(60.0)
    assert world.state.folders[folder("p/db/")].failure.text == "no list"
    assert len(world.requests) <= 30
    world.answer = answer
    world.write(A)
    world.run(70.0)
    assert world.live["app"] == world.current("app")


def test_responses_for_a_removed_app_change_nothing():
    apps = {
        "one": app_spec(A),
        "v1": app_spec(Ref("old", "x"), compiled_app="r2"),
        "all": app_spec(folder("p/f/"), compiled_app="r3"),
    }
    world = World(apps, lists_metadata=False)
    for secret in (A, Ref("old", "x"), ref("p/f/y")):
        world.write(secret)
    world.run(5.0)
    world.vault = "hangs"
    world.write(A)
    world.run(3.0)
    calls = dict(world.state.requests)
    assert {type(call.command).__name__ for call in calls.values()} >= {"ReadMetadata", "ListFolder"}
    world.configure({})
    for number, call in calls.items():
        match call.command:
            case cmd.ListFolder():
                world.take(ev.FolderListed(number, {"y": None}))
            case cmd.ReadMetadata():
                world.take(ev.MetadataRead(number, VersionMetadata(9, "at 9")))
            case cmd.ReadSecret():
                world.take(ev.SecretRead(number, Secret({"v": 9}, None)))
    assert not world.state.secrets
    assert not world.state.requests
    world.configure(apps)
    world.run(40.0)
    calls = dict(world.state.requests)
    world.configure({})
    for number in calls:
        world.take(ev.RequestFailed(number, Failure(Kind.NOT_FOUND, "gone")))
    assert not world.state.secrets


def test_pending_reads_of_a_removed_app_are_ignored():
    world = World({"one": app_spec(A)})
    world.write(A)
    obey = world.obey
    world.obey = lambda command: None if isinstance(command, cmd.ReadSecret) else obey(command)
    world.run(5.0)
    (number,) = world.state.requests
    world.configure({})
    world.take(ev.SecretRead(number, Secret({"v": 1}, None)))
    assert not world.state.secrets


def test_files_follow_the_secrets_of_a_folder():
    world = World({"app": app_spec(folder("p/f/"), ref("p/f/own"))})
    for name in ("own", "old"):
        world.write(ref(f"p/f/{name}"))
    world.run(5.0)
    del world.kv[ref("p/f/old")]
    world.write(ref("p/f/new"))
    world.run(5.0)
    assert world.live["app"] == world.current("app")
    assert b"old" not in world.live["app"].files[0].content
    assert ref("p/f/old") not in world.state.secrets
    del world.kv[ref("p/f/own")]
    world.run(5.0)
    assert ref("p/f/own") in world.state.secrets  # a template reads it by itself too
    assert b"own" in world.live["app"].files[0].content


def test_a_kv_v1_mount_is_polled_by_its_data():
    world = World({"app": app_spec(A, B, Ref("old", "p/x"), Ref("old", "p/y"))}, version=1)
    for secret in (A, B, Ref("old", "p/x"), Ref("old", "p/y")):
        world.write(secret)
    world.run(5.0)
    assert all(source.polls_data for source in world.state.secrets.values())
    world.write(Ref("old", "p/y"))
    world.run(2.0)
    assert world.notified["app"] == world.current("app")


def test_kv_version_1_is_never_asked_for_metadata():
    world = World({"app": app_spec(A)}, version=1)
    world.write(A)
    world.run(5.0)
    world.revoke_tokens()
    world.run(15.0)
    assert world.state.counters.logins == 2
    assert not [1 for _, command in world.requests if isinstance(command, cmd.ReadMetadata)]


def test_a_new_token_resets_the_polling_and_retries_denied_paths():
    world = World({"app": app_spec(A, B), "other": app_spec(C, compiled_app="r2")})
    for secret in (A, B, C):
        world.write(secret)
    world.denied.add(C)
    world.lists_metadata = False
    world.without_metadata |= {A, B}
    world.run(5.0)
    assert all(world.state.secrets[secret].polls_data for secret in (A, B))
    world.lists_metadata = True
    world.without_metadata.clear()
    world.denied.clear()
    world.revoke_tokens()
    world.run(15.0)
    assert world.state.folders[A.folder].lists_metadata
    assert world.live["other"] == world.current("other")
    before = len(world.requests)
    world.run(10.0)
    kinds = [type(command).__name__ for _, command in world.requests[before:]]
    assert set(kinds) == {"ListFolder", "ReadMetadata"}  # of A and B together, and of C
    world.write(B)
    world.run(1.5)
    assert world.live["app"] == world.current("app")


def test_denied_mounts_and_folders_are_retried_with_a_new_token():
    world = World({"app": app_spec(folder("p/db/")), "old": app_spec(Ref("old", "x"), compiled_app="r2")})
    answer = world.answer

    def refusing(command):
        denied = isinstance(command, cmd.ListFolder) or getattr(command, "mount", "") == "old"
        if denied and "t1" in world.tokens:
            world.post(ev.RequestFailed(command.request_id, Failure(Kind.DENIED, "denied")), 0.01)
        else:
            answer(command)

    world.write(A)
    world.write(Ref("old", "x"))
    world.answer = refusing
    world.run(20.0)
    assert not world.live
    world.revoke_tokens()
    world.run(15.0)
    assert world.live["app"] == world.current("app")
    assert world.live["old"] == world.current("old")


def test_a_pinned_version_that_is_missing_or_deleted_is_named():
    pinned = replace(A, version=2)
    assert not_found(pinned, None).text == "it does not exist, or has no version 2; see `bao kv metadata get`"
    deleted = VersionMetadata(2, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert not_found(pinned, deleted).text == "its version 2 is deleted; write another `version=`, or none"
    destroyed = replace(deleted, deletion_time="destroyed")
    assert not_found(pinned, destroyed).text == "its version 2 is destroyed; write another `version=`, or none"


def test_a_deleted_secret_is_reported_and_read_again_when_restored():
    world = World({"app": app_spec(A)})
    world.write(A)
    world.run(5.0)
    old = world.live["app"]
    world.delete(A)
    before = len(world.requests)
    while world.state.secrets[A].failure is None:
        world.run(0.1)
    # The metadata shows it.
    assert not [1 for _, command in world.requests[before:] if isinstance(command, cmd.ReadSecret)]
    world.run(5.0)
    assert world.state.secrets[A].failure.text == "its latest version is deleted"
    assert world.live["app"] == old
    world.write(A)
    world.run(65.0)
    assert world.live["app"] == world.current("app")
    assert ("info", "secret available", {"secret": str(A), "version": 2}) in world.log_lines


@pytest.mark.parametrize("lists_metadata", [True, False])
def test_an_undeleted_secret_is_rendered_with_its_folder_again(lists_metadata):
    world = World({"app": app_spec(folder("p/db/"))}, lists_metadata=lists_metadata)
    world.write(A)
    world.write(B)
    world.run(5.0)
    world.delete(A)
    world.run(5.0)
    assert b"db/a" not in world.live["app"].files[0].content
    world.deleted.discard(A)
    world.run(30.0)
    assert world.live["app"] == world.current("app")


def test_a_shorter_refresh_interval_takes_effect_immediately():
    apps = {
        "one": app_spec(A, refresh_interval=3600.0),
        "two": app_spec(B, D, refresh_interval=3600.0, compiled_app="r2"),
    }
    world = World(apps)
    for secret in (A, B, D):
        world.write(secret)
    world.run(5.0)
    world.configure({"one": app_spec(A), "two": app_spec(B, D, compiled_app="r2")})
    world.write(A)
    world.write(B)
    world.run(1.5)
    for app in apps:
        assert world.notified[app] == world.current(app)


def test_a_path_matches_with_or_without_prefix_and_mount():
    world = World({"app": app_spec(A, folder("p/f/"))})
    named = ["db/a", "p/db/a", "secret/p/db/a", "a", "p/f/", "f", "b/a", "db/b", ""]
    assert unknown_paths(world.state, named) == ["b/a", "db/b", ""]


@pytest.mark.parametrize("why", [Kind.PATH_ERROR, Kind.UNAVAILABLE])
@pytest.mark.parametrize("kind", [cmd.ListFolder, cmd.ReadMetadata, cmd.ReadSecret])
def test_a_failed_read_of_a_removed_secret_is_ignored(kind, why):
    world = World({"app": app_spec(A, B)}, lists_metadata=kind is not cmd.ReadMetadata)
    for secret in (A, B, C):
        world.write(secret)
    while not any(isinstance(call.command, kind) for call in world.state.requests.values()):
        world.run(0.0005)
    (number, *_) = [n for n, call in world.state.requests.items() if isinstance(call.command, kind)]
    world.configure({"other": app_spec(C, compiled_app="r2")})
    world.take(ev.RequestFailed(number, Failure(why, "500")))
    world.run(5.0)
    assert set(world.state.secrets) == {C}
    assert world.notified["other"] == world.current("other")


def test_a_remounted_kv_engine_is_detected_and_listed_as_before():
    world = World({"app": app_spec(A, B)})
    answer = world.answer

    def away(command):
        kinds = {cmd.DetectKvVersion: Kind.DENIED, cmd.ListFolder: Kind.UNSUPPORTED, cmd.ReadSecret: Kind.UNSUPPORTED}
        if type(command) in kinds | {cmd.ReadMetadata: None}:
            kind = kinds.get(type(command), Kind.UNSUPPORTED)
            world.post(ev.RequestFailed(command.request_id, Failure(kind, "no such mount")), 0.01)
        else:
            answer(command)

    for secret in (A, B):
        world.write(secret)
    world.run(10.0)
    world.answer = away
    before = len(world.requests)
    world.run(60.0)
    assert len(world.requests) - before <= 25
    world.answer = answer
    world.write(A)
    world.run(50.0)
    assert world.notified["app"] == world.current("app")
    before = len(world.requests)
    world.run(20.0)
    assert {type(command) for _, command in world.requests[before:]} == {cmd.ListFolder}


def test_an_unchanged_secret_is_the_same_object_and_true_is_not_1():
    world = World({"app": app_spec(A)}, version=1)
    world.kv[A] = True
    world.run(10.0)
    data = world.state.secrets[A].secret.data
    world.run(10.0)
    assert world.state.secrets[A].secret.data is data
    before = len(world.published)
    world.kv[A] = 1
    world.run(10.0)
    assert len(world.published) == before + 1
