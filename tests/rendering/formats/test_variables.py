"""The common behavior of the env files for npm, Compose and Docker. tests/readers tests them with these programs."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.formats import dotenv_compose, dotenv_docker, dotenv_node, dotenv_vite, outline, write
from support.inputs.env_files import PIECES, document, written
from support.inputs.hostile_values import VALUES

GRAMMARS = {
    "dotenv-node": dotenv_node.GRAMMAR,
    "dotenv-vite": dotenv_vite.GRAMMAR,
    "dotenv-compose": dotenv_compose.GRAMMAR,
    "dotenv-docker": dotenv_docker.GRAMMAR,
}
each = pytest.mark.parametrize("name", GRAMMARS)
pieces = st.sampled_from([*PIECES, "\nLD_PRELOAD=/tmp/x.so\n", "\\'", "$$", "${A}", "\x85", "\u3000"])
hostile = st.lists(pieces, max_size=10).map("".join) | st.sampled_from(VALUES)
author = st.lists(pieces, max_size=12).map("".join)


def read(name, text):
    """The variables that each reader of the format finds with an empty environment."""
    found = [{key: value and value[0] for key, value in reader(text)} for reader in GRAMMARS[name].readers]
    assert all(one == found[0] for one in found)
    return found[0]


@each
@given(value=hostile)
@example(value="x\\")
@example(value="\r")
def test_a_value_reads_back_whole_and_alone_or_is_rejected(name, value):
    text = written(name, "# head\nA=", [value], "\nB='", [value], "'\nC=1\n")
    quote = "'" if name == "dotenv-docker" else ""
    assert text is None or read(name, text) == {"A": value, "B": f"{quote}{value}{quote}", "C": "1"}


@pytest.mark.long
@each
@given(before=author, value=hostile, after=author)
@example(before="A=", value="$x", after="\nB=${A}\n")
@example(before="A", value="", after="")
def test_no_value_changes_what_readers_find_with_any_text_of_the_author(name, before, value, after):
    text = written(name, before, [value], after)
    if text is None:
        return
    ends = "\n" if text.endswith("\n") and not f"{before}x{after}".endswith("\n") else ""
    for reader in GRAMMARS[name].readers:
        harmless = [(key.replace("harm7less", value), held) for key, held in reader(f"{before}harm7less{after}{ends}")]
        wanted = [(key, held and tuple(part.replace("harm7less", value) for part in held)) for key, held in harmless]
        assert reader(text) == wanted


@pytest.mark.no_cover
@each
@given(text=author)
def test_a_file_without_values_stays_byte_for_byte_or_is_rejected_whole(name, text):
    assert written(name, text) in {text, None}


@each
def test_lines_without_values_stay_byte_for_byte(name):
    before, after = "# head\r\n\r\nX='a'\r\nA=", '\r\n \n  # c\r\nB="x"\n'
    text = write(document(before, ["v"], after), name)
    assert text.startswith(before)
    assert text.endswith(after)


@pytest.mark.no_cover
@each
@pytest.mark.parametrize("line_break", list("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"))
def test_a_line_break_in_a_comment_is_rejected(name, line_break):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:2: .* several lines") as caught:
        write(document("\n# ", [f"canary{line_break}B=1"], "\n"), name)
    assert "canary" not in str(caught.value)


@each
def test_a_value_in_a_comment_stays_in_it(name):
    assert write(document("# for ", ["it's"], "\nA=1\n"), name) == "# for it's\nA=1\n"


@each
def test_a_nul_is_rejected_since_no_environment_can_contain_it(name):
    for before in ("A=", "# "):
        with pytest.raises(FormatError, match="contains a NUL") as caught:
            write(document(before, ["canary\0"], "\n"), name)
        assert "canary" not in str(caught.value)


@pytest.mark.no_cover
@each
def test_a_value_may_be_part_of_a_name(name):
    text = write(document(["db"], "_URL=", ["x"], "\n", ["B_"], "2=y\n"), name)
    assert read(name, text) == {"db_URL": "x", "B_2": "y"}


@pytest.mark.no_cover
@each
@pytest.mark.parametrize("value", ["A\nB", "é", "A=1\nB", "A B", "", "a.b", "a-b", "#", "1"])
def test_a_name_that_is_invalid_is_rejected(name, value):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:2: database/postgres: password does not form a valid"):
        write(document("\n", [value], "=x\n"), name)


@each
@pytest.mark.parametrize("parts", [(["A"], "=x\nA=y"), ("A=x\n", ["A"], "=y"), (["A"], "=x\n", ["A"], "=y")])
def test_a_duplicate_name_is_rejected(name, parts):
    with pytest.raises(FormatError, match="duplicates the name of a variable"):
        write(document(*parts), name)


@each
def test_duplicate_names_of_the_author_are_kept(name):
    assert read(name, write(document("A=1\nA=", ["x"], "\n"), name)) == {"A": "x"}


@each
@pytest.mark.parametrize("parts", [(["x"],), (["x"], "\nB=1"), ("B=1\n", ["x"], "\n")])
def test_a_value_on_a_line_that_assigns_nothing_is_rejected(name, parts):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:\d: database/postgres: password is on a line"):
        write(document(*parts), name)


@each
def test_the_outline_names_the_variables(name):
    assert outline("# c\nA='x'\nB=1\nA=2\n", name) == ("A", "B")
