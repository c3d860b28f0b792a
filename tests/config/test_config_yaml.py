"""The YAML of lessee.yaml: what is not one plain mapping is told, and nothing makes the reader hang."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lessee.config.grammar import nodes
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError

APP = """
environment: production
apps:
  web:
    directory: /run/secrets/web
    files: [{template: web.env.j2}]
"""


@pytest.fixture(params=[yaml.CSafeLoader, yaml.SafeLoader], autouse=True)
def _loader(request, monkeypatch):
    monkeypatch.setattr(nodes, "_LOADER", request.param)


def told(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, source="lessee.yaml", environ={})
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "lessee.yaml:1: the file is empty"),
        ("# nothing\n", "lessee.yaml:1: the file is empty"),
        ("\n- apps\n", "lessee.yaml:2: expected a mapping, found a list"),
        ("apps", "lessee.yaml:1: expected a mapping, found a text"),
        ("\ufeffapps: {}", "lessee.yaml:1: the file begins with a byte order mark; save it as UTF-8"),
        ("a: b\n---\nc: d\n", "lessee.yaml:2: column 1: this is not YAML: expected a single document"),
        ("apps:\n\tweb: {}\n", "indent with spaces"),
        ("apps:\n  web: [\n", "this is not YAML"),
        ("apps: '\x01'\n", "lessee.yaml:1: YAML has no place for the character U+0001"),
        ("apps:\n  a: \ud800\n", "lessee.yaml:2: YAML has no place for the character U+D800"),
        ("apps: !secret x\n", "lessee.yaml:1: apps: expected a mapping, found a value with a tag of its own"),
        ("[a]: b\n", "a key is a text, found a list"),
        ("x-a: " + "[" * 200_000, "lessee.yaml:1"),
        ("#" * (1 << 20) + "#", "the file is longer than"),
    ],
)
def test_a_file_that_is_no_mapping_is_told(text, expected):
    assert expected in told(text)


@pytest.mark.parametrize(
    "text",
    ["state: *hunter2", "state: @hunter2", "state: 'hunter2' hunter2: x", 'state: "\\hunter2"', "hunter2"],
)
def test_an_error_of_syntax_quotes_nothing_of_the_file(text):
    assert "hunter2" not in told(text)


def test_anchors_and_merges_work_as_in_compose():
    text = """
    x-app: &app
      directory: /run/secrets/unused
      refresh: 5s
      files: &files [{template: web.env.j2}]
    x-slow: &slow {refresh: 9s, owner: "7"}
    environment: production
    apps:
      a: {<<: *app, directory: /run/secrets/a}
      b: {<<: [*slow, *app], directory: /run/secrets/b}
      c: {directory: /run/secrets/c, files: *files}
    """
    apps = parse(text, source="lessee.yaml", environ={}).apps
    assert [(app.directory, app.refresh, app.owner) for app in apps.values()] == [
        ("/run/secrets/a", 5.0, None),
        ("/run/secrets/b", 9.0, (7, None)),
        ("/run/secrets/c", 1.0, None),
    ]


def test_what_is_wrong_in_a_merged_block_is_told_where_it_stands():
    text = f"x-app: &app\n  refresh: fast\n  owner: root\n{APP}    <<: *app\n"
    assert "lessee.yaml:2: apps.web.refresh" in told(text)
    assert "lessee.yaml:3: apps.web.owner" in told(text)


def test_a_merge_of_no_mapping_is_told():
    assert "lessee.yaml:7: apps.web.<<: expected mappings to merge, found a text" in told(f"{APP}    <<: x\n")


def test_a_key_that_stands_twice_is_told_with_both_lines():
    text = f"{APP}    directory: /run/secrets/other\n"
    assert told(text) == "lessee.yaml:7: apps.web.directory: the key stands in line 5 already"


def test_what_is_wrong_below_a_key_that_stands_twice_is_told_too():
    text = f"{APP}    refresh: fast\napps: {{}}\n"
    assert "lessee.yaml:7: apps.web.refresh: expected" in told(text)
    assert "lessee.yaml:8: apps: the key stands in line 3 already" in told(text)


def test_a_block_that_holds_itself_is_told():
    assert "found a list" in told("environment: production\napps: {web: {directory: /d, files: &f [*f]}}")
    assert "apps.a.directory: missing" in told("environment: production\napps: {a: &a {<<: *a}}")


@pytest.mark.timeout(60)
def test_aliases_that_multiply_are_bounded():
    files = ", ".join(["*file"] * 3000)
    apps = "".join(f"  a{n}: {{directory: /d/{n}, files: *files}}\n" for n in range(3000))
    text = f"x-file: &file {{template: a.j2}}\nx-files: &files [{files}]\nenvironment: p\napps:\n{apps}"
    assert "with its aliases the file holds too much" in told(text)


@pytest.mark.timeout(60)
def test_long_texts_that_multiply_are_bounded():
    roles = ", ".join(["*role"] * 40_000)
    text = f"x-role: &role {'a' * 500_000}\nrotation: {{a: {{kind: postgres, roles: [{roles}]}}}}\n"
    assert "with its aliases the file holds too much" in told(text)


@pytest.mark.timeout(60)
def test_merges_that_multiply_are_bounded():
    rows = ["x-0: &b0 {refresh: 5s}", "x-1: &c0 {refresh: 6s}"]
    for n in range(1, 60):
        rows.append(f"x-b{n}: &b{n} {{<<: [*b{n - 1}, *c{n - 1}]}}")
        rows.append(f"x-c{n}: &c{n} {{<<: [*c{n - 1}, *b{n - 1}]}}")
    config = parse("\n".join(rows) + APP + "    <<: *b59\n", source="lessee.yaml", environ={})
    assert config.apps["web"].refresh == 5.0


def reads_or_tells(text):
    try:
        parse(text, source="lessee.yaml", environ={"A": "b"})
    except ConfigError as exc:
        places = [problem.where for problem in exc.problems]
    else:
        return
    assert places
    assert all(place.startswith("lessee.yaml:") for place in places)


JUNK = st.text() | st.text(alphabet="ab01 \n:-[]{}*&<>|!'\"#${},.")
unhurried = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@unhurried
@given(JUNK)
def test_junk_is_told_and_never_a_crash(text):
    reads_or_tells(text)


@unhurried
@given(st.data())
def test_a_damaged_file_is_told_and_never_a_crash(data):
    start = data.draw(st.integers(0, len(APP)))
    end = data.draw(st.integers(start, min(start + 20, len(APP))))
    reads_or_tells(APP[:start] + data.draw(JUNK) + APP[end:])
