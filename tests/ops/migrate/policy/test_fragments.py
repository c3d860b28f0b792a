"""Jinja templates with exactly the intended white space."""

from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from lessee.ops.migrate.policy.jinja.fragments import Gap, Tag, Text, assemble, unfinished

# The settings of lessee's Jinja environment.
JINJA = Environment(keep_trailing_newline=True, lstrip_blocks=True, autoescape=False)  # noqa: S701  # No HTML.
REMOVED = st.text(" \t\r\n", max_size=3)
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
    """The remaining text does not border on removed white space with white space of its own."""
    before, after, text = draw(REMOVED), draw(REMOVED), draw(WORDS)
    text = text.lstrip(" \t\r\n") if before else text
    return Text(text.rstrip(" \t\r\n") if after else text, before, after)


TAGS = st.sampled_from([Tag("x", "{"), unfinished('a #} }} %} " b', ""), Tag("if true"), Tag("set y = 1")])


@given(st.lists(texts() | TAGS | st.just(Gap()), max_size=9))
def test_the_output_is_that_of_the_fragments(fragments):
    unclosed = sum(fragment == Tag("if true") for fragment in fragments)
    separated = []  # The parser puts an action between any two texts.
    for fragment in [*fragments, *[Tag("endif")] * unclosed]:
        follows_text = separated and isinstance(separated[-1], Text)
        separated += [Gap(), fragment] if follows_text and isinstance(fragment, Text) else [fragment]
    expected = "".join(
        fragment.text
        if isinstance(fragment, Text)
        else "X"
        if isinstance(fragment, Tag) and fragment.kind == "{"
        else ""
        for fragment in separated
    )
    # Jinja first normalizes each \r\n of its source to \n.
    assert JINJA.from_string(assemble(separated)).render(x="X", fail=lambda _: "X") == expected


def test_removed_white_space_is_kept_where_jinja_removes_it_again():
    fragments = [Text("a", after="\n"), Tag("if x"), Text("b", before="\n  ", after="\n"), Tag("endif"), Text("\n")]
    assert assemble(fragments) == "a\n{%- if x -%}\n  b\n{%- endif %}\n"


def test_a_brace_before_an_escaped_character_is_escaped():
    assert assemble([Text("{\r\n{{\r")]) == '{{ "{\\r" }}\n{{ "{{" }}{{ "\\r" }}'


def test_an_indentation_before_a_block_is_output():
    assert assemble([Text("a\n  "), Tag("if x"), Text("b"), Tag("endif")]) == "a\n  {%+ if x %}b{% endif %}"


def test_removed_white_space_next_to_a_gap_is_dropped():
    assert assemble([Text("a", after="\n"), Gap(), Text("b"), Tag("x", "{")]) == "ab{{ x }}"


def test_delimiters_of_jinja_are_escaped():
    assert assemble([Text("${#a} {{ b }} {"), Tag("x", "{")]) == '${{ "{#" }}a} {{ "{{" }} b }} {{ "{" }}{{ x }}'
