"""Edits keep every character that they need not change, or they are refused."""

# ruff: noqa: E501, ISC004  # A text before and after is in one line.

import pytest
import yaml

from lessee.ops.lint.policy.fixes.application import applied, changed
from lessee.ops.lint.policy.fixes.model import Fix, Merge, Remove, RemoveVariable, SetScalar, Verbatim, merged
from lessee.ops.lint.policy.fixes.yaml_values import NotEditableError


def add(text, document, path=()):
    change = Merge("f", document, path)
    after = changed(text, change)
    assert changed(after, change) == after
    return after


def remove(text, *path):
    after = changed(text, Remove("f", path))
    if isinstance(path[-1], str):
        assert changed(after, Remove("f", path)) == after
    return after


def web(**keys):
    return {"services": {"web": keys}}


@pytest.mark.parametrize(
    ("before", "document", "after"),
    [
        # A key at the end of a block, before the comments that follow it.
        (
            "services:\n  web:\n    image: x # one\n\n  # two\n  db: {image: y}\n",
            web(pid="host"),
            "services:\n  web:\n    image: x # one\n    pid: host\n\n  # two\n  db: {image: y}\n",
        ),
        ("services:\n  web:\n    image: x", web(pid="host"), "services:\n  web:\n    image: x\n    pid: host\n"),
        ("services:\r\n  web:\r\n    image: x\r\n", web(pid="host"), "services:\r\n  web:\r\n    image: x\r\n    pid: host\r\n"),
        ("\ufeffservices:\n  web: {image: x}\n", web(pid="host"), "\ufeffservices:\n  web: {image: x, pid: host}\n"),
        ("services: {web: {}}\n", web(pid="host"), "services: {web: {pid: host}}\n"),
        ("services: {web: }\n", web(pid="host"), "services: {web: {pid: host} }\n"),
        ("services: {web}\n", web(pid="host"), "services: {web: {pid: host}}\n"),
        ("services:\n  web:\n", web(pid="host"), "services:\n  web:\n    pid: host\n"),
        ("services:\n  web:", web(pid="host"), "services:\n  web:\n    pid: host\n"),
        ("services:\n  web: # c\n", web(pid="host"), "services:\n  web: # c\n    pid: host\n"),
        ("services:\n  web: null\n", web(pid="host"), "services:\n  web: {pid: host}\n"),
        ("services:\n  web:\n    pid:\n", web(pid="host"), "services:\n  web:\n    pid: host\n"),
        ("services:\n  web:\n    pid: ~ # c\n", web(pid="host"), "services:\n  web:\n    pid: host # c\n"),
        # A scalar.
        ("services:\n  web:\n    pid: host # c\n", web(pid="x"), "services:\n  web:\n    pid: x # c\n"),
        ("services:\n  web:\n    pid: &p host\n", web(pid="x"), "services:\n  web:\n    pid: &p x\n"),
        ("services:\n  web:\n    pid: 'host'\n", web(pid="host"), "services:\n  web:\n    pid: 'host'\n"),
        ("services:\n  web:\n    init: 'true'\n", web(init=True), "services:\n  web:\n    init: true\n"),
        ("services:\n  web:\n    init: true\n", web(init=True), "services:\n  web:\n    init: true\n"),
        ("services:\n  web:\n    pid: >-\n      host\n    a: b\n", web(pid="x"), "services:\n  web:\n    pid: x\n    a: b\n"),
        ("services:\n  web:\n    text: |\n      a\n      b\n\n", web(pid="x"), "services:\n  web:\n    text: |\n      a\n      b\n    pid: x\n\n"),
        # Lists.
        ("services:\n  web:\n    volumes:\n    - a:/a # c\n", web(volumes=["b:/b"]), "services:\n  web:\n    volumes:\n    - a:/a # c\n    - b:/b\n"),
        ("services:\n  web:\n    volumes:\n      -   a:/a\n", web(volumes=["b:/b"]), "services:\n  web:\n    volumes:\n      -   a:/a\n      - b:/b\n"),
        ("services:\n  web:\n    volumes: [a:/a] # c\n", web(volumes=["b:/b"]), "services:\n  web:\n    volumes: [a:/a, b:/b] # c\n"),
        ("services:\n  web:\n    volumes: [\n      a:/a, # b\n      c:/c\n    ]\n", web(volumes=["b:/b"]), "services:\n  web:\n    volumes: [\n      a:/a, # b\n      c:/c, b:/b\n    ]\n"),
        ("services:\n  web:\n    volumes: []\n", web(volumes=["b:/b"]), "services:\n  web:\n    volumes: [b:/b]\n"),
        ("services:\n  web:\n    volumes:\n", web(volumes=["b:/b"]), "services:\n  web:\n    volumes: [b:/b]\n"),
        ("services:\n  web:\n    volumes: &my-files\n      - a:/a\n", web(volumes=["b:/b"]), "services:\n  web:\n    volumes: &my-files\n      - a:/a\n      - b:/b\n"),
        ("services: {web: {volumes: &v [a:/a]}}\n", web(volumes=["b:/b"]), "services: {web: {volumes: &v [a:/a, b:/b]}}\n"),
        # A list where a mapping is added, and the other way round.
        (
            "services:\n  web:\n    depends_on:\n    - db # c\n    - redis\n",
            web(depends_on={"agent": {"condition": "service_healthy"}}),
            "services:\n  web:\n    depends_on:\n      db: {condition: service_started} # c\n"
            "      redis: {condition: service_started}\n      agent: {condition: service_healthy}\n",
        ),
        (
            "services:\n  web: {depends_on: [db, redis], a: [b]}\n",
            web(depends_on={"db": {"condition": "service_healthy"}}),
            "services:\n  web: {depends_on: {db: {condition: service_healthy}, redis: {condition: service_started}}, a: [b]}\n",
        ),
        ("services:\n  web:\n    environment: [A=b]\n", web(environment={"C": "d", "E": None}), "services:\n  web:\n    environment: [A=b, C=d, E]\n"),
        ("services:\n  web:\n    networks: {a: }\n", web(networks=["b"]), "services:\n  web:\n    networks: {a: , b: null }\n"),
        # What an alias or `<<` gives is copied, because an edit of the original would change other services.
        (
            "x: &x [a:/a]\nservices:\n  web:\n    volumes: *x # c\n  db: {volumes: *x}\n",
            web(volumes=["b:/b"]),
            "x: &x [a:/a]\nservices:\n  web:\n    volumes: [a:/a, b:/b] # c\n  db: {volumes: *x}\n",
        ),
        (
            "x: &x {a: {condition: k}}\nservices:\n  web: {depends_on: *x}\n  db: {depends_on: *x}\n",
            web(depends_on={"a": {"condition": "k"}, "b": {"condition": "k"}}),
            "x: &x {a: {condition: k}}\nservices:\n  web: {depends_on: {<<: *x, b: {condition: k}}}\n  db: {depends_on: *x}\n",
        ),
        ("x: &x [a:/a]\nservices: {web: {volumes: *x}}\n", web(volumes=["a:/a"]), "x: &x [a:/a]\nservices: {web: {volumes: *x}}\n"),
        ("x: &x host\nservices: {web: {pid: *x}}\n", web(pid="z"), "x: &x host\nservices: {web: {pid: z}}\n"),
        (
            "x: &x\n  volumes: [a:/a, {type: tmpfs, target: /t, i: 1, e: , s: !s v}]\nservices:\n  web:\n    <<: *x\n",
            web(volumes=["b:/b"]),
            "x: &x\n  volumes: [a:/a, {type: tmpfs, target: /t, i: 1, e: , s: !s v}]\nservices:\n  web:\n    <<: *x\n"
            "    volumes: [a:/a, {type: tmpfs, target: /t, i: 1, e: null, s: !s v}, b:/b]\n",
        ),
        (
            "x: &x\n  environment: {A: b}\nservices:\n  web:\n    <<: *x\n",
            web(environment={"C": Verbatim("!reset null")}),
            "x: &x\n  environment: {A: b}\nservices:\n  web:\n    <<: *x\n    environment: {A: b, C: !reset null}\n",
        ),
        # What is there already stays, next to what is added.
        ("services:\n  web: {volumes: [a:/a]}\n", web(volumes=["a:/a"], pid="host"), "services:\n  web: {volumes: [a:/a], pid: host}\n"),
        ("x: &x [a:/a]\nservices: {web: {volumes: *x}}\n", web(volumes=["a:/a"], pid="host"), "x: &x [a:/a]\nservices: {web: {volumes: *x, pid: host}}\n"),
        # New services and volumes are apart.
        (
            "services:\n  web: {image: x}\nnetworks: {}\n",
            {"services": {"new": {"image": "y", "init": True, "empty": None, "l": [1]}}, "volumes": {"v": {"o": {"p": [1, 2]}}}},
            'services:\n  web: {image: x}\n\n  new:\n    image: "y"\n    init: true\n    empty:\n    l: [1]\nnetworks: {}\n\n'
            "volumes:\n  v:\n    o:\n      p: [1, 2]\n",
        ),
    ],
)  # fmt: skip
def test_a_document_is_added_in_the_layout_of_the_file(before, document, after):
    assert add(before, document) == after


def test_long_collections_are_written_in_blocks():
    volumes = [f"./{'x' * 40}{index}:/x{index}" for index in range(3)]
    mapping = {f"{'y' * 30}{index}": "z" for index in range(4)}
    after = add("services:\n  web:\n    image: x\n", web(volumes=volumes, labels=mapping))
    assert after.count("\n      - ./xxx") == 3
    assert after.count("\n      yyy") == 4
    assert yaml.safe_load(after)["services"]["web"] == {"image": "x", "volumes": volumes, "labels": mapping}


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("a:\n  b: 1 # c\n  d: 2\n", ("a", "b"), "a:\n  d: 2\n"),
        ("a:\n  b: 1\ne: 2\n", ("a", "b"), "e: 2\n"),
        ("a:\n  b:\n    c: |\n      text\n    d: 1\n", ("a", "b", "c"), "a:\n  b:\n    d: 1\n"),
        ("a: {b: 1, c: 2, d: 3}\n", ("a", "b"), "a: {c: 2, d: 3}\n"),
        ("a: {b: 1, c: 2, d: 3}\n", ("a", "d"), "a: {b: 1, c: 2}\n"),
        ("a: [b, c]\n", ("a", 0), "a: [c]\n"),
        ("a: [b, c]\n", ("a", 1), "a: [b]\n"),
        ("a:\n- b\n- c # d\n", ("a", 1), "a:\n- b\n"),
        ("a:\n- b\n- c # d", ("a", 1), "a:\n- b\n"),
        ("a:\n- # x - y\n  b\n- c\n", ("a", 1), "a:\n- # x - y\n  b\n"),
        ("a: 1\n", ("b",), "a: 1\n"),
        ("a: [b]\n", ("a", 3), "a: [b]\n"),
        ("a: 1\n", ("a", "b"), "a: 1\n"),
    ],
)
def test_a_key_or_an_item_is_removed(before, path, after):
    assert remove(before, *path) == after


@pytest.mark.parametrize(
    ("before", "new", "after"),
    [
        ("a: old # c\n", "new", "a: new # c\n"),
        ("a: 'old'\n", "it's", "a: 'it''s'\n"),
        ('a: "old"\n', "new", 'a: "new"\n'),
        ('a: "old"\n', 'x"y', 'a: "x\\"y"\n'),
        ("a: old\n", "yes", 'a: "yes"\n'),
    ],
)
def test_a_scalar_is_replaced_in_its_quotes(before, new, after):
    change = SetScalar("f", ("a",), "old", new)
    assert changed(before, change) == after
    assert changed(after, change) == after


@pytest.mark.parametrize(
    ("text", "change", "why"),
    [
        ("services:\n  web: host\n", Merge("f", web(pid="x")), "no mapping"),
        ("services:\n  web: {volumes: x}\n", Merge("f", web(volumes=["a"])), "no list"),
        ("services:\n  web: {pid: [x]}\n", Merge("f", web(pid="a")), "no single value"),
        ("services:\n  web: {labels: [x]}\n", Merge("f", web(labels={"a": "b"})), "it is a list"),
        ("services:\n  web: {environment: [x]}\n", Merge("f", web(environment={"a": Verbatim("!reset null")})), "it is a list"),
        ("x: &x {environment: [a]}\nservices: {web: {<<: *x}}\n", Merge("f", web(environment={"a": "b"})), "another form"),
        ("x: &x {volumes: {a: b}}\nservices: {web: {<<: *x}}\n", Merge("f", web(volumes=["b"])), "another form"),
        ("services: [web]\n", Merge("f", web(pid="a")), "it is a list"),
        ("a: b\n", Merge("f", {"c": "d"}, ("x",)), "not written there"),
        ("a: [b]\n", Merge("f", {"c": "d"}, ("a",)), "its parent is no mapping"),
        ("A='x\n", RemoveVariable("f", "A"), "not closed"),
        ("A=1\n=\n", RemoveVariable("f", "A"), "no valid env file"),
        ("A\r:1\n", RemoveVariable("f", "A"), "another way"),
        ("a: {b: c}\n", SetScalar("f", ("a",), "x", "y"), "not written there"),
        ("a: c\n", SetScalar("f", ("a",), "x", "y"), "not written there"),
        ("a: |\n  x\n", SetScalar("f", ("a",), "x\n", "y"), "no plain text"),
        ("x: &x {a: old}\ny: {<<: *x}\n", SetScalar("f", ("y", "a"), "old", "new"), "inherited"),
        ("x: &x {a: old}\ny: *x\n", SetScalar("f", ("y", "a"), "old", "new"), "inherited"),
        ("x: &x {a: old}\ny: *x\n", SetScalar("f", ("x", "a"), "old", "new"), "an anchor"),
        ("x: &x {a: 1, b: 2}\ny: *x\n", Remove("f", ("x", "a")), "an anchor"),
        ("- a\n", Merge("f", {"b": "c"}), "not valid YAML"),
        ("a: [\n", Merge("f", {"b": "c"}), "not valid YAML"),
        ("a: 1\n---\nb: 2\n", Merge("f", {"b": "c"}), "several documents"),
        ("a:\n- b: 1\n  c: 2\n", Remove("f", ("a", 0, "b")), "shares its line"),
        ("? a\n: b\n? c\n: d\n", Remove("f", ("a",)), "shares its line"),
        ("a: &a [*a]\n", Merge("f", {"b": "c"}), "too many values"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(f"{n}: &{n} [{', '.join([f'*{p}'] * 10)}]\n" for p, n in zip("abcdef", "bcdefg", strict=True)), Merge("f", {"z": "c"}), "too many values"),
    ],
)  # fmt: skip
def test_an_edit_that_would_change_more_is_refused(text, change, why):
    with pytest.raises(NotEditableError, match=why):
        changed(text, change)


def test_a_document_is_added_to_a_mapping_in_a_list():
    text = "services:\n  web:\n    volumes:\n      - type: volume\n        source: a\n"
    after = add(text, {"read_only": True}, ("services", "web", "volumes", 0))
    assert after == f"{text}        read_only: true\n"


def test_a_fix_changes_all_its_files_or_none():
    texts = {"a": "x: 1\n", "b": "y: 1\n", "c": "z: 1\n"}
    fix = Fix("", (Merge("a", {"k": "m"}), Merge("a", {"o": "p"}), Merge("b", {"y": 1})))
    assert applied(fix, texts.__getitem__) == {"a": "x: 1\nk: m\no: p\n"}
    with pytest.raises(NotEditableError):
        applied(
            Fix("", (Merge("a", {"k": "m"}), Remove("c", ("z", 1)), Merge("c", {"z": {"a": "b"}}))), texts.__getitem__
        )


def test_documents_are_merged_with_each_item_once():
    first = {"a": {"b": [1, 2]}, "c": "x"}
    assert merged(first, {"a": {"b": [2, 3]}, "c": "y", "d": {}}) == {"a": {"b": [1, 2, 3]}, "c": "y", "d": {}}
