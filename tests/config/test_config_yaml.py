"""The YAML of lessee.yaml: anything but one mapping is an error, and no file makes the reader hang."""

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


def error(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, source="lessee.yaml", environ={})
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "lessee.yaml:1: the file is empty"),
        ("# nothing\n", "lessee.yaml:1: the file is empty"),
        ("\n- apps\n", "lessee.yaml:2: expected a mapping, found a list"),
        ("apps", "lessee.yaml:1: expected a mapping, found a string"),
        ("\ufeffapps: {}", "lessee.yaml:1: the file begins with a byte order mark; save it as UTF-8"),
        ("a: b\n---\nc: d\n", "lessee.yaml:2: column 1: invalid YAML: expected a single document"),
        ("apps:\n\tweb: {}\n", "indent with spaces"),
        ("apps:\n  web: [\n", "invalid YAML"),
        (
            "apps: '\x01'\n",
            "lessee.yaml:1: YAML does not allow the character U+0001; remove it, or escape it in double quotes",
        ),
        ("apps:\n  a: \ud800\n", "lessee.yaml:2: YAML does not allow the character U+D800"),
        ("apps: !secret x\n", "lessee.yaml:1: apps: expected a mapping, found a value with a custom tag"),
        ("[a]: b\n", "expected a string as key, found a list"),
        ("x-a: " + "[" * 200_000, "lessee.yaml:1"),
        ("#" * (1 << 20) + "#", "the file is longer than"),
    ],
)
def test_a_file_without_a_single_mapping_is_rejected(text, expected):
    assert expected in error(text)


@pytest.mark.parametrize(
    "text",
    [
        "state_dir: *hunter2",
        "state_dir: @hunter2",
        "state_dir: 'hunter2' hunter2: x",
        'state_dir: "\\hunter2"',
        "hunter2",
    ],
)
def test_a_syntax_error_quotes_nothing_of_the_file(text):
    assert "hunter2" not in error(text)


def test_anchors_and_merges_work_as_in_compose():
    text = """
    x-app: &app
      directory: /run/secrets/unused
      refresh_interval: 5s
      files: &files [{template: web.env.j2}]
    x-slow: &slow {refresh_interval: 9s, owner: "7"}
    environment: production
    apps:
      a: {<<: *app, directory: /run/secrets/a}
      b: {<<: [*slow, *app], directory: /run/secrets/b}
      c: {directory: /run/secrets/c, files: *files}
    """
    apps = parse(text, source="lessee.yaml", environ={}).apps
    assert [(app.directory, app.refresh_interval, app.owner) for app in apps.values()] == [
        ("/run/secrets/a", 5.0, None),
        ("/run/secrets/b", 9.0, (7, None)),
        ("/run/secrets/c", 1.0, None),
    ]


def test_a_problem_in_a_merged_block_has_the_line_of_the_block():
    text = f"x-app: &app\n  refresh_interval: fast\n  owner: ro ot\n{APP}    <<: *app\n"
    assert "lessee.yaml:2: apps.web.refresh_interval" in error(text)
    assert "lessee.yaml:3: apps.web.owner" in error(text)


def test_only_mappings_can_be_merged():
    assert "lessee.yaml:7: apps.web.<<: expected mappings to merge, found a string" in error(f"{APP}    <<: x\n")


def test_a_duplicate_key_is_reported_with_both_lines():
    text = f"{APP}    directory: /run/secrets/other\n"
    assert error(text) == "lessee.yaml:7: apps.web.directory: duplicate key; the first is in line 5"


def test_problems_below_a_duplicate_key_are_reported_too():
    text = f"{APP}    refresh_interval: fast\napps: {{}}\n"
    assert "lessee.yaml:7: apps.web.refresh_interval: expected" in error(text)
    assert "lessee.yaml:8: apps: duplicate key; the first is in line 3" in error(text)


def test_a_block_that_contains_itself_is_rejected():
    assert "found a list" in error("environment: production\napps: {web: {directory: /d, files: &f [*f]}}")
    assert "apps.a.directory: missing" in error("environment: production\napps: {a: &a {<<: *a}}")


@pytest.mark.long
@pytest.mark.timeout(60)
def test_aliases_that_multiply_are_bounded():
    files = ", ".join(["*file"] * 3000)
    apps = "".join(f"  a{n}: {{directory: /d/{n}, files: *files}}\n" for n in range(3000))
    text = f"x-file: &file {{template: a.j2}}\nx-files: &files [{files}]\nenvironment: p\napps:\n{apps}"
    assert "the file expands to too many values; use fewer YAML aliases" in error(text)


@pytest.mark.long
@pytest.mark.timeout(60)
def test_long_texts_that_multiply_are_bounded():
    roles = ", ".join(["*role"] * 40_000)
    text = f"x-role: &role {'a' * 500_000}\nrotation: {{a: {{kind: postgres, roles: [{roles}]}}}}\n"
    assert "the file expands to too many values; use fewer YAML aliases" in error(text)


@pytest.mark.timeout(60)
def test_merges_that_multiply_are_bounded():
    rows = ["x-0: &b0 {refresh_interval: 5s}", "x-1: &c0 {refresh_interval: 6s}"]
    for n in range(1, 60):
        rows.append(f"x-b{n}: &b{n} {{<<: [*b{n - 1}, *c{n - 1}]}}")
        rows.append(f"x-c{n}: &c{n} {{<<: [*c{n - 1}, *b{n - 1}]}}")
    config = parse("\n".join(rows) + APP + "    <<: *b59\n", source="lessee.yaml", environ={})
    assert config.apps["web"].refresh_interval == 5.0


def parse_or_report(text):
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


@pytest.mark.no_cover
@unhurried
@given(JUNK)
def test_junk_is_an_error_and_never_a_crash(text):
    parse_or_report(text)


@pytest.mark.no_cover
@unhurried
@given(st.data())
def test_a_damaged_file_is_an_error_and_never_a_crash(data):
    start = data.draw(st.integers(0, len(APP)))
    end = data.draw(st.integers(start, min(start + 20, len(APP))))
    parse_or_report(APP[:start] + data.draw(JUNK) + APP[end:])
