"""A template's paths are resolved within its environment, and none leads out of it."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import DeniedError
from lessee.core.path_scope import PathScope, _names, is_of_agent
from lessee.core.paths import DynamicSecret, Folder, Ref

SPACE = PathScope("kv", "production/", ("shared/", "teams/common/"), frozenset({"testing", "staging"}))
BARE = PathScope("kv", foreign=frozenset({"testing", "staging"}))

pieces = st.sampled_from(
    [
        "production",
        "shared",
        "teams",
        "common",
        "testing",
        "staging",
        "..",
        ".",
        "",
        "/",
        "//",
        "a",
        "%2e%2e",
        "\0",
        "\n",
        " ",
    ]
)
literal = st.lists(pieces | st.text(max_size=3), max_size=6).map("/".join) | st.lists(pieces, max_size=6).map("".join)


@pytest.mark.no_cover
@given(literal)
@example("shared")
@example("teams/common")
@example("shared/../testing/a")
def test_no_path_gives_a_secret_outside_prefix_and_shared_folders(text):
    try:
        path = SPACE.secret(text).path
    except DeniedError:
        return
    assert path.startswith(("production/", "shared/", "teams/common/"))
    assert_sound(path.split("/"))


@pytest.mark.no_cover
@given(literal)
@example("")
@example("/")
@example("//")
@example("shared")
def test_no_path_gives_a_folder_outside_prefix_and_shared_folders(text):
    try:
        path = SPACE.folder(text).path
    except DeniedError:
        return
    assert path.startswith(("production/", "shared/", "teams/common/"))
    assert path.endswith("/")
    assert_sound(path.removesuffix("/").split("/"))


@given(literal)
def test_without_a_prefix_no_element_is_empty_or_a_dot(text):
    for resolve in BARE.secret, BARE.folder:
        try:
            path = resolve(text).path
        except DeniedError:
            continue
        assert_sound(path.removesuffix("/").split("/") if path else [])


@pytest.mark.no_cover
@given(literal)
def test_a_secret_is_in_its_folder(text):
    try:
        ref = SPACE.secret(text)
    except DeniedError:
        return
    assert ref.folder.ref(ref.path.rpartition("/")[2]) == ref
    assert ref.path.startswith(ref.folder.path)


def assert_sound(elements):
    assert not {"", ".", ".."} & set(elements)
    assert "".join(elements).isprintable()
    assert not {"testing", "staging"} & {elements[0] if elements else ""}


def test_the_prefix_is_added_except_to_shared_folders():
    assert SPACE.secret("database/postgres") == Ref("kv", "production/database/postgres")
    assert SPACE.secret("shared/tls") == Ref("kv", "shared/tls")
    assert SPACE.secret("teams/common/a/b") == Ref("kv", "teams/common/a/b")
    assert SPACE.secret("teams/other") == Ref("kv", "production/teams/other")
    assert BARE.secret("a/b") == Ref("kv", "a/b")


def test_a_secret_with_a_shared_folders_name_is_not_in_it():
    assert SPACE.secret("shared") == Ref("kv", "production/shared")
    assert SPACE.secret("sharedish") == Ref("kv", "production/sharedish")


def test_a_folder_may_be_written_with_or_without_a_slash():
    assert SPACE.folder("api-keys/") == SPACE.folder("api-keys") == Folder("kv", "production/api-keys/")
    assert SPACE.folder("shared/") == SPACE.folder("shared") == Folder("kv", "shared/")
    assert SPACE.folder("") == SPACE.folder("/") == Folder("kv", "production/")
    assert BARE.folder("") == Folder("kv", "")


@pytest.mark.parametrize("name", ["testing/a", "staging/a/b", "testing", "staging"])
def test_a_path_that_starts_with_another_environment_is_denied(name):
    for resolve in SPACE.secret, SPACE.folder:
        with pytest.raises(
            DeniedError, match="starts with the name of another environment; an agent reads only its own"
        ):
            resolve(name)


def test_another_environments_name_later_in_a_path_is_accepted():
    assert SPACE.secret("a/testing") == Ref("kv", "production/a/testing")


@pytest.mark.parametrize("name", ["production/a", "production"])
def test_a_written_prefix_is_denied(name):
    with pytest.raises(DeniedError, match="starts with the prefix 'production/', which lessee adds itself"):
        SPACE.secret(name)


@pytest.mark.parametrize("name", ["", "a/", "/"])
def test_a_secret_has_a_name(name):
    with pytest.raises(DeniedError, match=r"is not the path of a secret; write it as secret\(\"database/postgres\"\)"):
        SPACE.secret(name)


@pytest.mark.parametrize("name", ["/a", "a//b", "a/../b", "./a", "..", "a\nb", "a\x00", "a\u202eb"])
def test_a_path_has_nonempty_printable_elements(name):
    for resolve in SPACE.secret, SPACE.folder:
        with pytest.raises(DeniedError, match="is not a path: an element is empty, a dot, or not printable"):
            resolve(name)


def test_versions_start_at_one():
    assert SPACE.secret("a", 1) == Ref("kv", "production/a", 1)
    for version in (0, -1):
        with pytest.raises(DeniedError, match=f"version={version} is not a version number; versions start at 1"):
            SPACE.secret("a", version)


def test_an_error_about_a_huge_version_does_not_repeat_it():
    with pytest.raises(DeniedError, match=r"^the version number is too large; "):
        SPACE.secret("a", 16**4000)


def test_paths_are_printed_as_users_write_them():
    assert str(Ref("kv", "a/b")) == "kv/a/b"
    assert str(Ref("kv", "a/b", 3)) == "kv/a/b@3"
    assert str(Folder("kv", "a/")) == "kv/a/"
    assert str(DynamicSecret("database/creds/simba")) == "database/creds/simba"
    assert str(SPACE.dynamic("aws/sts/deploy", ttl="15m", n=1)) == "aws/sts/deploy (n=1, ttl=15m)"


def test_the_folder_of_a_secret_at_the_top_is_the_mount():
    assert Ref("kv", "a").folder == Folder("kv", "")
    assert Ref("kv", "a/b/c").folder == Folder("kv", "a/b/")


# Dynamic secrets.


@given(literal)
@example("testing/creds/a")
@example("kv/testing/a")
@example("kv/data/production/a")
@example("kv//a")
@example("pki/issue/web")
def test_no_dynamic_path_is_of_another_environment_or_of_kv(text):
    for resolve in SPACE.dynamic, SPACE.certificate, BARE.dynamic, BARE.certificate:
        try:
            path = resolve(text).path
        except DeniedError:
            continue
        assert path == text
        elements = path.split("/")
        assert_sound(elements)
        assert len(elements) > 1
        assert elements[0] != "kv"


parameters = st.dictionaries(
    st.sampled_from(["ttl", "common_name", "n", "self", "literal", "class", "version"]),
    st.text(st.characters(exclude_categories=["Cs"])) | st.integers() | st.booleans(),
)


@pytest.mark.no_cover
@given(parameters, st.randoms())
def test_the_order_of_parameters_does_not_matter(params, random):
    pairs = list(params.items())
    random.shuffle(pairs)
    shuffled = dict(pairs)
    for resolve in SPACE.dynamic, SPACE.certificate:
        made = resolve("pki/issue/web", **params)
        assert made == resolve("pki/issue/web", **shuffled)
        assert hash(made) == hash(resolve("pki/issue/web", **shuffled))
        assert dict(made.params) == params


def test_different_parameters_are_a_different_secret():
    one, other = (SPACE.certificate("pki/issue/web", common_name=name) for name in ("a.local", "b.local"))
    assert one != other
    assert one != SPACE.dynamic("pki/issue/web", common_name="a.local")
    assert one != SPACE.certificate("pki/issue/web", common_name="a.local", key="local")


def test_parameters_are_sent_by_post_and_the_prefix_is_not_added():
    assert SPACE.dynamic("database/creds/simba") == DynamicSecret("database/creds/simba")
    assert SPACE.dynamic("database/creds/simba", method="GET") == DynamicSecret("database/creds/simba")
    assert SPACE.dynamic("gcp/key/a", method="POST") == DynamicSecret("gcp/key/a", method="POST")
    both = DynamicSecret("aws/sts/deploy", (("n", 1), ("ttl", "15m")), "POST")
    assert SPACE.dynamic("aws/sts/deploy", ttl="15m", n=1) == both
    assert SPACE.dynamic("aws/sts/deploy", ttl="15m", n=1, method="POST") == both


def test_a_get_sends_no_parameters():
    with pytest.raises(DeniedError, match='method="GET" sends no parameters; omit the method or the parameters'):
        SPACE.dynamic("aws/sts/deploy", method="GET", ttl="15m")


@pytest.mark.parametrize("method", ["get", "PUT", "", 1, True])
def test_another_method_is_denied(method):
    with pytest.raises(DeniedError, match='is neither "GET" nor "POST"; omit it, or write method="POST"'):
        SPACE.dynamic("aws/sts/deploy", method=method)


def test_a_certificate_is_requested_by_post():
    params = (("common_name", "simba.local"), ("ttl", "1h"))
    made = DynamicSecret("pki/issue/web", params, "POST", certificate=True)
    assert SPACE.certificate("pki/issue/web", ttl="1h", common_name="simba.local") == made
    assert SPACE.certificate("pki/issue/web", ttl="1h", common_name="simba.local", key="server") == made
    assert SPACE.certificate("pki/issue/web").params == ()


@pytest.mark.parametrize("path", ["pki/issue/web", "a/pki/issue/issue", "issue/issue/web", "pki/issuer/x/issue/web"])
def test_a_local_key_is_not_sent_as_a_parameter(path):
    made = SPACE.certificate(path, common_name="simba.local", key="local")
    assert made == DynamicSecret(path, (("common_name", "simba.local"),), "POST", certificate=True, local_key=True)
    assert made.request_path == path[: path.rindex("/issue/")] + "/sign/" + path[path.rindex("/") + 1 :]
    assert SPACE.certificate(path, common_name="simba.local").request_path == path


@pytest.mark.parametrize("key", ["Local", "", 1, False])
def test_another_place_for_the_key_is_denied(key):
    with pytest.raises(DeniedError, match='is neither "server" nor "local"; choose where the private key is generated'):
        SPACE.certificate("pki/issue/web", common_name="simba.local", key=key)


@pytest.mark.parametrize("path", ["pki/sign/web", "issue/web", "pki/issue", "pki/issue/web/x", "pki/issuer/x/y"])
def test_a_local_key_needs_a_path_that_can_sign(path):
    with pytest.raises(DeniedError, match="does not end in issue/ROLE, so "):
        SPACE.certificate(path, common_name="simba.local", key="local")


@pytest.mark.parametrize("params", [{}, {"common_name": ""}, {"common_name": 1}, {"alt_names": "a"}])
def test_a_local_key_needs_a_common_name(params):
    with pytest.raises(DeniedError, match='needs a common_name for its signing request; write common_name="'):
        SPACE.certificate("pki/issue/web", key="local", **params)


@pytest.mark.parametrize("path", ["database", "pki/", "database/creds/simba/"])
def test_a_dynamic_secret_is_in_a_mount(path):
    for resolve in SPACE.dynamic, SPACE.certificate:
        with pytest.raises(
            DeniedError, match="is not the path of a dynamic secret; write the mount and the path in it"
        ):
            resolve(path)


def test_a_kv_path_cannot_be_read_as_a_dynamic_secret():
    for scope in SPACE, PathScope("team/kv"):
        for path in (f"{scope.mount}/data/testing/a", f"{scope.mount}/testing/a"):
            with pytest.raises(DeniedError, match=r"the mount of the KV secrets; read it with secret\(\)"):
                scope.dynamic(path)
    assert PathScope("team/kv").dynamic("team/kvetch/creds/a").path == "team/kvetch/creds/a"
    with pytest.raises(DeniedError, match="the mount of the KV secrets"):
        PathScope("team/kv").dynamic("team/kv")


def test_a_parameter_with_half_a_surrogate_pair_is_denied():
    with pytest.raises(DeniedError, match="a parameter contains half of a surrogate pair; write the character itself"):
        SPACE.dynamic("aws/sts/deploy", name="\ud800")


def test_one_template_serves_the_engines_of_each_environment():
    for name in "production", "testing":
        scope = PathScope("secret", f"{name}/", foreign=frozenset({"production", "testing"}) - {name}, environment=name)
        assert scope.dynamic("{environment}/database/creds/simba").path == f"{name}/database/creds/simba"
        issued = scope.certificate("{environment}/pki/issue/web", common_name="{environment}.local", ttl="1h")
        assert issued.path == f"{name}/pki/issue/web"
        assert dict(issued.params)["common_name"] == "{environment}.local"


def test_the_environment_placeholder_needs_an_environment():
    for resolve in BARE.dynamic, BARE.certificate:
        with pytest.raises(
            DeniedError, match=r"contains \{environment\}, but no environment is set; write `environment: N"
        ):
            resolve("{environment}/database/creds/simba")


def test_the_environment_placeholder_cannot_lead_out_of_the_scope():
    scope = PathScope("secret", foreign=frozenset({"testing"}), environment="../testing")
    with pytest.raises(DeniedError, match="an element is empty, a dot, or not printable"):
        scope.dynamic("{environment}/database/creds/simba")
    with pytest.raises(DeniedError, match="the mount of the KV secrets"):
        PathScope("production", environment="production").dynamic("{environment}/data/a")


OF_AGENT = [
    "auth/token/lookup-self",
    "auth/token",
    "Auth/token/lookup-self",
    "team/auth/token/lookup-self",
    "sys/wrapping/lookup",
    "a/b/sys/leases/lookup",
    "cubbyhole/response",
    "%61uth/token",
    "%2561uth%2ftoken",
    "auth\\token\\lookup-self",
    "auth;a=b/token",
    "auth./token",
    " auth/token",
    "\uff41uth/token",
    "a?/auth/token",
]


@pytest.mark.parametrize("path", OF_AGENT)
def test_a_path_that_returns_credentials_of_the_agent_is_denied(path):
    assert is_of_agent(path)
    for resolve in SPACE.dynamic, SPACE.certificate, BARE.dynamic, BARE.certificate:
        with pytest.raises(DeniedError, match="names auth, sys or cubbyhole, which return credentials"):
            resolve(path)


@pytest.mark.parametrize(
    "path",
    [
        "database/creds/auth",
        "database/creds/sys",
        "authors/creds/a",
        "identity/oidc/token/app",
        "system/creds/a",
        "a/creds/\u00e4",
        "a%/b",
    ],
)
def test_a_role_or_mount_may_have_a_similar_name(path):
    assert SPACE.dynamic(path).path == path


@pytest.mark.no_cover
@given(literal)
def test_no_spelling_of_the_agents_paths_gets_through(text):
    for path in f"auth/{text}/a", f"{text}/auth/token", f"{text}/%73ys/a":
        for resolve in SPACE.dynamic, SPACE.certificate:
            with pytest.raises(DeniedError):
                resolve(path)


# Any other path.


def any_path(scope, path, **call):
    return scope.any_path(path, **{"method": "GET", "params": {}, "every": 300.0} | call)


@pytest.mark.no_cover
@given(literal)
@example("a/data/testing/b")
@example("a/%74esting/b")
@example("a/b%2ftesting")
@example("\uff4bv/data/a")
@example("KV/data/a")
def test_no_path_at_all_is_of_another_environment_or_of_the_agent_or_of_kv(text):
    for scope in SPACE, BARE:
        for method in "GET", "LIST":
            try:
                path = any_path(scope, text, method=method).path
            except DeniedError:
                continue
            names = _names(path)
            assert not {"testing", "staging"} & set(names)
            assert names[0] not in {"kv", "auth", "sys", "cubbyhole"}
            assert len(names) == len(path.removesuffix("/").split("/"))


@pytest.mark.parametrize("path", OF_AGENT)
def test_no_call_of_any_path_returns_credentials_of_the_agent(path):
    for method in "GET", "POST", "LIST":
        with pytest.raises(DeniedError):
            any_path(SPACE, path, method=method)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("a/testing/b", "contains the name of another environment; an agent reads only its own environment"),
        ("a/TESTING", "contains the name of another environment; an agent reads only its own environment"),
        ("a/%2e%2e/b", "may be taken for another path; write the path as Vault has it"),
        ("a/b%2fc", "may be taken for another path; write the path as Vault has it"),
        ("a/..;/b", "may be taken for another path; write the path as Vault has it"),
        ("%6bv/data/a", "may be taken for a path in 'kv'; read it with secret()"),
        ("kv/data/a", "is in 'kv', the mount of the KV secrets; read it with secret()"),
        ("a/b/", "is not the path of a dynamic secret; write the mount"),
        ("a", "is not the path of a dynamic secret; write the mount"),
        ("", "is not a path: an element is empty"),
    ],
)
def test_a_path_that_something_may_take_for_another_is_denied(path, why):
    with pytest.raises(DeniedError, match=re.escape(why)):
        any_path(SPACE, path)


@pytest.mark.parametrize("path", ["team/cubbyhole/", "team/sys", "a/b/AUTH/"])
def test_the_names_in_a_folder_of_the_agent_are_denied_in_any_namespace(path):
    with pytest.raises(DeniedError, match="names auth, sys or cubbyhole"):
        any_path(SPACE, path, method="LIST", every=60.0)


@pytest.mark.parametrize("read", [PathScope.dynamic, PathScope.certificate])
def test_no_call_reads_what_is_named_after_another_environment(read):
    for path in "kv1/testing/db", "kv1/a/%74esting/db":
        with pytest.raises(DeniedError, match="contains the name of another environment"):
            read(SPACE, path)


ENDING = [
    ("database/creds/simba", {}),
    ("database/static-creds/simba", {}),
    ("ldap/static-cred/simba", {}),
    ("ldap/library/team/check-out", {}),
    ("aws/sts/deploy", {}),
    ("team/pki/issue/web", {}),
    ("pki/issuer/x/issue/web", {}),
    ("pki/sign/web", {"csr": "c"}),
    ("pki/sign-verbatim", {"csr": "c"}),
    ("pki/sign-verbatim/web", {"csr": "c"}),
    ("ssh/sign/deploy", {"public_key": "k"}),
    ("ssh/issue/deploy", {}),
    ("totp/code/mail", {}),
    ("identity/oidc/token/app", {}),
    ("gcp/token/app", {}),
]
ENDLESS = [
    ("transit/sign/app", {"input": "i"}),
    ("transit/encrypt/app", {"plaintext": "p"}),
    ("kv/data/creds/app", {}),
    ("kv/data/app/creds/x", {}),
    ("creds/app", {}),
    ("a/b", {}),
]


@pytest.mark.parametrize(("path", "params"), ENDING)
def test_a_path_whose_answers_end_needs_no_rule(path, params):
    need = any_path(BARE, path, method="POST", params=params, every=None)
    assert need.tells_its_end
    assert not any_path(BARE, path, every=60.0, params=params).is_polled


@pytest.mark.parametrize(("path", "params"), ENDLESS)
def test_any_other_path_needs_a_rule(path, params):
    scope = PathScope("secret")
    with pytest.raises(DeniedError, match="does not say when it is read again"):
        any_path(scope, path, method="POST", params=params, every=None)
    assert any_path(scope, path, every=0.0).is_polled
    assert not any_path(scope, path, method="POST", every=60.0, params=params).is_polled


def test_a_certificate_ends_whatever_its_path():
    assert SPACE.certificate("pki/other/web").tells_its_end


def test_what_is_sent_to_a_path_is_not_printed():
    text = str(any_path(BARE, "transit/encrypt/app", method="POST", params={"plaintext": "aGVsbG8="}))
    assert re.fullmatch(r"transit/encrypt/app \(plaintext, every=300s, call [0-9a-f]{8}\)", text)
    text = str(any_path(BARE, "a/creds/b", method="POST", params={"n": 1}, body='{"x":["secret"]}', every=None))
    assert re.fullmatch(r"a/creds/b \(n, call [0-9a-f]{8}\)", text)
    text = str(any_path(BARE, "ssh/sign/a", method="POST", params={"public_key": "k" * 500}, every=None))
    assert re.fullmatch(r"ssh/sign/a \(public_key, call [0-9a-f]{8}\)", text)
    assert re.fullmatch(r"a/b \(call [0-9a-f]{8}\)", str(DynamicSecret("a/b", method="POST", body="{}")))


def test_two_requests_never_have_the_same_text():
    calls = [
        any_path(BARE, "a/b"),
        any_path(BARE, "a/b", every=0.0),
        any_path(BARE, "a/b", method="LIST"),
        any_path(BARE, "a/b", method="POST"),
        any_path(BARE, "a/b", method="POST", params={"x": "1"}),
        any_path(BARE, "a/b", method="POST", params={"x": "2"}),
        any_path(BARE, "a/b", method="POST", body='{"x":[1]}'),
        any_path(BARE, "a/b", method="POST", body='{"x":[2]}'),
    ]
    assert len(set(map(str, calls))) == len(calls)


def test_a_method_needs_a_capability():
    assert [any_path(BARE, "a/b", method=method).capability for method in ("GET", "LIST", "POST")] == [
        "read",
        "list",
        "update",
    ]
