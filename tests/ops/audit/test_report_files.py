"""The files of regular audit reports, in a folder that other users may write into, as /tmp is."""

import stat

from lessee.core.generation import File, Generation
from lessee.publishing.plain_files import write_plain_files


def test_a_file_that_another_user_has_opened_before_does_not_become_the_report(tmp_path):
    tmp_path.chmod(0o1777)
    file = tmp_path / "report.txt"
    file.touch(0o666)
    file.chmod(0o666)
    with file.open("w") as others:
        write_plain_files(tmp_path, Generation("report", (File("report.txt", b"the report\n", 0o600),)))
        others.write("another report")
    assert file.read_text() == "the report\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
