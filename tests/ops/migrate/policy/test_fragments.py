"""Templates of Jinja write the white space that is meant."""

from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from lessee.ops.migrate.policy.jinja.fragments import Gap, Tag, Text, comment, write

# As lessee's own Jinja is set up.
JINJA = Environment(keep_trailing_newline=True, lstrip_blocks=True, autoescape=False)  # noqa: S701  # No HTML.
CUT = st.text(" \t\r\n", max_size=3)
WORDS = st.lists(
    st.sampled_from(
        [
            "a",
            "{",
            "}",
            "%",
            "#",
            "-",
            "+",
            "{{",
            "}}",
            "{%",
            "{#",
            '"',
            "\\",
            " ",
            "\n",
            "\r\n",
            "é",
            "\xa0",
            "\x1c",
            "\v",
        ]
    ),
    max_size=5,
).map("".join)


@st.composite
def texts(draw):
    """White space that was cut is not at the end of what stays."""
    before, after, text = draw(CUT), draw(CUT), draw(WORDS)
    text = text.lstrip(" \t\r\n") if before else text
    return Text(text.rstrip(" \t\r\n") if after else text, before, after)


TAGS = st.sampled_from([Tag("x", "{"), comment("a #} b"), Tag("if true"), Tag("set y = 1")])


@given(st.lists(texts() | TAGS | st.just(Gap()), max_size=9))
def test_what_is_written_is_what_the_pieces_say(pieces):
    opened = sum(piece == Tag("if true") for piece in pieces)
    apart = []  # Two texts come together only where an action between them is gone.
    for piece in [*pieces, *[Tag("endif")] * opened]:
        apart += [Gap(), piece] if apart and isinstance(piece, Text) and isinstance(apart[-1], Text) else [piece]
    wanted = "".join(
        piece.text if isinstance(piece, Text) else "X" if isinstance(piece, Tag) and piece.kind == "{" else ""
        for piece in apart
    )
    # Jinja turns each \r\n of its own text into \n before it does anything.
    assert JINJA.from_string(write(apart)).render(x="X") == wanted


def test_white_space_is_kept_for_the_reader_where_jinja_cuts_it():
    pieces = [Text("a", after="\n"), Tag("if x"), Text("b", before="\n  ", after="\n"), Tag("endif"), Text("\n")]
    assert write(pieces) == "a\n{%- if x -%}\n  b\n{%- endif %}\n"


def test_a_brace_before_what_is_quoted_is_quoted_too():
    assert write([Text("{\r\n{{\r")]) == '{{ "{\\r" }}\n{{ "{{" }}{{ "\\r" }}'


def test_an_indent_before_a_block_stays():
    assert write([Text("a\n  "), Tag("if x"), Text("b"), Tag("endif")]) == "a\n  {%+ if x %}b{% endif %}"


def test_white_space_beside_what_is_gone_is_gone():
    assert write([Text("a", after="\n"), Gap(), Text("b"), Tag("x", "{")]) == "ab{{ x }}"


def test_what_jinja_would_take_for_its_own_is_quoted():
    assert write([Text("${#a} {{ b }} {"), Tag("x", "{")]) == '${{ "{#" }}a} {{ "{{" }} b }} {{ "{" }}{{ x }}'
