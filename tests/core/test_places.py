"""What templates name besides a path: another mount, namespace or identity, each within the environment."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import DeniedError
from lessee.core.immutable import replace
from lessee.core.path_scope import MountScope, PathScope
from lessee.core.paths import DynamicSecret, Folder, Ref

FOREIGN = frozenset({"testing", "staging"})
TEAM_B = PathScope(
    "kv-b", "b/production/", ("all/",), FOREIGN, "production", mounts={"old": MountScope("x/")}, identity="team-b"
)
SCOPE = PathScope(
    "kv",
    "production/",
    ("shared/",),
    FOREIGN,
    "production",
    mounts={"kv2": MountScope("production/", ("shared/",)), "open": MountScope(), "production-kv": MountScope("p/")},
    identities={"team-b": TEAM_B},
)


@pytest.mark.parametrize(
    ("place", "ref"),
    [
        ({}, Ref("kv", "production/a")),
        ({"mount": "kv"}, Ref("kv", "production/a")),
        ({"mount": "kv2"}, Ref("kv2", "production/a")),
        ({"mount": "open"}, Ref("open", "a")),
        ({"mount": "{environment}-kv"}, Ref("production-kv", "p/a")),
        ({"namespace": "n/m"}, Ref("n/m/kv", "production/a")),
        ({"namespace": "/n/", "mount": "open"}, Ref("n/open", "a")),
        ({"namespace": "{environment}"}, Ref("production/kv", "production/a")),
        ({"identity": "team-b"}, Ref("kv-b", "b/production/a", None, "team-b")),
        ({"identity": "team-b", "mount": "old", "namespace": "n"}, Ref("n/old", "x/a", None, "team-b")),
    ],
)
def test_each_place_has_its_own_prefix(place, ref):
    assert SCOPE.secret("a", **place) == ref
    assert SCOPE.secret("a", 3, **place) == Ref(ref.mount, ref.path, 3, ref.identity)
    assert SCOPE.folder("a/", **place) == Folder(ref.mount, f"{ref.path}/", ref.identity)
    assert ref.folder.ref("a") == ref


def test_folders_that_all_environments_share_are_those_of_the_place():
    assert SCOPE.secret("shared/a", mount="kv2") == Ref("kv2", "shared/a")
    assert SCOPE.secret("all/a", identity="team-b") == Ref("kv-b", "all/a", None, "team-b")
    assert SCOPE.secret("shared/a", identity="team-b") == Ref("kv-b", "b/production/shared/a", None, "team-b")


def test_what_another_identity_reads_says_so():
    assert str(SCOPE.secret("a", 2, identity="team-b")) == "team-b:kv-b/b/production/a@2"
    assert str(SCOPE.folder("", identity="team-b")) == "team-b:kv-b/b/production/"
    assert str(SCOPE.dynamic("db/creds/x", ttl="1h", identity="team-b")) == "team-b:db/creds/x (ttl=1h)"


def test_a_dynamic_secret_has_a_namespace_and_an_identity():
    assert SCOPE.dynamic("db/creds/x", namespace="n") == DynamicSecret("n/db/creds/x")
    assert SCOPE.dynamic("db/creds/x", mount="m") == DynamicSecret("db/creds/x", (("mount", "m"),), "POST")
    assert SCOPE.dynamic("db/creds/x", identity="team-b", namespace="n", method="POST") == DynamicSecret(
        "n/db/creds/x", method="POST", identity="team-b"
    )
    made = SCOPE.certificate("pki/issue/web", identity="team-b", namespace="n", common_name="c", key="local")
    assert (made.request_path, made.identity, made.local_key) == ("n/pki/sign/web", "team-b", True)
    assert made.params == (("common_name", "c"),)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"identity": "team-c"}, "no identity is named 'team-c'"),
        ({"mount": "unknown"}, "no KV mount is named 'unknown'"),
        ({"mount": "kv2", "identity": "team-b"}, "no KV mount is named 'kv2'"),
        ({"mount": "kv-b"}, "no KV mount is named 'kv-b'"),
        ({"mount": "testing"}, "name of another environment"),
        ({"mount": "a/testing"}, "contains the name of another environment"),
        ({"mount": ".."}, "is not a path"),
        ({"namespace": "staging"}, "name of another environment"),
        ({"namespace": "a/staging/b"}, "contains the name of another environment"),
        ({"namespace": "a/../b"}, "is not a path"),
        ({"namespace": ""}, "is not"),
        ({"namespace": "sys"}, "is not the name of a namespace"),
        ({"namespace": "a/auth"}, "is not the name of a namespace"),
        ({"namespace": "a/%73ys"}, "is not the name of a namespace"),
    ],
)
def test_what_is_outside_the_environment_or_unknown_is_denied(place, message):
    with pytest.raises(DeniedError, match=message):
        SCOPE.secret("a", **place)


@pytest.mark.parametrize("place", [{"mount": "kv2"}, {"namespace": "n"}, {"identity": "team-b"}])
def test_the_prefix_of_each_place_cannot_be_left(place):
    for path in ("testing/a", "../testing/a", "a/../../b", "/a"):
        with pytest.raises(DeniedError):
            SCOPE.secret(path, **place)


@pytest.mark.parametrize("mount", ["kv", "kv2", "open", "production-kv"])
def test_no_kv_mount_is_read_as_a_dynamic_secret(mount):
    with pytest.raises(DeniedError, match="the mount of the KV secrets"):
        SCOPE.dynamic(f"{mount}/data/x")


@pytest.mark.parametrize("keyword", ["namespace", "identity"])
def test_a_place_is_a_name(keyword):
    for call in (SCOPE.dynamic, SCOPE.certificate):
        with pytest.raises(DeniedError, match=f"{keyword}=3 is not a name"):
            call("pki/issue/web", **{keyword: 3})


def test_without_identities_and_environment_the_error_says_so():
    with pytest.raises(DeniedError, match="no identity is named 'x'") as caught:
        PathScope("kv").secret("a", identity="x")
    assert caught.value.todo.endswith("known are none")
    with pytest.raises(DeniedError, match="no environment is set"):
        PathScope("kv").secret("a", namespace="{environment}")


names = st.lists(st.sampled_from(["a", "sys", "auth", "testing", "..", "", "%61uth", "{environment}"]), max_size=3)


@pytest.mark.no_cover
@given(names.map("/".join), names.map("/".join))
@example("a/auth", "token/create")
@example("a", "sys/x")
def test_no_namespace_leads_to_credentials_of_the_agent_or_to_another_environment(namespace, path):
    try:
        need = SCOPE.dynamic(path, namespace=namespace)
    except DeniedError:
        return
    elements = need.path.split("/")
    assert not {"sys", "auth", "%61uth"} & set(elements[:-1])
    assert "testing" not in elements[: len(namespace.strip("/").split("/"))]
    assert ".." not in elements


WITH_SOURCE = replace(
    SCOPE, sources={"files": PathScope("files::", "production/", ("all/",), FOREIGN, identity="files")}
)


def test_a_source_has_its_own_prefix_and_names_itself_once():
    ref = WITH_SOURCE.secret("a/b", source="files")
    assert ref == Ref("files::", "production/a/b", None, "files")
    assert str(ref) == str(replace(ref, identity="")) == "files::production/a/b"
    assert WITH_SOURCE.secret("all/b", source="files").path == "all/b"
    folder = WITH_SOURCE.folder("", source="files")
    assert folder == Folder("files::", "production/", "files")
    assert str(folder) == str(replace(folder, identity="")) == "files::production/"


@pytest.mark.parametrize(
    ("path", "place", "what"),
    [
        ("a", {"source": "none"}, "no source is named"),
        ("a", {"source": "files", "mount": "kv"}, "exclude each other"),
        ("a", {"source": "files", "namespace": "n"}, "exclude each other"),
        ("a", {"source": "files", "identity": "team-b"}, "exclude each other"),
        ("a", {"source": "files", "version": 1}, "has no versions"),
        ("../a", {"source": "files"}, "is not a path"),
        ("testing/a", {"source": "files"}, "another environment"),
        ("production/a", {"source": "files"}, "which lessee adds itself"),
        ("a", {"identity": "files"}, "no identity is named"),
    ],
)
def test_the_wall_of_the_environment_holds_for_a_source(path, place, what):
    with pytest.raises(DeniedError, match=what):
        WITH_SOURCE.secret(path, **place)
    if "version" not in place:
        with pytest.raises(DeniedError, match=what):
            WITH_SOURCE.folder(path, **place)
