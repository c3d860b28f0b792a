"""A check of the host that is disturbed by a running agent is skipped."""

from pathlib import Path

import pytest

from lessee.ops.validate.checks import CheckSkippedError
from lessee.ops.validate.host import _skip_unreadable


def test_a_file_that_is_removed_during_the_check_skips_it(tmp_path):
    def check(_):
        yield Path(tmp_path, "file").stat()

    with pytest.raises(CheckSkippedError, match="file was removed during the check: run it again"):
        list(_skip_unreadable(check, None))
