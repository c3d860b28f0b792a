"""Which paths a template's words mean, and that none leads out of its environment."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import Refused
from lessee.core.paths import Folder, Ref, Space

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
    except Refused:
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
    except Refused:
        return
    assert path.startswith(("production/", "shared/", "teams/common/"))
    assert path.endswith("/")
    assert_sound(path.removesuffix("/").split("/"))


@given(literal)
def test_without_a_prefix_no_element_is_empty_or_a_dot(text):
    for resolve in BARE.secret, BARE.folder:
        try:
            path = resolve(text).path
        except Refused:
            continue
        assert_sound(path.removesuffix("/").split("/") if path else [])


@given(literal)
def test_a_secret_lies_in_the_folder_that_its_own_folder_names(text):
    try:
        ref = SPACE.secret(text)
    except Refused:
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
        with pytest.raises(Refused, match="starts with another environment's name; an agent reads its own"):
            resolve(name)


def test_another_environments_name_further_on_is_a_name_as_any_other():
    assert SPACE.secret("a/testing") == Ref("kv", "production/a/testing")


@pytest.mark.parametrize("name", ["production/a", "production"])
def test_the_prefix_is_not_written_out(name):
    with pytest.raises(Refused, match="starts with the prefix 'production/', which lessee itself puts in front"):
        SPACE.secret(name)


@pytest.mark.parametrize("name", ["", "a/", "/"])
def test_a_secret_has_a_name(name):
    with pytest.raises(Refused, match=r"is no path of a secret; write it as secret\(\"database/postgres\"\)"):
        SPACE.secret(name)


@pytest.mark.parametrize("name", ["/a", "a//b", "a/../b", "./a", "..", "a\nb", "a\x00", "a\u202eb"])
def test_a_path_has_whole_and_visible_elements(name):
    for resolve in SPACE.secret, SPACE.folder:
        with pytest.raises(Refused, match="is no path: an element is empty, a dot, or not printable"):
            resolve(name)


def test_versions_start_at_one():
    assert SPACE.secret("a", 1) == Ref("kv", "production/a", 1)
    for version in (0, -1):
        with pytest.raises(Refused, match=f"version={version} is no version of a secret; versions start at 1"):
            SPACE.secret("a", version)


def test_paths_are_told_as_people_write_them():
    assert str(Ref("kv", "a/b")) == "kv/a/b"
    assert str(Ref("kv", "a/b", 3)) == "kv/a/b@3"
    assert str(Folder("kv", "a/")) == "kv/a/"


def test_the_folder_of_a_secret_at_the_top_is_the_mount():
    assert Ref("kv", "a").folder == Folder("kv", "")
    assert Ref("kv", "a/b/c").folder == Folder("kv", "a/b/")
