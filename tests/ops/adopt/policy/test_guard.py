"""The line with which Compose refuses a project without the override is added and removed byte for byte."""

import pytest
import yaml

from lessee.ops.adopt.policy.edits import apply_edits
from lessee.ops.adopt.policy.guard import guard, guards, is_guard, without_guard
from lessee.ops.adopt.policy.model import Edit, Span

WEB = "web: {image: a}"
CASES = {
    "block": (f"services:\n  {WEB}\n", 2),
    "comment before": (f"name: a\nservices:\n  # the web\n\n  {WEB}\n", 5),
    "four spaces": (f"services:\n    {WEB}\n", 2),
    "no indent of its own": ("services:\n web:\n  image: a\n", 2),
    "anchor": (f"services: &all\n  {WEB}\n", 2),
    "windows": (f"services:\r\n  {WEB}\r\n", 2),
    "mark and umlauts": (f"\ufeffname: ä\nservices:\n  {WEB}\n", 3),
    "no end": (f"services:\n  {WEB}", 2),
    "flow": (f"services: {{{WEB}}}\n", 1),
    "flow in lines": (f"services: {{\n  {WEB},\n}}\n", 2),
    "json": ('{"services": {"web": {"image": "a"}}}', 1),
}


@pytest.mark.parametrize("case", CASES)
def test_the_line_is_the_first_service_and_nothing_else_changes(case):
    text, line = CASES[case]
    content = text.encode()
    edit = guard("compose.yaml", content)
    assert edit.span.line == line
    assert is_guard(edit)
    after = apply_edits(content, [edit])
    before = yaml.safe_load(text)
    assert yaml.safe_load(after) == before | {"services": {"lessee-agent": {}, **before["services"]}}
    assert without_guard(after) == content
    assert guard("compose.yaml", after) is None
    assert after.count(b"\r\n") == content.count(b"\r\n") + (case == "windows")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b"name: a",
        b"services:\n",
        b"services: []\n",
        b"services: {}\n",
        b"services: [",
        b"\xff",
        b"[" * 5000,
        b"services:\n  ? web\n  : {image: a}\n",
        b"services:\n  lessee-agent: {image: a}\n",
        b"? [1]\n: 2\n",
    ],
)
def test_a_file_without_services_in_a_usual_form_gets_no_line(content):
    assert guard("compose.yaml", content) is None


def test_each_file_with_services_gets_the_line():
    contents = [("a.yaml", f"services:\n  {WEB}\n".encode()), ("b.yaml", b"name: a\n")]
    assert [edit.span.file for edit in guards(contents)] == ["a.yaml"]


def test_another_edit_is_no_guard():
    assert not is_guard(Edit(Span("a", 1, 0, 0), "ref+openbao://a#b"))
    assert without_guard(b"lessee-agent: {image: a}\n") == b"lessee-agent: {image: a}\n"
