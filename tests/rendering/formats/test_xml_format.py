"""The format xml, tested with Python's ElementTree."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import outline, write
from support.inputs.hostile_values import VALUES

FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
KEPT = [value for value in VALUES if not FORBIDDEN.search(value)]
pieces = st.sampled_from(
    [*"<>&'\"\r\n\t ]-é😀\x85\u2028\ufeff", "]]>", "--", "-->", "<!--", "&lt;", "<![CDATA[", "</a>"]
)
hostile = st.sampled_from(KEPT) | st.lists(pieces | st.characters(codec="utf-8"), max_size=8).map("".join).filter(
    lambda text: not FORBIDDEN.search(text)
)
junk = st.lists(
    st.sampled_from(
        [*"x \r\n&;]->'\"", "<a>", "</a>", "<d/>", "<b c='", "<!--", "-->", "<![CDATA[", "]]>", "<?p ", "?>", "&lt;"]
    ),
    max_size=3,
).map("".join)
PLACES = [
    ("<d>", "</d>"),
    ("<b c='", "'/>"),
    ('<b c="', '"/>'),
    ("<!-- ", " -->"),
    ("<![CDATA[", "]]>"),
    ("<?p ", "?>"),
]
places = st.lists(st.sampled_from(PLACES), max_size=3)


def document(*parts):
    """Marked text of strings and of values in lists."""
    placeholders = (
        part if isinstance(part, str) else Placeholder(part[0], "database/postgres: password") for part in parts
    )
    return Document("web.xml.j2", tuple(placeholders))


def shape(element):
    return element.tag, element.attrib, element.text or "", element.tail or "", [shape(child) for child in element]


def parse(text):
    return ET.fromstring(text.encode())  # noqa: S314  # It is ours.


@pytest.mark.no_cover
def test_rejected_values_contain_a_character_that_xml_cannot_represent():
    for value in VALUES:
        if value in KEPT:
            assert parse(write(document("<a>", [value], "</a>"), "xml")).text == (value or None)
        else:
            with pytest.raises(FormatError, match="password contains a character that XML does not allow"):
                write(document("<a>", [value], "</a>"), "xml")


@pytest.mark.no_cover
@given(hostile)
@example("")
@example("]]>")
@example("\r\n")
def test_every_value_reads_back_whole_wherever_text_may_be(text):
    attributes = ("<a b='", [text], "' c=\"'", [text], '\n>" d=">">')
    elements = ("<e>", [text], "</e><f>x&amp;", [text], "<g/>", [text], "]]&gt;</f>")
    section = ("<h><![CDATA[<", [text], "&]]]></h>")
    root = parse(write(document(*attributes, *elements, *section, "</a>"), "xml"))
    assert root.attrib == {"b": text, "c": f"'{text} >", "d": ">"}
    e, f, h = root
    assert (e.text or "", f.text, f[0].tail, h.text) == (text, f"x&{text}", f"{text}]]>", f"<{text}&]")


@pytest.mark.no_cover
@given(st.lists(junk, min_size=4, max_size=4), places, hostile)
@example(["\r", "", "", ""], [], "\n")
@example(["", "]", "", ""], [("<![CDATA[", "]]>")], "]>")
@example(["", "-", "-", ""], [("<!-- ", " -->")], "-")
def test_no_value_changes_the_structure_with_any_text_of_the_author(junks, around, text):
    before = junks[0] + "".join(opening for opening, _ in around) + junks[1]
    after = junks[2] + "".join(closing for _, closing in reversed(around)) + junks[3]
    try:
        written = write(document("<a>", before, [text], after, "</a>"), "xml")
    except FormatError:
        return
    assert shape(parse(written)) == filled(shape(parse(f"<a>{before}harmless{after}</a>")), text)


def filled(part, text):
    match part:
        case str():
            return part.replace("harmless", text)
        case dict():
            return {name: filled(value, text) for name, value in part.items()}
        case _:
            return type(part)(filled(each, text) for each in part)


@given(junk)
def test_a_file_without_values_stays_byte_for_byte_if_it_is_xml(text):
    text = f"<a>{text}</a>"
    try:
        parse(text)
    except ET.ParseError:
        with pytest.raises(FormatError, match=r"^web\.xml\.j2:\d+: the text is not XML: "):
            write(document(text), "xml")
    else:
        assert write(document(text), "xml") == text


def test_values_are_in_the_authors_own_quotes():
    text = write(document("<a b = '", ["'\"\n"], "' c=\"", ["'\""], '">', ["'\"\n\r"], "</a>"), "xml")
    assert text == "<a b = '&#39;&quot;&#10;' c=\"&#39;&quot;\">'\"\n&#13;</a>"


def test_a_section_is_kept_unless_it_cannot_represent_its_value():
    for value, body in (
        ("<&", "<![CDATA[&<&]]>"),
        ("]]>", "&amp;]]&gt;"),
        ("\r", "&amp;&#13;"),
        ("\u2028", "&amp;&#8232;"),
    ):
        assert write(document("<a><![CDATA[&", [value], "]]></a>"), "xml") == f"<a>{body}</a>"
    assert write(document("<a><![CDATA[&]", ["]>"], "]]></a>"), "xml") == "<a>&amp;]]&gt;</a>"


@pytest.mark.parametrize("value", ["--", "a-", "-->", "a--b"])
def test_a_value_that_would_end_its_comment_is_rejected(value):
    with pytest.raises(FormatError, match=r"^web\.xml\.j2:2: .*password would end its comment"):
        write(document("<a>\n<!-- ", [value], "--></a>"), "xml")
    assert write(document("<a><!-- x", ["-\n-&<"], " --></a>"), "xml") == "<a><!-- x-\n-&< --></a>"


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        (("<", ["a"], "/>"), "the name of an element or attribute"),
        (("<a ", ["b"], "='x'/>"), "the name of an element or attribute"),
        (("<a b='x' c", ["d"], "='x'/>"), "the name of an element or attribute"),
        (("<a xmlns='", ["x"], "'/>"), "the name of a namespace"),
        (("<a b='x' xmlns:c = \"y", ["x"], '"/>'), "the name of a namespace"),
        (("<a><?b ", ["x"], "?></a>"), "a declaration or an instruction"),
        (("<!DOCTYPE a SYSTEM '", ["x"], "'><a/>"), "a declaration or an instruction"),
        (("<!DOCTYPE a SYSTEM 'x'><a>&b", ["x"], ";</a>"), "the name of an entity"),
        (("<!DOCTYPE a SYSTEM 'x'><a b='&", ["x"], ";'/>"), "the name of an entity"),
    ],
)
def test_a_value_in_markup_is_rejected(parts, what):
    with pytest.raises(FormatError, match=rf"^web\.xml\.j2:2: database/postgres: password is in {what}; "):
        write(document("\n", *parts), "xml")


def test_a_value_in_an_attribute_that_only_looks_like_a_namespace_is_written():
    assert (
        write(document("<a noxmlns='", ["x"], "' xml:lang='", ["de"], "'/>"), "xml") == "<a noxmlns='x' xml:lang='de'/>"
    )


def test_a_value_in_an_end_tag_is_rejected():
    with pytest.raises(FormatError, match="the text is not XML: mismatched tag"):
        write(document("<a></a", ["b"], ">"), "xml")


@pytest.mark.parametrize("place", ["<a>{}</a>", "<a b='{}'/>", "<a><!--{}--></a>", "<a><![CDATA[{}]]></a>"])
@pytest.mark.parametrize("character", ["\0", "\x08", "\x1b", "\ufffe", "\uffff"])
def test_a_character_that_xml_cannot_represent_is_rejected(place, character):
    before, after = place.split("{}")
    with pytest.raises(FormatError, match=r"^web\.xml\.j2:2: database/postgres: password contains a") as caught:
        write(document("\n", before, [f"canary{character}"], after), "xml")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "<b></a>",
        "<b c='x' c='y'/></a>",
        "&nbsp;</a>",
        "\0</a>",
        "</a><a/>",
        "</a>x",
        "<b c='<'/></a>",
        "]]></a>",
        "&",
        "",
    ],
)
def test_a_template_that_is_not_xml_is_rejected_by_line(text):
    with pytest.raises(FormatError, match=r"^web\.xml\.j2:2: the text is not XML: ") as caught:
        write(document("<a>", ["canary"], "\n", text), "xml")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("value", ["x", "<a/>"])
@pytest.mark.parametrize("parts", [(), ("<a/>",)])
def test_a_value_outside_the_root_is_rejected(parts, value):
    with pytest.raises(FormatError, match="the text is not XML"):
        write(document(*parts, [value]), "xml")


@pytest.mark.parametrize(
    "declarations",
    ["<!ENTITY e 'x'>", "<!ATTLIST a b NMTOKEN 'c'>", "", "%e;<!ENTITY % e SYSTEM 'file:///etc/passwd'>"],
)
def test_a_doctype_with_declarations_is_rejected(declarations):
    with pytest.raises(FormatError, match=r"^web\.xml\.j2:2: the DOCTYPE contains declarations"):
        write(document("\n<!DOCTYPE a [", declarations, "]><a b='", ["x"], "'/>"), "xml")


def test_a_doctype_that_names_another_file_is_kept():
    head = '<!DOCTYPE a PUBLIC "-//x//y" "http://z/a>b.dtd">'
    assert write(document(head, "<a>", ["<"], "</a>"), "xml") == f"{head}<a>&lt;</a>"


@pytest.mark.parametrize(
    "declared", ["version='1.1'", "version='1.0' encoding='ISO-8859-1'", "version='1.0' encoding='x'"]
)
def test_another_xml_version_or_encoding_is_rejected(declared):
    with pytest.raises(FormatError, match=r"^web\.xml\.j2:1: the text is declared as another version or encoding; "):
        write(document(f"<?xml {declared}?><a/>"), "xml")


def test_a_byte_order_mark_of_the_author_is_kept():
    assert (
        write(document("\ufeff<?xml version='1.0'?><a>", ["é"], "</a>"), "xml") == "\ufeff<?xml version='1.0'?><a>é</a>"
    )


def test_a_value_that_a_carriage_return_of_the_author_would_swallow_is_rejected():
    with pytest.raises(FormatError, match=r"^web\.xml\.j2: the file would parse back to different"):
        write(document("<a>\r", ["\n"], "</a>"), "xml")


def test_the_outline_of_xml_has_the_paths_of_elements_and_attributes():
    text = "<?p?><a b='1' c='2'>x<d><e f='3'/></d><!-- g --><d>y</d></a>"
    assert outline(text, "xml") == ("a", "a@b", "a@c", "a/d", "a/d/e", "a/d/e@f", "a/d")


def test_the_outline_of_text_that_is_not_xml_is_rejected_without_a_snippet():
    for text in ("<a>canary", "<!DOCTYPE a [<!ENTITY e 'canary'>]><a>&e;</a>"):
        with pytest.raises(FormatError, match=r"^the text is not XML; ") as caught:
            outline(text, "xml")
        assert "canary" not in str(caught.value)


def test_a_text_in_several_parts_is_one_text():
    long = "a&\n" * 60_000
    assert write(document("<a>", [long], "</a>"), "xml") == f"<a>{long.replace('&', '&amp;')}</a>"
