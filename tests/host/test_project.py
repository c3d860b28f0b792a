"""Templates that cannot be read, and what the errors say."""

import pytest

from lessee.core.errors import TemplateError
from lessee.host.project import stamp, template_of


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("app.evn.j2", "did you mean app.env.j2? "), ("web/app.evn.j2", "did you mean web/app.env.j2? "), ("x.j2", "")],
)
def test_a_missing_template_is_reported_with_a_similar_name(tmp_path, name, suggestion):
    (tmp_path / "web").mkdir()
    for existing in ("app.env.j2", "web/app.env.j2"):
        (tmp_path / existing).touch()
    with pytest.raises(TemplateError) as failed:
        template_of(tmp_path, name)
    assert (failed.value.what, failed.value.where) == ("template not found", str(tmp_path / name))
    assert failed.value.todo == f"{suggestion}paths are relative to the configuration's directory, or to template_dir"


def test_a_template_of_any_size_is_read_with_its_stamp_and_unix_line_ends(tmp_path):
    lines = [f"line {number} ü" for number in range(20_000)]
    path = tmp_path / "a.j2"
    path.write_bytes("\r\n".join(lines).encode() + b"\rend\n")
    stamps = {}
    assert template_of(tmp_path, "a.j2", stamps) == path.read_text() == "\n".join([*lines, "end", ""])
    assert stamps == {str(path): stamp(str(path))}
    path.write_text("edited")
    assert stamps != {str(path): stamp(str(path))}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("folder", "the template cannot be read: Is a directory"),
        ("loop", "the template cannot be read: Too many levels of symbolic links"),
        ("latin1", "the template is not UTF-8 text"),
        ("nul\0", r"'nul\x00' is not a valid name of a template"),
        ("surrogate\ud800", r"'surrogate\ud800' is not a valid name of a template"),
        ("../a", "the template '../a' is outside the template directory"),
        ("/a", "the template '/a' is outside the template directory"),
    ],
)
def test_a_template_that_cannot_be_read_is_an_error_that_says_why(tmp_path, name, what):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "latin1").write_bytes(b"\xfc")
    with pytest.raises(TemplateError) as failed:
        template_of(tmp_path, name, {})
    assert failed.value.what == what


def test_a_file_that_does_not_exist_has_no_stamp(tmp_path):
    assert stamp(str(tmp_path / "missing")) is None
    assert stamp("nul\0") is None
