"""What the edits leave in the project's files has a step with its line, and what is there by chance has none."""

import pytest

from lessee.ops.adopt.policy.leftovers import Left, leftovers, searchable, unplaced
from lessee.ops.adopt.policy.model import (
    Edit,
    Image,
    ManualStep,
    Origin,
    Project,
    Service,
    Source,
    Span,
    StoredField,
    Use,
)

VALUE = "canary-9Kx2vQ7m"
FIELD = StoredField("applications/app", "key", VALUE, (("app", "KEY"),))


def project(*inputs, uses=(), image="app"):
    return Project("p", "/p", ("compose.yaml",), {"app": Service("app", Image(image))}, tuple(uses), inputs=inputs)


def found(text, name="compose.yaml", *, edits=(), steps=(), value=VALUE, uses=()):
    content = text if isinstance(text, bytes) else text.encode()
    left = Left(project(name, "gone.env", uses=uses), {name: content}, edits, steps)
    return [(one.where, one.what) for one in leftovers(left, [StoredField("a", "key", value, ())])]


HERE = "the value of a#key is still here"


@pytest.mark.parametrize(
    "text",
    [
        f"a: b # {VALUE}\n",
        f"a: {{b: [x-{VALUE}-y]}}\n",
        'a: "\\x63anary-9Kx2vQ7m"\n',
        f"{VALUE}: a\n",
        f"a: &x [{VALUE}]\n",
        f"a: [ # {VALUE}\n",
        b"\xef\xbb\xbfa: " + VALUE.encode(),
    ],
)
def test_a_value_in_any_place_of_a_compose_file_is_named(text):
    assert found(text) == [("compose.yaml:1", HERE)]


@pytest.mark.parametrize("value", ["a'bc$de\"fgh", "p@ss/wörd-4711", "x\\y-123456"])
def test_a_value_is_found_as_the_file_writes_it(value):
    double = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    single = value.replace("'", "''").replace("$", "$$")
    assert found(f"a: \"{double}\"\nb: '{single}'\n", value=value) == [
        ("compose.yaml:1", HERE),
        ("compose.yaml:2", HERE),
    ]


@pytest.mark.no_cover
def test_a_node_that_is_its_own_part_and_one_that_is_too_deep_end():
    assert found(f"a: &x [*x, {VALUE}]\n") == [("compose.yaml:1", HERE)]
    assert found("a: " + "[" * 5000 + f"\n# {VALUE}\n") == [("compose.yaml:2", HERE)]
    assert found("") == []


def test_lines_are_those_before_the_edits():
    text = f"a: |\n  one\n  two\nb: {VALUE}\nc: |\n  three\n"
    edits = [
        Edit(Span("compose.yaml", 1, 3, 16), '"ref+openbao://a#b"'),
        Edit(Span("compose.yaml", 5, text.index("|\n  three"), len(text) - 1), "x"),
    ]
    assert found(text, edits=edits) == [("compose.yaml:4", HERE)]
    step = ManualStep("compose.yaml:4", "known", "do it")
    assert found(text, edits=edits, steps=[step]) == []


def test_a_reference_is_no_value_whatever_its_path_is():
    assert found("A=ref+openbao://api-keys/payment#key\n", "x.env", value="api-keys") == []


def test_the_lines_of_a_key_are_one_step():
    rows = ["-----BEGIN KEY-----", "canaryMIIBVAIBADANBgkqh", "canaryAASCAT4wggE6AgEAA", "short", "-----END KEY-----"]
    text = "# a\n" + "".join(f"# {row}\n" for row in rows) + "# short\n"
    assert found(text, value="\n".join(rows)) == [("compose.yaml:3", HERE)]


def test_a_secret_of_an_env_file_that_no_service_gets_is_named():
    text = "A_PASSWORD=unused-4711\nB_PASSWORD=used-4711\nC_PASSWORD=changeme\nD=1\nE_PASSWORD=ref+openbao://a#b\n"
    span = Span("x.env", 2, 34, 43)
    uses = [Use("app", "B", "used-4711", (Source(Origin.ENV_FILE, "B_PASSWORD", span), Source(Origin.SHELL, "C")))]
    [(where, what)] = found(text, "x.env", uses=uses)
    assert (where, what) == ("x.env:1", "A_PASSWORD is a secret that no service gets from this line")
    edits = [Edit(Span("x.env", 1, 11, 22), "ref+openbao://a#b")]
    assert found(text, "x.env", uses=uses, edits=edits) == []


def test_the_file_of_a_secret_has_no_variables():
    uses = [Use("app", "secrets.x", "", (Source(Origin.SECRET_FILE, "x", Span("x.txt", 1, 0, 3)),))]
    assert found("A_PASSWORD=unused-4711\n", "x.txt", uses=uses) == []


def test_a_word_that_is_in_texts_by_chance_is_not_searched_for():
    fields = [StoredField("a", str(at), value, ()) for at, value in enumerate(["postgres", "short", "changeme", VALUE])]
    assert searchable(project(image="x/postgres:17"), fields) == {"a#3": VALUE}
    assert "a#0" in searchable(project(), fields)


def test_a_value_from_an_unknown_place_is_named():
    uses = [Use("app", "A", "x", ()), Use("app", "B", "x", (Source(Origin.SHELL, "B"),)), Use("app", "C", "x", ())]
    [step] = unplaced(project(uses=uses), [("app", "A"), ("app", "B")])
    assert (step.where, step.what) == ("app", "A has a secret, and lessee does not know from which file")


def test_no_value_is_in_a_repr():
    assert VALUE not in repr(Left(project(), {"a": VALUE.encode()}, (), ()))
