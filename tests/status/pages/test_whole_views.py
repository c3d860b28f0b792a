"""Each view in each state is as its file in `expected/`, as a page and as lines: a reader sees every word of it."""

from pathlib import Path

import pytest

from lessee.status.pages.page import render_page
from lessee.status.pages.plain_text import lines
from lessee.status.pages.views import build_view
from support.models.statuses import NOW, STATUSES

EXPECTED = Path(__file__).parent / "expected"


@pytest.mark.parametrize("name", STATUSES)
def test_a_view_has_every_word_that_was_reviewed(name):
    """Delete a file to write it again, and review the difference."""
    view = build_view(STATUSES[name], NOW)
    text = "".join(f"{line}\n" for line in lines(view)) + "\n" + render_page(view, style="", script="")
    file = EXPECTED / f"{name}.txt"
    if not file.exists():
        file.write_text(text)
        pytest.fail(f"{file} was written; review it")
    assert text == file.read_text()


def test_each_reviewed_view_has_a_status():
    assert {file.stem for file in EXPECTED.iterdir()} == set(STATUSES)
