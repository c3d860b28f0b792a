"""Whatever a file looks like, a fix changes no byte outside of its edits, and nothing that it does not name."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.lint.policy.fixes.application import changed
from lessee.ops.lint.policy.fixes.diff import edits
from lessee.ops.lint.policy.fixes.model import Merge, Remove
from lessee.ops.lint.policy.fixes.yaml_values import NotEditableError

WORDS = st.sampled_from(["a", "b:/c", "'d e'", '"f"', "1", "true", "~", "!x g", "h-i"])
COMMENTS = st.sampled_from(["", "", " # c", " # [x] - {y}: 'z", "\n    # - d\n"])
DOCUMENTS = st.sampled_from(
    [
        {"services": {"web": {"pid": "host"}}},
        {"services": {"web": {"volumes": ["new:/new:ro", "a"]}, "new": {"image": "x", "l": [1]}}},
        {"services": {"web": {"depends_on": {"agent": {"condition": "service_healthy"}}}}},
        {"services": {"web": {"environment": {"NEW": "1"}}}, "volumes": {"v": {"driver_opts": {"o": "x"}}}},
        {"services": {"db": {"restart": "always", "stop_signal": "SIGTERM"}}},
    ]
)


@st.composite
def values(draw, indent):
    """A value after a colon, in one of the layouts that people use."""
    kind = draw(st.integers(0, 5))
    items = draw(st.lists(WORDS, min_size=1, max_size=3))
    comment = draw(COMMENTS)
    pad = " " * indent
    match kind:
        case 0:
            return f" {items[0]}{comment}"
        case 1:
            return f" [{', '.join(items)}]{comment}"
        case 2:
            return "".join(f"\n{pad}- {item}{comment}" for item in items)
        case 3:
            return "".join(f"\n{pad}  k{at}: {item}{comment}" for at, item in enumerate(items))
        case 4:
            return f" |\n{pad}  text {items[0]}\n\n{pad}  more"
        case _:
            return f" {{{', '.join(f'k{at}: {item}' for at, item in enumerate(items))}}}{comment}"


@st.composite
def files(draw):
    text = draw(st.sampled_from(["", "# head\n", "x: &x\n  volumes: [s:/s]\n  pid: host\n\n"]))
    text += "services:\n"
    for name in ("web", "db"):
        text += f"  {name}:{draw(st.sampled_from(['', ' # service']))}\n"
        if "&x" in text and draw(st.booleans()):
            text += "    <<: *x\n"
        keys = draw(
            st.lists(st.sampled_from(["volumes", "depends_on", "environment", "labels"]), unique=True, min_size=1)
        )
        for key in keys:
            text += f"    {key}:{draw(values(4))}\n"
        text += draw(st.sampled_from(["", "\n", "\n  # next\n"]))
    text += draw(st.sampled_from(["", "volumes:\n  v:\n", "volumes: {}\n# end", "# end\n"]))
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return draw(st.sampled_from(["", "\ufeff"])) + text


def without_changes(before, after):
    """The lines that two texts share, in their order."""
    kept, last = [], 0
    text = before.encode()
    for edit in edits("f", before, after):
        kept.append(text[last : edit.start])
        last = edit.end
    return b"".join([*kept, text[last:]])


@pytest.mark.no_cover
@given(files(), DOCUMENTS)
def test_a_document_is_added_without_any_other_change(text, document):
    try:
        after = changed(text, Merge("f", document))
    except NotEditableError:
        return
    assert changed(after, Merge("f", document)) == after
    assert re.findall(r"#[^\r\n]*", after) == re.findall(r"#[^\r\n]*", text)
    assert after.startswith("\ufeff") == text.startswith("\ufeff")
    assert after.count("\r\n") == (after.count("\n") if "\r\n" in text else 0)
    assert without_changes(text, after).count(b"&x") == text.count("&x")
    old, new = load(text), load(after)
    for part in old.keys() - document.keys():
        assert new[part] == old[part]
    for name, service in old["services"].items():
        wanted = document["services"].get(name, {})
        for key in (service or {}).keys() - wanted.keys():
            assert new["services"][name][key] == service[key]
    # What the file had is there, in its order: edits only add, replace a scalar, or turn a list into a mapping.
    position = 0
    for word in re.findall(r"[\w/]+", text):
        position = after.index(word, position) + len(word)


@given(files(), st.sampled_from([("services", "web", "environment"), ("services", "db", "labels", "k0")]))
def test_a_key_is_removed_without_any_other_change(text, path):
    try:
        after = changed(text, Remove("f", path))
    except NotEditableError:
        return
    # Each byte of the result is one of the file, in its order.
    rest = iter(text)
    assert all(letter in rest for letter in after)
    old, new = load(text), load(after)
    assert {name: part for name, part in old.items() if name != "services"} == {
        name: part for name, part in new.items() if name != "services"
    }


def load(text):
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda _, suffix, node: (suffix, node.value))
    return yaml.load(text, Loader=Loader)  # noqa: S506  # A SafeLoader.
