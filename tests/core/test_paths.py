"""Which paths a template's words mean, and that none leads out of its environment."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import DeniedError
from lessee.core.paths import Dynamic, Folder, Ref, Space

SPACE = Space("kv", "production/", ("shared/", "teams/common/"), frozenset({"testing", "staging"}))
BARE = Space("kv", foreign=frozenset({"testing", "staging"}))

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


@given(literal)
@example("shared")
@example("teams/common")
@example("shared/../testing/a")
def test_no_word_gives_a_secret_outside_prefix_and_shared_folders(text):
    try:
        path = SPACE.secret(text).path
    except DeniedError:
        return
    assert path.startswith(("production/", "shared/", "teams/common/"))
    assert_sound(path.split("/"))


@given(literal)
@example("")
@example("/")
@example("//")
@example("shared")
def test_no_word_gives_a_folder_outside_prefix_and_shared_folders(text):
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


@given(literal)
def test_a_secret_lies_in_the_folder_that_its_own_folder_names(text):
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


def test_the_prefix_is_put_in_front_but_for_shared_folders():
    assert SPACE.secret("database/postgres") == Ref("kv", "production/database/postgres")
    assert SPACE.secret("shared/tls") == Ref("kv", "shared/tls")
    assert SPACE.secret("teams/common/a/b") == Ref("kv", "teams/common/a/b")
    assert SPACE.secret("teams/other") == Ref("kv", "production/teams/other")
    assert BARE.secret("a/b") == Ref("kv", "a/b")


def test_a_secret_with_a_shared_folders_name_is_not_in_it():
    assert SPACE.secret("shared") == Ref("kv", "production/shared")
    assert SPACE.secret("sharedish") == Ref("kv", "production/sharedish")


def test_folders_are_named_with_or_without_their_slash():
    assert SPACE.folder("api-keys/") == SPACE.folder("api-keys") == Folder("kv", "production/api-keys/")
    assert SPACE.folder("shared/") == SPACE.folder("shared") == Folder("kv", "shared/")
    assert SPACE.folder("") == SPACE.folder("/") == Folder("kv", "production/")
    assert BARE.folder("") == Folder("kv", "")


@pytest.mark.parametrize("name", ["testing/a", "staging/a/b", "testing", "staging"])
def test_another_environments_name_is_refused_in_front(name):
    for resolve in SPACE.secret, SPACE.folder:
        with pytest.raises(DeniedError, match="starts with another environment's name; an agent reads its own"):
            resolve(name)


def test_another_environments_name_further_on_is_a_name_as_any_other():
    assert SPACE.secret("a/testing") == Ref("kv", "production/a/testing")


@pytest.mark.parametrize("name", ["production/a", "production"])
def test_the_prefix_is_not_written_out(name):
    with pytest.raises(DeniedError, match="starts with the prefix 'production/', which lessee itself puts in front"):
        SPACE.secret(name)


@pytest.mark.parametrize("name", ["", "a/", "/"])
def test_a_secret_has_a_name(name):
    with pytest.raises(DeniedError, match=r"is no path of a secret; write it as secret\(\"database/postgres\"\)"):
        SPACE.secret(name)


@pytest.mark.parametrize("name", ["/a", "a//b", "a/../b", "./a", "..", "a\nb", "a\x00", "a\u202eb"])
def test_a_path_has_whole_and_visible_elements(name):
    for resolve in SPACE.secret, SPACE.folder:
        with pytest.raises(DeniedError, match="is no path: an element is empty, a dot, or not printable"):
            resolve(name)


def test_versions_start_at_one():
    assert SPACE.secret("a", 1) == Ref("kv", "production/a", 1)
    for version in (0, -1):
        with pytest.raises(DeniedError, match=f"version={version} is no version of a secret; versions start at 1"):
            SPACE.secret("a", version)


def test_a_version_of_thousands_of_digits_is_refused_without_them():
    with pytest.raises(DeniedError, match=r"^no secret has so many versions; "):
        SPACE.secret("a", 16**4000)


def test_paths_are_told_as_people_write_them():
    assert str(Ref("kv", "a/b")) == "kv/a/b"
    assert str(Ref("kv", "a/b", 3)) == "kv/a/b@3"
    assert str(Folder("kv", "a/")) == "kv/a/"
    assert str(Dynamic("database/creds/simba")) == "database/creds/simba"
    assert str(SPACE.dynamic("aws/sts/deploy", ttl="15m", n=1)) == "aws/sts/deploy (n=1, ttl=15m)"


def test_the_folder_of_a_secret_at_the_top_is_the_mount():
    assert Ref("kv", "a").folder == Folder("kv", "")
    assert Ref("kv", "a/b/c").folder == Folder("kv", "a/b/")


# What Vault makes when it is asked.


@given(literal)
@example("testing/creds/a")
@example("kv/testing/a")
@example("kv/data/production/a")
@example("kv//a")
@example("pki/issue/web")
def test_no_word_asks_for_what_belongs_to_another_environment_or_is_kv(text):
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


@given(parameters, st.randoms())
def test_the_order_of_parameters_makes_no_other_need(params, random):
    pairs = list(params.items())
    random.shuffle(pairs)
    shuffled = dict(pairs)
    for resolve in SPACE.dynamic, SPACE.certificate:
        made = resolve("pki/issue/web", **params)
        assert made == resolve("pki/issue/web", **shuffled)
        assert hash(made) == hash(resolve("pki/issue/web", **shuffled))
        assert dict(made.params) == params


def test_other_parameters_are_another_need():
    one, other = (SPACE.certificate("pki/issue/web", common_name=name) for name in ("a.local", "b.local"))
    assert one != other
    assert one != SPACE.dynamic("pki/issue/web", common_name="a.local")
    assert one != SPACE.certificate("pki/issue/web", common_name="a.local", key="local")


def test_parameters_are_sent_by_a_post_and_no_prefix_is_put_in_front():
    assert SPACE.dynamic("database/creds/simba") == Dynamic("database/creds/simba")
    assert SPACE.dynamic("database/creds/simba", method="GET") == Dynamic("database/creds/simba")
    assert SPACE.dynamic("gcp/key/a", method="POST") == Dynamic("gcp/key/a", method="POST")
    both = Dynamic("aws/sts/deploy", (("n", 1), ("ttl", "15m")), "POST")
    assert SPACE.dynamic("aws/sts/deploy", ttl="15m", n=1) == both
    assert SPACE.dynamic("aws/sts/deploy", ttl="15m", n=1, method="POST") == both


def test_a_get_sends_no_parameters():
    with pytest.raises(DeniedError, match='method="GET" sends no parameters; leave it out, or the parameters'):
        SPACE.dynamic("aws/sts/deploy", method="GET", ttl="15m")


@pytest.mark.parametrize("method", ["get", "PUT", "", 1, True])
def test_there_are_two_methods(method):
    with pytest.raises(DeniedError, match='is neither "GET" nor "POST"; leave it out, or write method="POST"'):
        SPACE.dynamic("aws/sts/deploy", method=method)


def test_a_certificate_is_asked_for_by_a_post():
    params = (("common_name", "simba.local"), ("ttl", "1h"))
    made = Dynamic("pki/issue/web", params, "POST", certificate=True)
    assert SPACE.certificate("pki/issue/web", ttl="1h", common_name="simba.local") == made
    assert SPACE.certificate("pki/issue/web", ttl="1h", common_name="simba.local", key="server") == made
    assert SPACE.certificate("pki/issue/web").params == ()


@pytest.mark.parametrize("path", ["pki/issue/web", "a/pki/issue/issue", "issue/issue/web", "pki/issuer/x/issue/web"])
def test_a_local_key_is_no_parameter(path):
    made = SPACE.certificate(path, common_name="simba.local", key="local")
    assert made == Dynamic(path, (("common_name", "simba.local"),), "POST", certificate=True, local_key=True)
    assert made.asked == path[: path.rindex("/issue/")] + "/sign/" + path[path.rindex("/") + 1 :]
    assert SPACE.certificate(path, common_name="simba.local").asked == path


@pytest.mark.parametrize("key", ["Local", "", 1, False])
def test_a_key_is_made_in_one_of_two_places(key):
    with pytest.raises(DeniedError, match='is neither "server" nor "local"; say where the private key is made'):
        SPACE.certificate("pki/issue/web", common_name="simba.local", key=key)


@pytest.mark.parametrize("path", ["pki/sign/web", "issue/web", "pki/issue", "pki/issue/web/x", "pki/issuer/x/y"])
def test_a_local_key_wants_a_path_that_has_a_place_to_sign(path):
    with pytest.raises(DeniedError, match="does not end in issue and a role: "):
        SPACE.certificate(path, common_name="simba.local", key="local")


@pytest.mark.parametrize("params", [{}, {"common_name": ""}, {"common_name": 1}, {"alt_names": "a"}])
def test_a_local_key_wants_a_common_name(params):
    with pytest.raises(DeniedError, match='needs a common_name for its signing request; write common_name="'):
        SPACE.certificate("pki/issue/web", key="local", **params)


@pytest.mark.parametrize("path", ["database", "pki/", "database/creds/simba/"])
def test_what_vault_makes_lies_in_a_mount(path):
    for resolve in SPACE.dynamic, SPACE.certificate:
        with pytest.raises(DeniedError, match="is no path of what Vault makes; write the mount and what is in it"):
            resolve(path)


def test_the_prefix_cannot_be_gone_around_by_asking_for_a_kv_path():
    for space in SPACE, Space("team/kv"):
        for path in (f"{space.mount}/data/testing/a", f"{space.mount}/testing/a"):
            with pytest.raises(DeniedError, match=r"where the KV secrets are; read it with secret\(\)"):
                space.dynamic(path)
    assert Space("team/kv").dynamic("team/kvetch/creds/a").path == "team/kvetch/creds/a"
    with pytest.raises(DeniedError, match="where the KV secrets are"):
        Space("team/kv").dynamic("team/kv")


def test_a_parameter_that_is_no_text_is_refused():
    with pytest.raises(DeniedError, match="a parameter holds half of a surrogate pair; write the character itself"):
        SPACE.dynamic("aws/sts/deploy", name="\ud800")


def test_one_template_names_each_environments_own_engines():
    for name in "production", "testing":
        space = Space("secret", f"{name}/", foreign=frozenset({"production", "testing"}) - {name}, environment=name)
        assert space.dynamic("{environment}/database/creds/simba").path == f"{name}/database/creds/simba"
        issued = space.certificate("{environment}/pki/issue/web", common_name="{environment}.local", ttl="1h")
        assert issued.path == f"{name}/pki/issue/web"
        assert dict(issued.params)["common_name"] == "{environment}.local"


def test_no_engine_of_an_environment_is_named_where_there_is_no_environment():
    for resolve in BARE.dynamic, BARE.certificate:
        with pytest.raises(
            DeniedError, match=r"holds \{environment\}, and there is no environment; write `environment: N"
        ):
            resolve("{environment}/database/creds/simba")


def test_an_environment_stands_for_no_way_into_another():
    space = Space("secret", foreign=frozenset({"testing"}), environment="../testing")
    with pytest.raises(DeniedError, match="an element is empty, a dot, or not printable"):
        space.dynamic("{environment}/database/creds/simba")
    with pytest.raises(DeniedError, match="where the KV secrets are"):
        Space("production", environment="production").dynamic("{environment}/data/a")
