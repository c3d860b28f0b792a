"""Edits of the user's files: they remove the plaintext and nothing else, and can be reversed."""

import pytest
import yaml

from lessee.core.immutable import replace
from lessee.ops.adopt.policy.edits import (
    apply_edits,
    changed_values,
    difference,
    ignoring,
    is_reference,
    line_before,
    lines_after,
    planned_edits,
    reference,
    secret_values,
    with_compose_files,
)
from lessee.ops.adopt.policy.model import (
    AppPlan,
    Delivery,
    Edit,
    Image,
    Origin,
    Part,
    Project,
    Rendered,
    Service,
    Source,
    Span,
    StoredField,
    Use,
)
from lessee.ops.scan.policy.classifier import Verdict

PASSWORD = "canary-pass-4711"
REF = "ref+openbao://database/postgres#password"
FIELD = Part(path="database/postgres", field="password")


def span_of(file, content, text, style=""):
    start = content.index(text.encode())
    return Span(file, content.count(b"\n", 0, start) + 1, start, start + len(text.encode()), style)


def use(name, value, *sources, service="api"):
    return Use(service, name, value, sources, Verdict.SECRET)


def says(source, contents):
    """What the file's format makes of a place."""
    if source.text or source.span is None or source.span.file not in contents:
        return source.text
    raw = contents[source.span.file][source.span.start : source.span.end].decode()
    quotes = source.span.style if source.span.style in {"'", '"'} else ""
    if source.origin is Origin.COMPOSE:
        return str(yaml.safe_load(f"{quotes}{raw}{quotes}"))
    return raw.replace("\\-", "-")


def planned(contents, *uses, parts=(FIELD,), delivery=Delivery.LAUNCHER, moved=None, password=PASSWORD, services=None):
    """The edits of a project whose uses are all rendered of these parts."""
    uses = tuple(
        replace(one, sources=tuple(replace(source, text=says(source, contents)) for source in one.sources))
        for one in uses
    )
    names = {one.service for one in uses}
    services = services or {name: Service(name, Image("image")) for name in names}
    project = Project("shop", "/shop", ("compose.yaml",), services, uses)
    keys = [(one.service, one.name) for one in uses] if moved is None else moved
    stored = (
        StoredField("database/postgres", "password", password, tuple(keys)),
        StoredField("database/postgres", "username", "app", tuple(keys)),
    )
    apps = [
        AppPlan(name, delivery, tuple(Rendered(*key, parts) for key in keys if key[0] == name), 1000, None)
        for name in names
    ]
    edits, steps = planned_edits(project, stored, apps, contents)
    return {
        name: apply_edits(content, [edit for edit in edits if edit.span.file == name])
        for name, content in contents.items()
    }, steps


@pytest.mark.parametrize(
    ("before", "text", "style", "after"),
    [
        (f"a: {PASSWORD} # why\n", PASSWORD, "", f"a: {REF} # why\n"),
        (f"a: '{PASSWORD}'\n", PASSWORD, "'", f"a: '{REF}'\n"),
        (f'a: "{PASSWORD}"\r\nb: 1\r\n', PASSWORD, '"', f'a: "{REF}"\r\nb: 1\r\n'),
        (f"l: [X={PASSWORD}, b]\n", PASSWORD, "", f"l: [X={REF}, b]\n"),
        (f"a: |-\n  {PASSWORD}\nb: 1\n", f"|-\n  {PASSWORD}", "|", f'a: "{REF}"\nb: 1\n'),
        ('a: "canary\\x2dpass-4711"\n', "canary\\x2dpass-4711", '"', f'a: "{REF}"\n'),
    ],
)
def test_a_literal_becomes_a_reference_in_its_own_quotes(before, text, style, after):
    content = before.encode()
    source = Source(Origin.COMPOSE, "X", span_of("compose.yaml", content, text, style))
    found, steps = planned({"compose.yaml": content}, use("X", PASSWORD, source))
    assert (found["compose.yaml"].decode(), steps) == (after, ())
    assert changed_values(content, found["compose.yaml"]) == (yaml.safe_load(after).get("a") or f"X={REF}",)


def test_a_dollar_that_compose_escapes_is_a_part_of_the_value():
    content = b"a: pa$$word-4711\n"
    source = Source(Origin.COMPOSE, "X", span_of("compose.yaml", content, "pa$$word-4711"))
    found, _ = planned({"compose.yaml": content}, use("X", "pa$word-4711", source), password="pa$word-4711")
    assert found["compose.yaml"] == f"a: {REF}\n".encode()


def test_only_the_secret_part_of_a_url_is_replaced_and_the_user_stays():
    url = f"postgres://app:{PASSWORD}@db/app"
    content = f"a: {url}\n".encode()
    source = Source(Origin.COMPOSE, "URL", span_of("compose.yaml", content, url))
    parts = (Part("postgres://"), Part(path="database/postgres", field="username"), Part(":"), FIELD, Part("@db/app"))
    found, _ = planned({"compose.yaml": content}, use("URL", url, source), parts=parts)
    assert found["compose.yaml"].decode() == f"a: postgres://app:{REF}@db/app\n"


def test_a_percent_encoded_password_is_found_in_a_url():
    url = "postgres://app:p%40ss-4711-canary@db/app"
    content = f"a: {url}\n".encode()
    source = Source(Origin.COMPOSE, "URL", span_of("compose.yaml", content, url))
    parts = (Part("postgres://app:"), Part(path="database/postgres", field="password", is_url_part=True), Part("@db"))
    found, _ = planned({"compose.yaml": content}, use("URL", url, source), parts=parts, password="p@ss-4711-canary")
    assert found["compose.yaml"].decode() == f"a: postgres://app:{REF}@db/app\n"


def test_a_url_whose_password_is_several_times_in_it_is_replaced_as_a_whole():
    url = "postgres://app:app@db/app"
    content = f"a: {url}\n".encode()
    source = Source(Origin.COMPOSE, "URL", span_of("compose.yaml", content, url))
    parts = (Part("postgres://app:"), FIELD, Part("@db/app"))
    found, _ = planned({"compose.yaml": content}, use("URL", url, source), parts=parts, password="app")
    assert found["compose.yaml"].decode() == f"a: {REF}\n"


def test_a_place_without_a_secret_of_the_value_stays():
    content = b"a: postgres://app:${P}@db/app\n"
    text = "postgres://app:${P}@db/app"
    env = f"P={PASSWORD}\nEMPTY=\n".encode()
    source = Source(Origin.COMPOSE, "URL", span_of("compose.yaml", content, text))
    other = Source(Origin.PROJECT_ENV, "P", span_of(".env", env, PASSWORD))
    parts = (Part("postgres://app:"), FIELD, Part("@db/app"), Part(path="database/postgres", field="lost"))
    value = f"postgres://app:{PASSWORD}@db/app"
    shell = Source(Origin.SHELL, "Q")
    found, steps = planned({"compose.yaml": content, ".env": env}, use("URL", value, source, other, shell), parts=parts)
    assert found == {"compose.yaml": content, ".env": f"P={REF}\nEMPTY=\n".encode()}
    assert steps == ()


@pytest.mark.parametrize(
    ("before", "text", "style", "after"),
    [
        (f"A=1\nX={PASSWORD}\nB=2\n", PASSWORD, "", f"A=1\n# X={REF}\nB=2\n"),
        (f"export X='{PASSWORD}'\r\n", PASSWORD, "'", f"# export X='{REF}'\r\n"),
        (f"\ufeffX={PASSWORD}\n", PASSWORD, "", f"\ufeff# X={REF}\n"),
        ('X="canary\\-pass-4711"', "canary\\-pass-4711", '"', f'# X="{REF}"'),
    ],
)
def test_a_line_of_an_env_file_is_commented_out_with_the_reference(before, text, style, after):
    content = before.encode()
    source = Source(Origin.ENV_FILE, "X", span_of("app.env", content, text, style))
    found, _ = planned({"app.env": content}, use("X", PASSWORD, source))
    assert found["app.env"].decode() == after


def test_a_line_that_compose_also_interpolates_stays_a_line():
    content = f"X={PASSWORD}\n".encode()
    span = span_of(".env", content, PASSWORD)
    uses = (
        use("X", PASSWORD, Source(Origin.ENV_FILE, "X", span)),
        use("Y", PASSWORD, Source(Origin.PROJECT_ENV, "X", span)),
    )
    found, _ = planned({".env": content}, *uses)
    assert found[".env"] == f"X={REF}\n".encode()


def test_a_secret_file_becomes_a_reference_as_a_whole():
    content = f"{PASSWORD}\n".encode()
    source = Source(Origin.SECRET_FILE, "db", Span("db.txt", 1, 0, len(content)))
    found, _ = planned({"db.txt": content}, use("secrets.db", PASSWORD, source))
    assert found["db.txt"] == REF.encode()


def test_a_place_that_something_else_needs_stays_and_is_named():
    content = f"X={PASSWORD}\n".encode()
    source = Source(Origin.PROJECT_ENV, "X", span_of(".env", content, PASSWORD))
    uses = use("X", PASSWORD, source), use("build.args.X", PASSWORD, source)
    found, [step] = planned({".env": content}, *uses, moved=[("api", "X")])
    assert found[".env"] == content
    assert str(step) == (
        ".env:1: X stays in this file, because build.args.X of api needs it; "
        "see the other steps, and run `lessee adopt` again"
    )


@pytest.mark.parametrize(
    ("value", "other", "path", "stays"),
    [
        (PASSWORD, f"x-{PASSWORD}", "hostname", True),
        (PASSWORD, f"x-{PASSWORD}", "image", False),
        ("short", "x-short", "hostname", False),
        ("api-image", "api-image", "hostname", False),
    ],
)
def test_a_place_that_a_text_of_a_service_needs_stays(value, other, path, stays):
    content = f"X={value}\n".encode()
    source = Source(Origin.PROJECT_ENV, "X", span_of(".env", content, value))
    services = {"api": Service("api", Image("api-image"), other=((path, other),))}
    found, steps = planned({".env": content}, use("X", value, source), password=value, services=services)
    assert (found[".env"] == content) is stays
    assert [step.what for step in steps] == ["X stays in this file, because hostname of api needs it"] * stays


@pytest.mark.parametrize("name", ["../shared.env", "/etc/shared.env"])
def test_a_file_outside_of_the_project_stays_and_is_named(name):
    content = f"X={PASSWORD}\n".encode()
    source = Source(Origin.ENV_FILE, "X", span_of(name, content, PASSWORD))
    found, [step] = planned({name: content}, use("X", PASSWORD, source))
    assert found[name] == content
    assert str(step) == (
        f"{name}:1: X stays in this file, which is outside of the project and may have other readers; "
        "remove the value there if it has none"
    )


def test_what_is_not_moved_or_not_there_is_not_edited():
    content = f"X={PASSWORD}\n".encode()
    source = Source(Origin.ENV_FILE, "X", span_of("app.env", content, PASSWORD))
    one = use("X", PASSWORD, source)
    assert planned({"app.env": content}, one, delivery=Delivery.NOTHING) == ({"app.env": content}, ())
    assert planned({}, one) == ({}, ())


def test_a_text_of_which_a_variable_is_a_part_is_replaced_as_a_whole_and_the_variable_is_named():
    content = b"a: canary-${X:-zz}${Y}\n"
    env = b"Y=pass\n"
    whole = Source(Origin.COMPOSE, "A", span_of("compose.yaml", content, "canary-${X:-zz}${Y}"))
    default = Source(Origin.DEFAULT, "X", span_of("compose.yaml", content, "zz"), "zz")
    other = Source(Origin.PROJECT_ENV, "Y", span_of(".env", env, "pass"))
    value = "canary-zzpass"
    found, [step] = planned(
        {"compose.yaml": content, ".env": env}, use("A", value, whole, default, other), password=value
    )
    assert found == {"compose.yaml": f"a: {REF}\n".encode(), ".env": env}
    assert str(step) == (
        ".env:1: Y stays in this file, and is a part of A of api; "
        "remove it if nothing else needs it: Vault has the secret"
    )


def test_an_edit_within_another_is_left_out():
    content = f"a: x{PASSWORD}${{X:-{PASSWORD}}}\n".encode()
    whole = Source(Origin.COMPOSE, "A", span_of("compose.yaml", content, content[3:-1].decode()))
    start = content.rindex(PASSWORD.encode())
    default = Source(Origin.DEFAULT, "X", Span("compose.yaml", 1, start, start + len(PASSWORD)), PASSWORD)
    uses = use("A", f"x{PASSWORD}{PASSWORD}", whole), use("B", PASSWORD, default)
    assert planned({"compose.yaml": content}, *uses)[0]["compose.yaml"] == f"a: {REF}\n".encode()


def test_lines_are_known_before_and_after_the_edits():
    content = b"a: |\n  x\n  y\nb: 1\nc: 2\n"
    edits = [Edit(Span("f", 4, content.index(b"1"), content.index(b"1") + 1), "ref"), Edit(Span("f", 1, 3, 12), "ref")]
    assert lines_after(content, edits) == {1, 2}
    assert [line_before(content, edits, line) for line in (1, 2, 3)] == [1, 4, 5]


# COMPOSE_FILE and .dockerignore


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "COMPOSE_FILE=a.yaml:b.yaml\n"),
        ("X=1", "X=1\nCOMPOSE_FILE=a.yaml:b.yaml\n"),
        ("X=1\r\n", "X=1\r\nCOMPOSE_FILE=a.yaml:b.yaml\r\n"),
        ("COMPOSE_FILE=z\n export COMPOSE_FILE = a.yaml \r\nX=1\n", None),
        ("# COMPOSE_FILE=old\n", "# COMPOSE_FILE=old\nCOMPOSE_FILE=a.yaml:b.yaml\n"),
    ],
)
def test_compose_file_names_the_override(before, after):
    edit = with_compose_files(".env", before.encode(), ["a.yaml", "b.yaml"])
    expected = "COMPOSE_FILE=z\n export COMPOSE_FILE = a.yaml:b.yaml \r\nX=1\n" if after is None else after
    assert apply_edits(before.encode(), [edit]).decode() == expected
    again = with_compose_files(".env", expected.encode(), ["a.yaml", "b.yaml"])
    assert apply_edits(expected.encode(), [again]).decode() == expected


def test_the_separator_is_the_projects():
    assert with_compose_files(".env", b"", ["a", "b"], ",").text == "COMPOSE_FILE=a,b\n"


def test_the_folder_of_the_login_is_kept_out_of_images():
    for before, after in ((b"", b".lessee\n"), (b"x", b"x\n.lessee\n"), (b"x\r\n", b"x\r\n.lessee\r\n")):
        edit = ignoring(before, ".lessee")
        assert apply_edits(before, [edit]) == after
        assert ignoring(after, ".lessee") is None
    assert ignoring(b"**\n!app\n", ".lessee") is None


def test_only_the_secret_of_a_credential_is_searched_for():
    fields = [StoredField("database/postgres", name, f"value of {name}", ()) for name in ("username", "password")]
    assert secret_values(fields) == {"database/postgres#password": "value of password"}


def test_a_reference_is_known_in_any_value():
    assert is_reference(f"postgres://{reference('a', 'b')}@db")
    assert not is_reference("value")


# The rest means the same


def test_only_scalars_may_differ():
    assert changed_values(b"a: &x {b: 1}\nc: [*x, d]\n", b"a: &x {b: 2}\nc: [*x, d]\n") == ("2",)
    assert changed_values(b"a: 1\n", b"a: 1\nb: 2\n") is None
    assert changed_values(b"a: 1\n", b"a: {\n") is None
    assert changed_values(b"\xff", b"a: 1\n") is None
    assert changed_values(b"", b"") == ()
    assert changed_values(b"? [a]\n: b\n", b"? [a]\n: c\n") == ("c",)
    assert changed_values(b"a: !reset null\n", b"a: !reset null\n") == ()


def test_edits_are_applied_whatever_their_order():
    edits = [Edit(Span("f", 1, 4, 5), "EE"), Edit(Span("f", 1, 0, 0), "# "), Edit(Span("f", 1, 0, 1), "AA")]
    assert apply_edits(b"abcde", edits) == b"# AAbcdEE"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"A=1\nB=2\n"),
        (b"A=1\n", b"A=1\nB=2\n"),
        (b"A=1", b"A=1\nB=2\n"),
        (b"A=1\nB=2\nC=3\n", b"A=1\nB=4\nC=3\n"),
        (b"A=1\r\nC=3", b"A=1\r\nB=2\r\nC=3"),
        (b"A=1\nA=1\n", b"A=1\nA=1\nA=1\n"),
        (b"A=1\n", b"A=1\n"),
    ],
)
def test_the_difference_of_two_contents_is_one_edit_of_whole_lines(before, after):
    edit = difference(".env", before, after)
    assert apply_edits(before, [edit]) == after
    assert before[: edit.span.start] in {b"", *(before[: at + 1] for at, byte in enumerate(before) if byte == 10)}
    assert edit.span.line == before[: edit.span.start].count(b"\n") + 1


def test_an_edit_that_adds_a_line_moves_the_lines_after_it():
    content = b"a\nb\nc\n"
    edits = [Edit(Span("f", 2, 2, 2), "new\n"), Edit(Span("f", 3, 4, 5), "C")]
    assert apply_edits(content, edits) == b"a\nnew\nb\nC\n"
    assert lines_after(content, edits) == {2, 4}
    assert [line_before(content, edits, line) for line in (1, 3, 4)] == [1, 2, 3]
