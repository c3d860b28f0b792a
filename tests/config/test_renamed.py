"""An error about a former key or value says its present name."""

from contextlib import suppress

import pytest
from msgspec.structs import fields

from lessee.config.grammar import app
from lessee.config.grammar.alerts import Alerts
from lessee.config.grammar.block import Block
from lessee.config.grammar.nodes import compose
from lessee.config.grammar.problems import Problems
from lessee.config.grammar.reader import Reader
from lessee.config.grammar.renamed import RENAMED_KEYS, new_key, new_value
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def blocks(kind):
    """The blocks of the grammar that inherit from this one, with it."""
    yield kind
    for inherited in kind.__subclasses__():
        yield from blocks(inherited)


FORMER = [
    (block, former, present)
    for kind, names in RENAMED_KEYS.items()
    for block in blocks(kind)
    for former, present in names.items()
    if present in block.__struct_fields__
]


def errors(block, text):
    problems = Problems("lessee.yaml")
    with suppress(Exception):  # A missing required key ends the reading; it is reported as well.
        Reader(problems, {}).read_as(block, compose(text, "lessee.yaml"))
    with pytest.raises(ConfigError) as caught:
        problems.raise_all()
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.no_cover
@pytest.mark.parametrize(("block", "former", "present"), FORMER)
def test_the_error_about_a_former_key_says_its_present_name(block, former, present):
    expected = f"lessee.yaml:1: {former}: unknown key; it is now `{present}`"
    assert expected in errors(block, f"{former}: 1")
    assert not any(f": {present}: missing" in error for error in errors(block, f"{former}: 1"))


def test_every_former_key_belongs_to_a_block_with_the_present_one():
    covered = {(former, present) for _, former, present in FORMER}
    assert covered == {pair for names in RENAMED_KEYS.values() for pair in names.items()}


@pytest.mark.no_cover
def test_no_former_key_is_a_key_of_its_block():
    for block, former, _ in FORMER:
        assert former not in {field.encode_name for field in fields(block)}


def test_the_error_names_the_full_key_and_the_line():
    text = "environment: e\napps:\n  web: {directory: /run/web, files: [{template: a.j2}],\n    refresh: 5s}\n"
    with pytest.raises(
        ConfigError, match=r"^lessee.yaml:4: apps.web.refresh: unknown key; it is now `refresh_interval`$"
    ):
        parse(text, source="lessee.yaml", environ={})


def test_a_former_key_next_to_the_present_one_is_reported_too():
    assert errors(app.AppBlock, "directory: /d\nrefresh: 1s\nrefresh_interval: 1s") == [
        "lessee.yaml:2: refresh: unknown key; it is now `refresh_interval`"
    ]


def test_a_misspelled_key_still_gets_a_suggestion():
    assert "lessee.yaml:1: default_rulez: unknown key; did you mean `default_rules`?" in errors(
        Alerts, "default_rulez: 1"
    )


@pytest.mark.parametrize(
    ("monitor", "expected"),
    [
        ("{audit: {file: a}, start_at: start}", "monitor.start_at: expected one of .*; it is now `beginning`"),
        (
            "{audit: {file: a}, alerts: {rules: [{rule: refusals}]}}",
            r"rules\[0\]\.rule: expected one of .*; it is now `denials`",
        ),
        (
            "{audit: {file: a}, alerts: {rules: [{rule: lease-ending}]}}",
            "expected one of .*; it is now `lease-expiring`",
        ),
    ],
)
def test_the_error_about_a_former_value_says_its_present_name(monitor, expected):
    with pytest.raises(ConfigError, match=expected):
        parse(f"monitor: {monitor}", source="lessee.yaml", environ={}, blocks=("monitor",))


def test_other_keys_and_values_have_no_present_name():
    assert new_key(app.AppBlock, "nonsense") == ""
    assert new_key(Block, "state") == ""
    assert new_value("start", ("start", "end")) == ""
    assert new_value("nonsense", ("beginning", "end")) == ""
