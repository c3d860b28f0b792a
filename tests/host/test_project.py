"""Templates that cannot be read, and what the errors say."""

import pytest

from lessee.core.errors import TemplateError
from lessee.host.project import find_id, load, stamp, template_of


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


def test_an_absolute_path_names_a_template_in_the_directory_alone(tmp_path):
    folder, other = tmp_path / "lessee", tmp_path / "lessee-other"
    for one in (folder, folder / "web", other):
        one.mkdir()
        (one / "a.j2").write_text(one.name)
    (folder / "link.j2").symlink_to(other / "a.j2")
    stamps = {}
    assert template_of(folder, str(folder / "a.j2"), stamps) == "lessee"
    assert stamps == {str(folder / "a.j2"): stamp(str(folder / "a.j2"))}
    assert template_of(folder, f"{folder}/./web//a.j2") == "web"
    for outside in (other / "a.j2", folder / "../lessee-other/a.j2", folder / "link.j2", "/etc/hostname", "/"):
        with pytest.raises(TemplateError, match="the template directory"):
            template_of(folder, str(outside))


def test_names_of_users_and_groups_are_those_of_this_machine():
    assert (find_id("user", "root"), find_id("group", "root")) == (0, 0)
    assert (find_id("user", "no-such-user"), find_id("group", "no-such-group")) == (None, None)


def test_a_file_that_does_not_exist_has_no_stamp(tmp_path):
    assert stamp(str(tmp_path / "missing")) is None
    assert stamp("nul\0") is None


CONFIG = """
environment: testing
vault:
  client_cert_file: cert.pem
  client_key_file: key.pem
  auth: {method: approle, role_id: r, secret_id_file: secret_id}
status: {listen: 127.0.0.1:1, token_file: status-token}
audit_trail: {directory: /var/lib/lessee/trail, key_file: FOLDER/trail-key}
apps:
  web:
    directory: /run/secrets/web
    files: [{template: a.j2}]
    notify: {http: {url: "http://127.0.0.1:1", header_files: {Authorization: header}}}
    fallback: {last_known_good: /var/lib/lessee/web}
  own:
    directory: /run/secrets/own
    files: [{template: a.j2}]
    vault: {auth: {method: userpass, username: u, password_file: password}}
"""


@pytest.mark.parametrize(
    "name", ["secret_id", "key.pem", "status-token", "trail-key", "header", "password", "host.key", "link"]
)
def test_no_template_is_a_file_with_a_credential_of_the_agent(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lessee.yaml").write_text(CONFIG.replace("FOLDER", str(tmp_path)))
    (tmp_path / "link").symlink_to("secret_id")
    for file in ("secret_id", "key.pem", "status-token", "trail-key", "header", "password", "host.key"):
        (tmp_path / file).write_text(f"canary of {file}")
    environ = {"LESSEE_HOST_KEY_FILE": str(tmp_path / "host.key")}
    (tmp_path / "a.j2").write_text("fine")
    assert load(tmp_path / "lessee.yaml", environ).compiled_apps
    (tmp_path / "a.j2").write_text(f'{{% include "{name}" %}}')
    with pytest.raises(TemplateError, match="the template is a file with a credential of the agent"):
        load(tmp_path / "lessee.yaml", environ)
