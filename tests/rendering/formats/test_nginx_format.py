"""The format nginx, tested with lessee's own parser, which tests/readers compares with nginx."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lessee.core.errors import FormatError
from lessee.rendering.document import Document, Placeholder
from lessee.rendering.formats import nginx, nginx_directives, outline, write
from support.inputs.hostile_values import VALUES

hostile = st.sampled_from(
    [value for value in VALUES if not re.search(r"[\x00-\x1f\x7f$]", value) and len(value) < 1000]
)
junk = st.lists(
    st.sampled_from([*"ab \"'\\$;{}#\n)", "a b; ", "a {", "$a", "${a}", "~", "hostnames;", "default "]), max_size=3
).map("".join)
PLACES = [
    *[
        ("a ", ";"),
        ("'", "' ;"),
        ('"', '" ;'),
        ("# ", "\n"),
        ("http { ", " }"),
        ("server_name ", ";"),
        ("if ($a = ", ") { }"),
    ],
    *[("location ", " { }"), ("map $a $b { ", " 1; }"), ("geo $a { default ", "; }"), ("a_by_lua_block { ", "}")],
]
places = st.lists(st.sampled_from(PLACES), max_size=3)


def document(*parts):
    """Marked text of strings and of values in lists."""
    placeholders = (part if isinstance(part, str) else Placeholder(part[0], "api/openrouter: key") for part in parts)
    return Document("nginx.conf.j2", tuple(placeholders))


def words(text):
    """The directives as lists of words, each with the number of its block and whether it opens one."""
    return [
        (directive.block, directive.opens, *(word.text for word in directive.words))
        for directive in nginx_directives.read(text)
    ]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("proxy_set_header X ", ["a b"], ";"), 'proxy_set_header X "a b";'),
        (("proxy_set_header X 'Bearer ", ['"x"'], "';"), r'proxy_set_header X "Bearer \"x\"";'),
        (("proxy_set_header X \"it's ", ["'\\"], '";'), r"""proxy_set_header X "it's '\\";"""),
        (("return 301 $scheme://", ["h"], "/$uri ;"), 'return 301 "$scheme://h/$uri" ;'),
        (("root \\;\\n", ["h"], ";"), 'root "\\\\;\n' + 'h";'),
        (("include ", ["/etc/*.conf"], ";"), 'include "/etc/*.conf";'),
        (("server ", ["h"], ":", [80], " weight=", [2], ";"), 'server "h:80" "weight=2";'),
        (("if ($a = ", ["x"], "){}"), 'if ($a = "x"){}'),
        (("if (!-f ", ["x"], " ) { }"), 'if (!-f "x" ) { }'),
        (("a b; # ", ["$x é; }"], "\n"), "a b; # $x é; }\n"),
        (("a b; # ", ["x"]), "a b; # x"),
        (("geo $a { default ", ["$x"], "; }"), 'geo $a { default "$x"; }'),
        (("secure_link_secret ", ["$x"], ";"), 'secure_link_secret "$x";'),
        (("rewrite ^/(.)$ /x$1", ["y"], ";"), 'rewrite ^/(.)$ "/x$1y";'),
        (("a ${b}", ["y"], ";"), 'a "${b}y";'),
    ],
)
def test_a_value_becomes_a_part_of_one_quoted_word(parts, text):
    assert write(document(*parts), "nginx") == text


@given(st.lists(junk, min_size=4, max_size=4), places, hostile)
@example(["", "", "", ""], [("map $a $b { ", " 1; }")], "~x")
@example(["", "\\", "", ""], [("map $a $b { ", " 1; }")], "default")
def test_no_value_changes_the_structure_with_any_text_of_the_author(junks, around, value):
    before = junks[0] + "".join(opening for opening, _ in around) + junks[1]
    after = junks[2] + "".join(closing for _, closing in reversed(around)) + junks[3]
    try:
        text = write(document(before, [value], after), "nginx")
    except FormatError:
        return
    wanted = words(f"{before}harmless{after}")
    found = words(text)
    assert [directive[:2] for directive in found] == [directive[:2] for directive in wanted]
    for had, harmless in zip(found, wanted, strict=True):
        assert [word.removeprefix("\\") for word in had[2:]] == [
            word.replace("harmless", value).removeprefix("\\") for word in harmless[2:]
        ]


@given(junk)
def test_a_file_without_values_stays_byte_for_byte_if_nginx_can_read_it(text):
    try:
        words(text)
    except nginx_directives.UnparsableError:
        with pytest.raises(FormatError, match=r"^nginx\.conf\.j2:\d+: the text is not nginx configuration: "):
            write(document(text), "nginx")
    else:
        assert write(document(text), "nginx") == text


@pytest.mark.parametrize(("before", "after"), [("a 'b\t", "';"), ("# ", "\n"), ("geo $a { default ", "; }")])
@pytest.mark.parametrize("character", ["\0", "\t", "\n", "\r", "\x1b", "\x7f"])
def test_a_control_character_is_rejected(before, after, character):
    with pytest.raises(FormatError, match=r"^nginx\.conf\.j2:2: api/openrouter: key contains a control") as caught:
        write(document("\n", before, [f"canary{character}"], after), "nginx")
    assert "canary" not in str(caught.value)


def test_a_line_break_for_other_readers_is_rejected_in_a_comment():
    with pytest.raises(FormatError, match="has several lines but is in a comment"):
        write(document("# ", ["a\x85b"]), "nginx")


def test_a_dollar_is_rejected_where_nginx_would_read_a_variable():
    for before, after in (("return 200 ", ";"), ("map $a $b { default ", "; }"), ("geo $a { ", " x; }")):
        with pytest.raises(FormatError, match=r"contains a \$.*; define geo \$name \{ default") as caught:
            write(document(before, ["canary$host"], after), "nginx")
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("before", ["$scheme", "a$", "'${", "x ${sche", "$1 $_a0", "${1"])
def test_a_value_that_would_extend_the_name_of_a_variable_is_rejected(before):
    with pytest.raises(
        FormatError, match=r"^nginx\.conf\.j2:1: api/openrouter: key would extend the name of a variable"
    ):
        write(document("return 200 ", before, ["x"], "}';" if "'" in before else ";"), "nginx")


@pytest.mark.parametrize(
    "parts",
    [
        (["x"], " 1;"),
        ("http { ", ["x"], " { } }"),
        ("map $a $b { ", ["hostnames"], "; }"),
        ("a; 'b", ["x"], "';"),
    ],
)
def test_a_value_cannot_be_the_name_of_a_directive(parts):
    with pytest.raises(FormatError, match="is the name of a directive"):
        write(document(*parts), "nginx")


@pytest.mark.parametrize(
    "parts",
    [
        ("content_by_lua_block { x = '", ["x"], "' }"),
        ("set_by_lua_block $a { -- ", ["x"], "\n }"),
        ("access_by_lua 'x = ", ["x"], "';"),
        ("perl 'sub { ", ["x"], " }';"),
        ("perl_set $a '", ["x"], "';"),
    ],
)
def test_a_value_in_code_is_rejected(parts):
    with pytest.raises(FormatError, match="is in code"):
        write(document(*parts), "nginx")


@pytest.mark.parametrize(
    "lua",
    [
        "x",
        'a = {} b = \'}\' c = "}\\""',
        "-- }\n",
        "--[[ } ]]",
        "[=[ ]] } ]=]",
        "x = {{1}, {2}}",
        "'{\n'}",
        "]] --[=[}]=]",
    ],
)
def test_a_lua_block_ends_at_its_lua_end(lua):
    text = f"a {{ content_by_lua_block {{{lua}}} b c; }}"
    assert words(text) == [(-1, True, "a"), (0, True, "content_by_lua_block", lua), (0, False, "b", "c")]
    assert write(document(text[:-4], ["d"], "; }"), "nginx") == f'{text[:-4]}"d"; }}'


@pytest.mark.parametrize(
    "parts",
    [
        ("rewrite ^/", ["x"], " /y;"),
        ("location ~ ", ["x"], " { }"),
        ("location ~* '\\.", ["x"], "' { }"),
        ("location ~", ["x"], " { }"),
        ("server_name a ~^", ["x"], ";"),
        ("proxy_cookie_path ~", ["x"], " /;"),
        ("map $a $b { ~*", ["x"], " 1; }"),
        ("fastcgi_split_path_info ", ["x"], ";"),
        ("gzip_disable a ", ["x"], ";"),
    ],
)
def test_a_value_in_a_regular_expression_is_rejected(parts):
    with pytest.raises(FormatError, match="is in a regular expression"):
        write(document(*parts), "nginx")


@pytest.mark.parametrize(
    "parts",
    [
        ("if (", ["x"], ") { }"),
        ("if ($a ", ["="], " x) { }"),
        ("if ($a ~ ", ["x"], ") { }"),
        ("if ($a = ", ["x"], " { }"),
        ("if ($a = '", ["x"], ")' { }"),
        ("if ($a = x)", ["x"], " { }"),
        ("if ", ["x"], "{ }"),
    ],
)
def test_a_value_in_a_condition_follows_its_operator(parts):
    with pytest.raises(FormatError, match="is in a condition but not compared with a variable"):
        write(document(*parts), "nginx")


@pytest.mark.parametrize(
    ("before", "value"),
    [
        ("location ", "~ .*"),
        ("location ", "=/"),
        ("location ", "^~/"),
        ("location ", "@name"),
        ("server_name a ", "~."),
        ("server_name ", ".example.org"),
        ("server_name a", ".*"),
        ("server_name *.", "*"),
        ("valid_referers ", "none"),
        ("valid_referers ", "*.org"),
        ("proxy_redirect ", "off"),
        ("proxy_cookie_domain ", "~."),
        ("allow ", "all"),
        ("auth_basic ", "off"),
        ("auth_basic o", "ff"),
        ("access_log ", "syslog:server=h"),
        ("error_log ", "memory:1m"),
        ("error_page 404 ", "=200"),
        ("try_files $uri ", "@name"),
        ("log_format a ", "escape=none"),
        ("ssl_certificate_key ", "engine:x:y"),
        ("proxy_ssl_certificate ", "data:x"),
        ("geo $a { ", "default"),
        ("geo $a { ", "include"),
        ("types { ", "include"),
        ("split_clients $a $b { ", "*"),
        ("map $a $b { hostnames; ", "*.example.org"),
        ("map $a $b { hostnames; ", ".example.org"),
        ("map $a $b { hostnames; \\", ".example.org"),
        ("map $a $b { hostnames; \\", "*.example.org"),
    ],
)
def test_a_value_that_nginx_would_read_as_more_than_text_is_rejected(before, value):
    after = " 1;\n}" if "{" in before else " ;"
    with pytest.raises(FormatError, match="is not literal text in this position") as caught:
        write(document(before, [value], after), "nginx")
    assert value not in str(caught.value)
    assert write(document(before, ["harmless"], after), "nginx")


@pytest.mark.parametrize(
    ("before", "value"),
    [
        ("server_name ", "a~."),
        ("server_name *.", "org"),
        ("auth_basic ", "offer"),
        ("auth_basic O", "ff"),
        ("ssl_certificate data:", "x"),
        ("proxy_set_header ", "~*"),
        ("error_page ", "404"),
        ("geo $a { include ", "*"),
    ],
)
def test_a_value_that_is_text_to_nginx_is_written(before, value):
    after = ";}" if "{" in before else ";"
    assert words(write(document(before, [value], after), "nginx"))[-1][-1] == before.rpartition(" ")[2] + value


@pytest.mark.no_cover
@pytest.mark.parametrize("key", ["default", "include", "~", "~*a", "\\", "\\a", "proxy"])
def test_a_special_key_of_map_gets_a_backslash(key):
    text = write(document("map $a $b { default 0; ", [key], " 1; \\", [f"{key}2"], " 2; }"), "nginx")
    assert [directive[2] for directive in words(text)[2:]] == [f"\\{key}", f"\\{key}2"]


def test_other_keys_of_map_are_written_unchanged():
    text = write(document("map $a $b { ", ["*.a"], " 1; ", [""], " 2; ~(?<x>.) ", ["~"], "; }"), "nginx")
    assert text == 'map $a $b { "*.a" 1; "" 2; ~(?<x>.) "~"; }'


@pytest.mark.parametrize("block", ["map $a $b", "geo $a"])
def test_a_duplicate_key_is_rejected(block):
    with pytest.raises(FormatError, match="duplicates a key of its block"):
        write(document(block, " { ABC 1;\n", ["abc"], " 2; }"), "nginx")


@pytest.mark.parametrize("between", ["} map $a $c { ", ""])
def test_a_key_may_be_in_two_blocks_and_the_authors_own_twice(between):
    key = "a" if between else "c"
    assert write(document("map $a $b { b 1; ", ["a"], " 1; ", between, [key], " 1; b 2; }"), "nginx")


def test_parts_of_clients_may_be_the_same():
    assert write(document("split_clients $a $b { ", ["1%"], " 1; ", ["1%"], " 2; }"), "nginx")


def test_a_word_or_comment_that_is_too_long_for_nginx_is_rejected():
    with pytest.raises(FormatError, match=r":2: api/openrouter: key makes a word longer than nginx's limit"):
        write(document("\na ", ["é" * 2047], ";"), "nginx")
    with pytest.raises(FormatError, match=r":2: .*a word or a comment exceeds nginx's limit of 4 KB"):
        write(document("\n# ", ["a" * 4094], "\n"), "nginx")
    with pytest.raises(FormatError, match=r":2: .*a word or a comment exceeds nginx's limit of 4 KB"):
        write(document("\na ", "a" * 4096, ";"), "nginx")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\na {\nb 'c;\n}", 3),
        ("\na;\n}", 3),
        ("\na;\n;", 3),
        ("\na\n}", 3),
        ("\n{ }", 2),
        ("\na\n{", 3),
        ("\na", 2),
        ("\na 'b'c;", 2),
        ("\nmap $a $b {\na b { } }", 3),
        ("\na_by_lua_block { '}' ", 2),
        ("\na_by_lua_block { [[ } ", 2),
    ],
)
def test_a_template_that_is_not_nginx_configuration_is_rejected_by_line(text, line):
    with pytest.raises(FormatError, match=rf"^nginx\.conf\.j2:{line}: the text is not nginx configuration: ") as caught:
        write(document("# ", ["canary"], " ", text), "nginx")
    assert "canary" not in str(caught.value)


def test_verification_rejects_a_value_that_reads_back_differently():
    marked = nginx.mark_values(document("a b;"))
    with pytest.raises(FormatError, match="would parse back to different"):
        nginx._verify("a c;", words("a b;"), marked)


def test_the_outline_of_nginx_names_directives_without_their_arguments():
    text = "http { map $a $b { secret 1; default 0; } geo $c { 10.0.0.0/8 x; } server { location /x { a b; } } }\nc;"
    assert outline(text, "nginx") == (
        "http",
        "http.map",
        "http.map[0]",
        "http.map[1]",
        "http.geo",
        "http.geo[0]",
        "http.server",
        "http.server.location",
        "http.server.location.a",
        "c",
    )
    assert outline("", "nginx") == ()


def test_the_outline_of_text_that_is_not_nginx_configuration_is_rejected_without_a_snippet():
    with pytest.raises(FormatError, match=r"^the text is not nginx configuration; ") as caught:
        outline("a 'canary;", "nginx")
    assert "canary" not in str(caught.value)
