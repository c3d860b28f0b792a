"""What an agent takes away while it is looked at is no fault."""

from pathlib import Path

import pytest

from lessee.ops.validate.checks import NotLookedError
from lessee.ops.validate.host import _permitted


def test_what_goes_away_meanwhile_could_not_be_looked_at(tmp_path):
    def look(_):
        yield Path(tmp_path, "gone").stat()

    with pytest.raises(NotLookedError, match="gone was there, and is gone: look again"):
        list(_permitted(look, None))
