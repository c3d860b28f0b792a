"""The format sh, and the rejected values. tests/readers tests it with real shells."""

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import outline, sh, write

PIECES = ("'", '"', "$", "${", "}", "$(", ")", "`", "#", "\n", "\r", "\\", " ", "=", ";", "&", "<<", "é", "~", "*", "!")
any_text = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
hostile = st.lists(st.sampled_from(PIECES) | any_text, max_size=12).map("".join)
author = st.lists(st.sampled_from([*PIECES, *"ab1[", "A=", "case ", "esac", "<<E\n", "\nE\n", "((", "))"]), max_size=12)

VALUE = 'it\'s "$x" `y` \\'
QUOTED = r"""'it'\''s "$x" `y` \'"""
IN_DOUBLE = r"""it's \"\$x\" \`y\` \\"""
IN_HERE = r"""it's "\$x" \`y\` \\"""


def document(*parts):
    """Marked text of strings and of values in lists."""
    return Document(
        "run.sh.j2",
        tuple(part if isinstance(part, str) else Placeholder(part[0], "db/main: password") for part in parts),
    )


@pytest.mark.parametrize(
    ("before", "after", "spelled"),
    [
        ("A=", "\n", QUOTED),
        ("export A=", " B=1\n", QUOTED),
        ("A+=x", "y", QUOTED),
        ("run --password=", "", QUOTED),
        ("run a#", " # c\n", QUOTED),
        ("", " --flag", QUOTED),
        ("[ ", " = b ] && { run; }", QUOTED),
        ("run < ", " 2>", QUOTED),
        ("run <<<", "", QUOTED),
        ("case ", " in a) esac", QUOTED),
        ("case a in ", ") run;; esac", QUOTED),
        ("for a in x ", " y; do run; done", QUOTED),
        ("A=(a ", ")", QUOTED),
        ("~/", "*", QUOTED),
        ("\\\nrun a\\\nb\\$", "", QUOTED),
        ("A=$(run ", ")", QUOTED),
        ('A="$( (run; run "$(run) $x" ', ') )"', QUOTED),
        ("A=\"$(run # c ) it's\n", ')"', QUOTED),
        ("A=$(case a in (a|b) run;; c) run ", ";; esac)", QUOTED),
        ("A=$(case x in esac; if case y in y) :;; esac; then run ", "; fi)", QUOTED),
        ("A=$(if run; then run; fi; run ", ")", QUOTED),
        ("cat <<A <<'B' | run ", "\n$(run)`x`${x}\nA\n\nB\n", QUOTED),
        ("cat <<E\n$(run ", ")\nE\n", QUOTED),
        ("A=$((1 + ${x} + $(run) + 16#ff)) B=${#x}${x:-'}'\"}$(y)\"\\}`z`} C=`x \\` \"'` D=$'a\\n' ", "", QUOTED),
        ("((i++)); [[ a < b && ( x =~ ^(a|b)$ ) ]] && run ", "", QUOTED),
        ("A='a", "b'", QUOTED[1:-1]),
        ('A="a', 'b"', IN_DOUBLE),
        ('A="${x:-"}"}$@`x`$(run)', '"', IN_DOUBLE),
        ('A=$"', '"', IN_DOUBLE),
        ("cat <<E\n$x$(run)", "\nE\n", IN_HERE),
        ("cat <<-E; run\n\t$1 ", "\n\tE\n", IN_HERE),
        ("cat <<'E'\n$(\n", "\nE", VALUE),
        ("cat << \\E\n", "\nE\nrun\n", VALUE),
        ('cat <<-"a b"\n\t', "\n\ta b\nrun\n", VALUE),
        ("run # ", "\nrun", VALUE),
        ("A=1; # ", "\n", VALUE),
    ],
)
def test_a_value_is_quoted_for_its_position(before, after, spelled):
    before = before.replace("$x$(run)", "$(run)").replace("\t$1 ", "\t")
    assert write(document(before, [VALUE], after), "sh") == f"{before}{spelled}{after}"


@pytest.mark.no_cover
@given(hostile)
@example("")
@example("'")
@example("\\")
def test_values_read_back_with_shlex(value):
    text = write(document("run ", [value], " 'a", [value], "b' c", [value], [value], "\\'\n"), "sh")
    assert shlex.split(text) == ["run", value, f"a{value}b", f"c{value}{value}'"]


def test_escapes_of_the_author_in_quotes_are_kept():
    text = write(document('A="\\a\\$\\"\\\\\\\n', ["$"], "\\", ["$"], '" B="$', "%", ["x"], '"'), "sh")
    assert text == 'A="\\\\a\\$\\"\\\\\\$\\\\\\$" B="\\$%x"'


@pytest.mark.no_cover
def test_a_variable_before_a_value_gets_braces_since_zsh_reads_on_after_a_name():
    text = write(document('A="$x:', ["h"], " $y", '$z" B=$#', ["x"], "$z/c\ncat <<E\n$1é", ["x"], "\nE\n"), "sh")
    assert text == "A=\"${x}:h $y$z\" B=${#}'x'$z/c\ncat <<E\n${1}éx\nE\n"


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("A=$", "", "would be read as the name after a \\$"),
        ("A=$x", "", "would be read as the name after a \\$"),
        ('A="$', '"', "would be read as the name after a \\$"),
        ("A=${x:-", "}", "is inside \\$\\{…\\}"),
        ('A="${', '}"', "is inside \\$\\{…\\}"),
        ("A=${x:-$(run ", ")}", "is inside \\$\\{…\\}"),
        ("A=$((", " + 1))", "is in arithmetic"),
        ("((i + ", "))", "is in arithmetic"),
        ("A=`run ", "`", "is inside `…`"),
        ("A=$'", "'", "is inside \\$'…', which not every shell supports"),
        ("[[ ", " == a ]]", r"is inside \[\[ … \]\]"),
        ("cat <<", "\nx\n", "no clear end"),
        ("cat <<'x", "'\n", "no clear end"),
        ("A=~", "/x", "is directly after a ~"),
        ("run ~", "", "is directly after a ~"),
        ("A=a:~", "", "is directly after a ~"),
        ("A=\\", "", r"is directly after a \\; remove it, or write it twice"),
        ("for ", " in a; do run; done", "is where for expects a name"),
        ("function ", " { run; }", "is where function expects a name"),
        ("read -r ", "", "is where read expects a name"),
        ("run >&", "", "is where >& expects a name"),
        ("export ", "", "is where export expects a name"),
        ('export "a', '=1"', "is where export expects a name"),
        ("command unset -v ", "", "is where unset expects a name"),
        ("", "() { run; }", "precedes a bracket"),
        ("", " \\\n ()", "precedes a bracket"),
        ("eval ", "", "is an argument of eval, which evaluates it"),
        ('A=1 command \\eval "', '"', "is an argument of eval, which evaluates it"),
        ("trap 'run ", "' EXIT", "is an argument of trap, which evaluates it"),
        ("[ 1 -eq ", " ]", "is compared as a number"),
        ("test -v ", "", "is compared as a number"),
        ("a[", "]=1", "is where the subscript of an array is evaluated"),
        ("a=(1 [", "]=1)", "is where the subscript of an array is evaluated"),
        ("#!/bin/", "", "is in the line that names the interpreter"),
    ],
)
def test_a_value_in_an_unsupported_position_is_rejected(before, after, what):
    with pytest.raises(FormatError, match=what) as caught:
        write(document("#\n" if before[:2] != "#!" else "", before, ["canary"], after), "sh")
    assert str(caught.value).startswith(f"run.sh.j2:{1 + (before[:2] != '#!')}: ")
    assert "canary" not in str(caught.value)


def test_a_value_after_a_keyword_may_be_a_name():
    with pytest.raises(FormatError, match="does not form a valid variable name"):
        write(document("if a; then ", ["a b"], "=1; fi"), "sh")
    assert write(document("if a; then ", ["A"], "=1; fi"), "sh") == "if a; then A=1; fi"


def test_a_continued_line_is_not_a_quoted_newline():
    continued, quoted, escaped = (sh._meaning(sh.read(text)) for text in ("a\\\nb", "a'\n'b", "a\\ b"))
    assert len({str(continued), str(quoted), str(escaped)}) == 3


def test_a_value_in_a_nested_command_belongs_to_that_command():
    text = write(document('eval "$(run ', ["x"], ') a"; [ "$(run $(run ', ["y"], '))" -eq 1 ]'), "sh")
    assert text == "eval \"$(run 'x') a\"; [ \"$(run $(run 'y'))\" -eq 1 ]"


@pytest.mark.parametrize(
    "command", ["declare -i A", "local -ri A=1", "typeset -n A", "integer A", "float A=1", "typeset '-i' A"]
)
def test_variables_that_evaluate_their_content_are_rejected(command):
    with pytest.raises(FormatError, match=r"^run\.sh\.j2:2: .* is evaluated, and may run commands"):
        write(document("\n", command, "\nB=", ["x"]), "sh")


@pytest.mark.parametrize("command", ["export -n A", "declare -r A=1", "typeset A=-i"])
def test_other_variables_are_declared_as_usual(command):
    assert write(document(command, " B=", ["x"]), "sh") == f"{command} B='x'"


@pytest.mark.parametrize(
    "text",
    [
        "A='",
        'A="',
        'A="$(a',
        "A=$(",
        "(a",
        "A=`",
        'A="\\',
        "A=$'\\'",
        "A=$[1]",
        "A=$\\\n(a)",
        "A=$x[1]",
        "A=${ a; }",
        "A=${x",
        "A=${x:-{}",
        "A=${x:-<(a)}",
        'A="${x:-\'}"',
        "A=${x:-'}",
        "A=$(( ')",
        "A=$((a) )",
        "((a",
        "((1<<2))",
        "A=$(( $(cat <<E) ))\nE\n",
        "(#a\n)",
        "$(\\\n(a))",
        "a <\\\n<E",
        "cat <<E",
        "cat <<E\n",
        "cat <<E\n$(a\nE\n)",
        "cat <<E\na\\\nE\n",
        "cat <<E\r\nE\r\n",
        "cat <<$x\n$x\n",
        "cat <<E $(a\n)\nE\n",
        "$(cat <<E)\nE\n",
        "$(cat <<E\nE)\nE\n)",
        'cat <<E\n"${x:-""}\nE\n',
        "$(a case)",
        "$(a; b esac)",
        "$(case a in a) b)",
        "[[ a",
        "[[ a # b ]]",
        "[[ a << b ]]",
        "[[ a ) ]]",
        "[[ ( a ]]",
        "a\0",
    ],
)
def test_ambiguous_shell_syntax_next_to_a_value_is_rejected(text):
    with pytest.raises(FormatError, match=r"^run\.sh\.j2:\d: "):
        write(document(text, " ", [""], "\n"), "sh")
    assert write(document(text), "sh") == text


def test_a_here_document_without_lines_is_rejected():
    with pytest.raises(FormatError, match=r"^run\.sh\.j2:1: a here-document has no lines"):
        write(document("cat <<E ", ["x"]), "sh")


def test_an_error_in_the_authors_text_names_its_line():
    with pytest.raises(FormatError, match=r"^run\.sh\.j2:3: a quote is not closed; close it$"):
        write(document("\nA=", ["a\nb"], "\nB='", ["x"], "\n"), "sh")


def test_a_script_that_nests_endlessly_is_rejected():
    with pytest.raises(FormatError, match=r"^run\.sh\.j2: the text is nested too deeply"):
        write(document("$(" * 5000, ["x"]), "sh")
    with pytest.raises(FormatError, match=r"^the text is nested too deeply"):
        outline("( " * 5000, "sh")


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("cat <<E\n", "a\nE\nb", "\nE\n"),
        ("cat <<'E'\n", "E", "\nE\n"),
        ("cat <<'E'\nE", "\nE", "E\nE\n"),
        ("cat <<-EOF\n\t\tE", "OF", "\n\tEOF\n"),
        ("cat <<E\n$(run ", "\nE\n", ")\nE\n"),
        ("A=$(cat <<E\n", "x\nE; run)", "\nE\n)"),
    ],
)
def test_a_value_cannot_end_its_here_document(before, value, after):
    with pytest.raises(FormatError, match=r"password contains the line that ends its here-document; choose another"):
        write(document(before, [value], after), "sh")


def test_a_line_that_ends_no_here_document_is_a_plain_line():
    assert write(document("cat <<E\nE", [" E\n\tE\nE)"], "\nE\n"), "sh") == "cat <<E\nE E\n\tE\nE)\nE\n"


@pytest.mark.parametrize(("before", "value"), [("\t", "\tx"), ("", "\tx"), ("a", "b\n\tc")])
def test_a_tab_that_a_here_document_would_lose_is_rejected(before, value):
    with pytest.raises(FormatError, match="begins a line with a tab, which <<- removes"):
        write(document("cat <<-E\n", before, [value], "\nE\n"), "sh")
    assert write(document("cat <<E\n", before, [value], "\nE\n"), "sh") == f"cat <<E\n{before}{value}\nE\n"


@pytest.mark.parametrize("line_break", list("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"))
def test_a_line_break_in_a_comment_is_rejected(line_break):
    with pytest.raises(FormatError, match=r"^run\.sh\.j2:2: .* several lines") as caught:
        write(document("\n# ", [f"canary{line_break}b"]), "sh")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("before", ["A=", "A='", "# ", "cat <<'E'\n"])
def test_a_nul_is_rejected_since_no_shell_can_represent_it(before):
    with pytest.raises(FormatError, match="contains a NUL") as caught:
        write(document(before, ["canary\0"], "'" if before.endswith("'") else "\nE\n"), "sh")
    assert "canary" not in str(caught.value)


def test_a_value_may_be_part_of_a_name():
    text = write(document(["db"], "_URL=", ["x"], " ", ["B"], "+=1\nexport C", ["2"], "=3 D=4\n"), "sh")
    assert text == "db_URL='x' B+=1\nexport C2=3 D=4\n"


@pytest.mark.parametrize("value", ["", "1", "a b", "a=b", "a;b", "é", "a\nb", "a[1]"])
def test_a_name_that_is_invalid_is_rejected(value):
    with pytest.raises(FormatError, match="does not form a valid variable name"):
        write(document([value], "=x"), "sh")


@pytest.mark.parametrize(
    "parts", [(["A"], "=x\nA=y"), ("export 'A'=x; ", ["A"], "=y"), (["A"], "=x\nB=1 ", ["A"], "=y")]
)
def test_a_duplicate_name_is_rejected(parts):
    with pytest.raises(FormatError, match="duplicates the name of a variable"):
        write(document(*parts), "sh")


def test_an_argument_with_an_equals_sign_is_not_a_variable():
    assert write(document("A=1 env A=2 ", ["A"], "=3 >", ["x-y"], "="), "sh") == "A=1 env A=2 'A'=3 >'x-y'="


@given(author.map("".join), hostile, author.map("".join))
def test_with_any_text_of_the_author_the_result_has_its_structure_or_is_rejected(before, value, after):
    try:
        text = write(document(before, [value], after), "sh")
    except FormatError:
        return
    # The author's commands are read in the same order whatever the value is.
    assert outline(text, "sh") == outline(write(document(before, ["x"], after), "sh"), "sh")


def test_verification_rejects_a_script_that_lost_a_word():
    marked = sh.mark_values(document("run ", ["x"], " y\n"))
    script = sh.read(marked.text)
    for lost in ("run 'x'\n", "run x y\n", "run '"):
        with pytest.raises(FormatError, match=r"^run\.sh\.j2: the script would parse back to different"):
            sh._verify(lost, script, marked)
    sh._verify("run 'x' y\n", script, marked)


def test_the_outline_of_sh_names_the_variables_that_are_assigned():
    text = (
        "#!/bin/sh\nA=1 B='x y' run C=1\nexport D=1 E \"F=$x\"\nA+=1\nif G=1; then H=$(I=1; run); fi\ncat <<E\nJ=1\nE\n"
    )
    assert outline(text, "sh") == ("A", "B", "D", "F", "G", "H", "I")


def test_ambiguous_shell_syntax_has_no_outline():
    with pytest.raises(FormatError, match=r"^a quote is not closed"):
        outline("A='", "sh")
