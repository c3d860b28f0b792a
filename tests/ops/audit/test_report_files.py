"""The files of regular audit reports, in a folder that other users may write into, as /tmp is."""

import stat

from lessee.ops.audit.command import schedule


def test_a_file_that_another_user_made_before_does_not_become_the_report(tmp_path):
    file = tmp_path / "report.txt"
    planted = tmp_path / ".report.txt.new"
    planted.touch()
    planted.chmod(0o666)
    with planted.open("w") as others:
        schedule._replace(file, "the report")
        others.write("another report")
    assert file.read_text() == "the report\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
