"""The scratch server starts with the installed module."""

from lessee.ops.backup.scratch_server import scratch_server


def test_modules_in_the_current_directory_are_not_run(tmp_path, monkeypatch):
    package = tmp_path / "lessee" / "process"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "network_namespace.py").write_text("import pathlib; pathlib.Path('taken').touch()")
    monkeypatch.chdir(tmp_path)
    with scratch_server() as client:
        assert client.list("sys/policies/acl") == ("default", "root")
    assert not (tmp_path / "taken").exists()
