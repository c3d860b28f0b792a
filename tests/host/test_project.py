"""Templates that cannot be read, and what the errors say."""

import pytest

from lessee.core.errors import TemplateError
from lessee.host.project import template_of


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
