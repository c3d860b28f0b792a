"""The files written for node and npm's dotenv, and the rejected values. tests/readers tests them with both."""

import pytest

from lessee.core.errors import FormatError
from lessee.rendering.formats import dotenv_node, outline, write
from support.inputs.env_files import document


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("A=", ["x"], "\n"), "A='x'\n"),
        (("A=", [""], "\n"), "A=''\n"),
        (("A=", ["it's"], "\n"), 'A="it\'s"\n'),
        (("A=", ['"it\'s"'], "\n"), 'A=`"it\'s"`\n'),
        (("A=", ["it's\\n"], "\n"), "A=`it's\\n`\n"),
        (("A=", ["'\"`"], "x\n"), None),
        (("A=x", ["'\"`"], "\n"), "A=x'\"`\n"),
        (("A=", ["a\\"], "\n"), "A=a\\\n"),
        (("A='", ["a\\"], "'\n"), "A=a\\\n"),
        (('A="', ["$x"], '" # c\n'), 'A="$x" # c\n'),
        (("A=`", ["a\nb"], "`\n"), "A=`a\nb`\n"),
        (('A="', ['"'], '\\n"\n'), "A='\"\n'\n"),
        (("export A = a ", ["b"], "  # c\r\n"), "export A = 'a b'  # c\r\n"),
        (("A=", ["x"], ""), "A='x'\n"),
        (("A=", ["x"], " # c"), "A='x' # c\n"),
        ((["x"], "=1"), "x=1\n"),
    ],
)
def test_the_first_suitable_quotes_are_used_starting_with_the_authors(parts, text):
    if text is None:
        with pytest.raises(
            FormatError, match="needs quotes but contains all three kinds of quotes or ends in a backslash"
        ):
            write(document(*parts), "dotenv-node")
    else:
        assert write(document(*parts), "dotenv-node") == text


@pytest.mark.parametrize(
    "before",
    [
        "A: ",
        "\ufeffA=",
        "A=\t",
        "A\t=",
        "\tA=",
        "A=\xa0",
        "B=1\n \nA=",
        " =1\nA=",
        "é=",
        "junk\nA=",
        "export  A=",
        "A='x' ",
        "A=\n",
        "=",
    ],
)
def test_a_value_where_the_readers_differ_is_rejected(before):
    with pytest.raises(FormatError, match=r"^app\.env\.j2:\d: database/postgres: password is ") as caught:
        write(document(before, ["canary"], "\n"), "dotenv-node")
    assert "canary" not in str(caught.value)


def test_an_open_quote_of_the_author_is_found_before_it_swallows_a_value():
    todo = "close the quotes on this line and earlier lines"
    with pytest.raises(FormatError, match=rf"^app\.env\.j2:3: the file would parse back to .*; {todo}$"):
        write(document("X=1\n\nA='x\nB=", ["it"], "\nC=1\n"), "dotenv-node")


@pytest.mark.parametrize("before", ["A='1'\n  # ", "junk # "])
def test_a_comment_that_would_set_a_variable_is_rejected(before):
    with pytest.raises(FormatError, match="would parse back to different"):
        write(document(before, ["a=b"], "\n"), "dotenv-node")
    assert write(document(before, ["a"], "\n"), "dotenv-node") == f"{before}a\n"


def test_a_last_line_with_a_value_gets_a_line_end_for_node_22_12():
    assert write(document("# ", ["A=1"]), "dotenv-node") == "# A=1\n"
    assert write(document("# A=1"), "dotenv-node") == "# A=1"
    assert write(document(), "dotenv-node") == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1", {"A": "1"}),
        ("A= 'x' # c\nB", {"A": "x"}),
        ("export A='x", {"A": "'x"}),
        ("export  A=`x\ny` z\r\nB=y # z\n", {"A": "x\ny", "B": "y"}),
        ('A="x\\ny\\rz"\n', {"A": "x\ny\\rz"}),
        ("=1\n#=\n\t\nA=\nB= \nC=\t", {"A": "", "B": "C="}),
        ("A\n\n =2", {}),
        ("A=", {"A": ""}),
        ("A= \n", {"A": ""}),
    ],
)
def test_the_reader_follows_node(text, found):
    assert {name: value for name, (value,) in dotenv_node.node(text)} == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1", {"A": "1"}),
        ("# A\nexport A= 'x' # c\nB", {"A": "x"}),
        ("A='x", {}),
        ("A='x\nB=1", {"A": "'x", "B": "1"}),
        ("\tA\n\tB=\ty\t", {"\tA\n\tB": "\ty\t"}),
        ("#A=1", {"#A": "1"}),
        ("A=1\n=2\nB=3", {"A": "1"}),
        ("A= ", {"A": ""}),
    ],
)
def test_the_reader_follows_node_20(text, found):
    assert {name: value for name, (value,) in dotenv_node.old_node(text)} == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A: x\n.b-c = y # z\r\n\ufeffexport D='it\\'s'\n", {"A": "x", ".b-c": "y", "D": "it\\'s"}),
        ("A=\"x\\ny\\rz\\t\"\nB='a\\'\nC='\nD=1", {"A": "x\ny\rz\\t", "B": "a\\'\nC=", "D": "1"}),
        ("A=#\nB\nC=x'y'\u2028'z'", {"A": "", "C": "x'y'\u2028z"}),
        ("A=\n'x\r\ny\rz'", {"A": "x\ny\nz"}),
    ],
)
def test_the_reader_follows_npms_dotenv(text, found):
    assert {name: value for name, (value,) in dotenv_node.npm(text)} == found


def test_the_outline_takes_what_dotenv_reads_as_names():
    assert outline("# c\nA: 1\nexport B.c='x\nD=1'\n", "dotenv-node") == ("A", "B.c")
    for junk in ("=1", "MIIEvQIBADANBgkq+hkiG9w0", "a b"):
        with pytest.raises(FormatError, match=r"^a line of the text assigns no variable"):
            outline(f"A=1\n{junk}\n", "dotenv-node")
