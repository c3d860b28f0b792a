"""Holds every word of the errors that tests provoke: users read them whole, and a test looks at a part.

A folder's `conftest.py` calls `reviewed`; the file next to it lists the texts. Tests with random examples, and those
that try one mistake at every place (marked `long`), take no part. `REVIEW=1` adds the texts that are not there; run it
without workers, and review the difference.
"""

import json
import os

import pytest

from lessee.core.errors import LesseeError


def reviewed(file, *, below=""):
    """A fixture for the tests of a folder, or of the folders `below` in it: each error has a text of the file."""

    @pytest.fixture(autouse=True)
    def error_texts(request, monkeypatch):
        if has_many_examples(request) or f"/{below}" not in str(request.path):
            yield
            return
        found = []
        construct = LesseeError.__init__

        def recorded(error, *arguments, **named):
            construct(error, *arguments, **named)
            found.append(error)

        monkeypatch.setattr(LesseeError, "__init__", recorded)
        yield
        compare(file, [(error.what, error.todo) for error in found if error.problems == (error,)])

    return error_texts


def has_many_examples(request):
    """Whether Hypothesis chooses the examples of the test, or it is marked `long`."""
    return hasattr(request.function, "hypothesis") or request.node.get_closest_marker("long") is not None


def compare(file, texts):
    """Fails for texts that the file does not have."""
    lines = {json.dumps(text, ensure_ascii=False) for text in texts}
    known = set(file.read_text().splitlines()) if file.exists() else set()
    if new := sorted(lines - known):
        if not os.environ.get("REVIEW"):
            pytest.fail("\n".join(["not reviewed; REVIEW=1 adds it:", *new]))
        file.write_text("".join(f"{text}\n" for text in sorted(known | lines)))
