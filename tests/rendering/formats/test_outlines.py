"""An outline is bounded: a path repeats the names above its node."""

import pytest

from lessee.core.errors import FormatError
from lessee.rendering.formats import outline
from lessee.rendering.formats.outlines import MAX_OUTLINE, collected

LONG = "n" * 1_000
MANY = 4_500
TEXTS = {
    "json": f'{{"{LONG}": [{", ".join(["1"] * MANY)}]}}',
    "yaml": f"{LONG}:\n" + "- 1\n" * MANY,
    "toml": f"{LONG} = [{', '.join(['1'] * MANY)}]\n",
    "xml": f"<{LONG}>{'<b/>' * MANY}</{LONG}>",
    "nginx": f"{LONG} {{ {'b on; ' * MANY} }}",
}


@pytest.mark.parametrize("name", TEXTS)
def test_an_outline_that_would_be_much_larger_than_its_file_is_rejected(name):
    with pytest.raises(FormatError, match="the outline has more than 4 MiB"):
        outline(TEXTS[name], name)
    fewer = TEXTS[name].replace(LONG, "n")
    assert len(outline(fewer, name)) >= MANY


def test_each_line_counts_with_its_end():
    line = "x" * (MAX_OUTLINE // 2 - 1)
    assert collected([line, line]) == (line, line)
    with pytest.raises(FormatError):
        collected([line, line, ""])
