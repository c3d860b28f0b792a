"""What becomes of a client's file: its servers are wrapped, the rest keeps its place, and what is left is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.errors import ConfigError
from lessee.ops.mcp.policy.diff import diff, traces
from lessee.ops.mcp.policy.editor import Start, edited
from lessee.ops.mcp.policy.jsonc import parse
from lessee.ops.mcp.policy.plan import plan
from lessee.ops.mcp.policy.secret_detection import Judge
from lessee.ops.mcp.policy.servers import servers

START = Start(("/bin/lessee",), ("--once", "--config", "/c"), "SERVER")
JUDGE = Judge()
DONE = '"exec", "--once", "--config", "/c", "--app"'


def planned(text, *, is_free=lambda _app, _template: True, variable="SERVER"):
    document = parse(text, "f")
    some = servers(document, "f")
    return document, plan(document, "f", some, JUDGE, prefix="mcp/", variable=variable, is_free=is_free)


def wrapped(text, start=START):
    document, made = planned(text)
    return edited(document, made.wrapped, start), made


def of_one(server, **settings):
    return planned(json.dumps({"mcpServers": {"a": server}}), **settings)[1]


def left(made):
    return [f"{one}" for one in made.left]


FORMATTED = """\
{
    // of mine
    "servers": {
        "a": {
            "type": "stdio",
            "args": [
                "-x" // why
            ],
            "command": "x",  /* kept */
            "env": {
                "LOG": "info", // kept
                "A_KEY": "canary-1",

                // kept too
                "B_KEY": "canary-2", "C_KEY": "canary-3"
            },
        },
        "b": { "command": "y", "env": { "LOG": "1", "A_KEY": "canary-4", "B_KEY": "canary-5" } }
    }
}
"""
REWRITTEN = """\
{
    // of mine
    "servers": {
        "a": {
            "type": "stdio",
            "args": [
                "exec",
                "--once",
                "--config",
                "/c",
                "--app",
                "a",
                "--",
                "x",
                "-x"
            ],
            "command": "/bin/lessee",  /* kept */
            "env": {
                "LOG": "info", // kept
                "SERVER": "a"

                // kept too
            },
        },
        "b": { "command": "/bin/lessee", "args": [@, "b", "--", "y"], "env": { "LOG": "1", "SERVER": "b" } }
    }
}
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_does_not_change_keeps_its_place_and_its_form(end):
    text, made = wrapped(FORMATTED.replace("\n", end))
    rewritten = parse(text, "f")
    assert [one.app for one in made.wrapped] == ["a", "b"]
    wanted = parse(REWRITTEN.replace("@", DONE), "f")
    assert json.loads(without_comments(rewritten)) == json.loads(without_comments(wanted))
    for kept in ("// of mine", "/* kept */", '"LOG": "info", // kept', "// kept too"):
        assert kept in text
    assert "canary" not in text
    assert text.count("\n") == text.count(end)


def without_comments(document):
    text = document.text
    for start, end in reversed(document.comments):
        text = text[:start] + text[end:]
    return text.replace(",\n        }", "\n        }").replace(",\r\n        }", "\r\n        }")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"command": "x", "env": {"A_KEY": "c"}}', '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a"}}'),
        (
            '{"command": "x", "args": [], "env": {"A_KEY": "c",}}',
            '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a",}}',
        ),
        (
            '{"command": "x", "args": ["--key", "c"], "env": {}}',
            '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a"}}',
        ),
        (
            '{"command": "x", "args": ["--key", "c"], "env": {"LOG": "1"}}',
            '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a", "LOG": "1"}}',
        ),
        (
            '{"command": "x", "args": ["--key", "c"], "env": {\n"LOG": "1"}}',
            '{"command": "/bin/lessee", "args": [@], "env": {\n"SERVER": "a",\n"LOG": "1"}}',
        ),
        (
            '{\n "command": "x", "args": ["--key", "c"]}',
            '{\n "command": "/bin/lessee",\n "env": {"SERVER": "a"}, "args": [@]}',
        ),
        (
            '{"command": "x", "env": {"A_KEY": "c", "B": "1", "C_KEY": "c"}}',
            '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a", "B": "1"}}',
        ),
        (
            '{"command": "x", "env": {"A_KEY": "c",\n  "C_KEY": "c", // d\n  "B": "1"}}',
            '{"command": "/bin/lessee", "args": [@], "env": {"SERVER": "a",\n  // d\n  "B": "1"}}',
        ),
        (
            '{"command": "x", "args": [\n  "-y"], "env": {"A_KEY": "c"}}',
            '{"command": "/bin/lessee", "args": @@, "env": {"SERVER": "a"}}',
        ),
    ],
)
def test_every_form_of_a_server_is_rewritten_in_its_form(before, after):
    text, made = wrapped(f'{{"mcpServers": {{"a": {before}}}}}')
    [one] = made.wrapped
    words = ["exec", "--once", "--config", "/c", "--app", "a", "--", *one.program.words]
    after = after.replace("@@", "[\n" + ",\n".join(f"  {json.dumps(word)}" for word in words) + "\n  ]")
    after = after.replace("[@]", json.dumps(words))
    assert text == f'{{"mcpServers": {{"a": {after}}}}}'


NAMES = st.sampled_from(["LOG", "A_KEY", "B_TOKEN", "PATH", "C_SECRET", "D"])


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.fixed_dictionaries(
            {"command": st.just("x")},
            optional={
                "args": st.lists(st.sampled_from(["-y", "--api-key=canary-0", "é"]), max_size=3),
                "env": st.dictionaries(NAMES, st.sampled_from(["canary-1", "canary-2"]), max_size=6),
                "type": st.just("stdio"),
            },
        ),
    ),
    st.sampled_from([None, 0, 3]),
)
def test_whatever_the_servers_are_they_say_the_same_but_their_secrets(some, indent):
    text, made = wrapped(json.dumps({"mcpServers": some, "rest": [1]}, indent=indent))
    after = json.loads(text)
    assert after["rest"] == [1]
    for one in made.wrapped:
        new, old = after["mcpServers"].pop(one.server.name), some.pop(one.server.name)
        assert new["command"] == "/bin/lessee"
        assert new["args"][6:] == [*(["--"]), *one.program.words]
        env = old.get("env", {})
        assert new["env"] == {"SERVER": one.app} | {name: env[name] for name in env if name not in one.fields}
        assert {name: env[name] for name in one.removed} == {name: one.fields[name] for name in one.removed}
    assert after["mcpServers"] == some
    assert wrapped(text)[0] == text


def test_the_template_gives_what_was_taken_out():
    env = {"A_KEY": "canary-1", "b_key": "canary-2", "VAULT_ADDR": "http://v", "LOG": "x", "N": 1}
    [one] = of_one({"command": "x", "args": [], "env": env}).wrapped
    assert one.fields == {"A_KEY": "canary-1", "b_key": "canary-2", "VAULT_ADDR": "http://v"}
    assert one.template == (
        "# The environment of the MCP server a.\n"
        'A_KEY={{ secret("mcp/a").A_KEY }}\n'
        'VAULT_ADDR={{ secret("mcp/a").VAULT_ADDR }}\n'
        'b_key={{ secret("mcp/a")["b_key"] }}\n'
    )
    assert "canary" not in repr(one)


def test_servers_of_one_name_share_an_app_where_they_are_the_same_alone():
    def project(value):
        return {"mcpServers": {"a/b": {"command": "x", "env": {"A_KEY": value}}}}

    text = json.dumps({"projects": {"/1": project("c"), "/2": project("c"), "/3": project("d"), "/4": 1, "/5": {}}})
    _, made = planned(text)
    assert [one.app for one in made.wrapped] == ["a-b", "a-b", "a-b-2"]
    assert made.wrapped[0].server.place == "projects['/1'].mcpServers.a/b"
    _, made = planned(text, is_free=lambda app, _: app not in {"a-b", "a-b-2"})
    assert [one.app for one in made.wrapped] == ["a-b-3", "a-b-3", "a-b-4"]


def test_what_stands_in_a_name_reaches_no_terminal():
    text = json.dumps({"mcpServers": {"\x1b[2J": {"command": "x", "env": {"A\x1b_KEY": "c"}, "args": ["\ud800"]}}})
    _, made = planned(text)
    assert left(made) == ["f:1: mcpServers.?[2J: A?_KEY is no name of a variable; mend it"]


def test_half_a_surrogate_pair_in_an_argument_stays_what_it_was():
    server = {"command": "x", "args": ["\ud800", "é"], "env": {"A_KEY": "c"}}
    text, _ = wrapped(json.dumps({"mcpServers": {"a": server}}))
    assert json.loads(text)["mcpServers"]["a"]["args"][-2:] == ["\ud800", "é"]
    assert text.encode()


def test_a_name_without_a_letter_is_a_server_too():
    [one] = planned('{"mcp": {"servers": {"{é}": {"command": "x", "env": {"A_KEY": "c"}}}}}')[1].wrapped
    assert (one.app, one.server.place) == ("server", "mcp.servers.{é}")
    assert one.template.startswith("# The environment of the MCP server ?é?.\n")


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ({"command": "x", "args": ["-y"], "env": {"LOG": "x", "A_KEY": "${A}"}}, "holds no secret"),
        ({"command": "/usr/bin/lessee", "args": ["exec", "--", "x"]}, "wrapped already"),
        ({"command": "python3", "args": ["-m", "lessee", "exec", "--", "x"]}, "wrapped already"),
        ({"type": "http", "url": "https://h", "headers": {"A-Key": "${A}"}}, "reached by HTTP"),
        ({"command": ""}, "nothing that a client starts"),
        ({"command": "x", "env": None}, "nothing that a client starts"),
        ({"command": "x", "args": "y"}, "nothing that a client starts"),
        ({"command": "x", "args": [1]}, "nothing that a client starts"),
        ({}, "nothing that a client starts"),
    ],
)
def test_where_nothing_is_to_be_done_it_says_why(server, why):
    made = of_one(server)
    assert (made.wrapped, made.left) == ((), ())
    assert [(one.name, told) for one, told in made.quiet] == [("a", why)]


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (
            {"url": "https://h", "headers": {"Authorization": "Bearer canary"}},
            "a secret stands in Authorization; write",
        ),
        ({"httpUrl": "https://h?token=canary"}, "a secret stands in httpUrl; write"),
        ({"url": "https://h", "oauth": {"clientSecret": "canary"}}, "a secret stands in clientSecret; write"),
        ({"command": "x", "headers": [{"A-Key": "canary"}]}, "a secret stands in A-Key; move it by hand"),
        ({"command": "lessee", "args": ["exec"], "env": {"A_KEY": "c"}}, "a secret stands in A_KEY; write it into"),
        ({"command": "lessee", "args": ["exec", "--k-token=c"]}, "a secret stands in args; write it into"),
        ({"command": "x", "env": {"A_KEY": "canary-${X}"}}, "A_KEY mixes a secret"),
        ({"command": "x", "env": {"A_KEY": "canary\0"}}, "A_KEY holds what no environment can"),
        ({"command": "x", "env": {"A-KEY": "canary"}}, "A-KEY is no name of a variable"),
        ({"command": "x", "args": ["--key", "canary\ud800"]}, "a secret in an argument holds what no environment can"),
        ({"command": "bash", "args": ["-c", "A_KEY=canary x"]}, "a secret stands in the script of a shell"),
        ({"command": "x", "env": {"A_KEY": "c", "SERVER": "x"}}, "it has a variable SERVER of its own"),
    ],
)
def test_what_is_left_to_a_person_is_told_with_its_place_and_without_its_value(server, told):
    made = of_one(server)
    assert (made.wrapped, made.quiet) == ((), ())
    [said] = left(made)
    assert said.startswith(f"f:1: mcpServers.a: {told}")
    assert "canary" not in said


def test_a_variable_of_lessees_own_goes_into_the_template():
    made = of_one({"command": "x", "env": {"A_KEY": "c", "LESSEE_SERVER": "x"}}, variable="LESSEE_SERVER")
    assert made.wrapped[0].removed == {"A_KEY", "LESSEE_SERVER"}


def test_inputs_and_comments_are_looked_at_as_well():
    text = """{"servers": {}, "inputs": [{"id": "k", "default": "Bearer canary-1234", "description": "a"}],
    // "A_KEY":"canary-1",
    /* the token: see the wiki */
    }"""
    told = [
        "f:1: inputs: the default of an input is a secret; take it out",
        "f:2: a secret stands in a comment; take it out",
    ]
    assert left(planned(text)[1]) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "f: there is neither `mcpServers` nor `servers` in it; name an mcp.json"),
        ('{"mcp": {}, "projects": 1}', "f: there is neither"),
        ('{"mcpServers": 1}', "f:1: mcpServers: expected an object"),
        ('{"mcpServers": {"a": 1}}', "f:1: mcpServers.a: expected an object"),
    ],
)
def test_a_file_of_something_else_is_none(text, told):
    with pytest.raises(ConfigError) as caught:
        servers(parse(text, "f"), "f")
    assert str(caught.value).startswith(told)


def test_a_person_sees_what_changes_and_no_value():
    server = {
        "type": "stdio",
        "command": "x",
        "args": ["-y", "--key", "canary-1", "https://u:canary-2@h"],
        "env": {"A_KEY": "canary-3", "LOG": "canary-4"},
        "more": [{"x": "canary-5"}, 5],
    }
    text = json.dumps({"mcpServers": {"a": server, "b": {"command": "x --token=canary-6", "args": [1]}}})
    document, made = planned(text)
    after = parse(edited(document, made.wrapped, START), "f")
    shown = list(diff(servers(document, "f"), servers(after, "f"), JUDGE))
    assert "canary" not in "".join(shown)
    assert '-  "command": "x",' in shown
    assert '-    "A_KEY": "***",' in shown
    assert not [line for line in shown if "mcpServers.b" in line]
    assert traces(after, ["canary-3", "canary-1"]) == ()
    assert traces(document, ["canary-3"]) == (1,)
