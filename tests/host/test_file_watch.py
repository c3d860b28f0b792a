"""An edit of a configuration file or a template is noticed, however the editor writes it."""

import os
import queue
import threading

import pytest

from lessee.host import file_watch, inotify
from lessee.host.file_watch import Watcher, inotify_changes
from lessee.host.project import stamp
from lessee.host.watchfiles_changes import watchfiles_changes

PATIENCE = 60
"""Seconds until a wait fails."""
NEVER = 3600.0


class Files:
    """Some files, and their watcher."""

    def __init__(self, paths, options, changes=None):
        self._paths, self._options = paths, options
        self._changes = queue.SimpleQueue()
        self.watcher = Watcher(lambda: self._changes.put(None), changes)
        self._read()

    def _read(self):
        self.watcher.watch({str(path): stamp(str(path)) for path in self._paths}, **self._options)

    def until_noticed(self):
        """Wait for a report, and then read the files again, as a reload does."""
        self._changes.get(timeout=PATIENCE)
        self._read()


@pytest.fixture(params=[inotify_changes, watchfiles_changes])
def watch(request, monkeypatch):
    """Watches files. Only events report an edit, except for one from before the watch began."""
    monkeypatch.setattr(file_watch, "POLL", NEVER)
    watched = []

    def start(*paths, **options):
        watched.append(Files(paths, options, request.param))
        paths[0].resolve().write_text("edited before the watch began")
        watched[-1].until_noticed()
        return watched[-1]

    yield start
    for files in watched:
        files.watcher.close()


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "app.env.j2"
    path.write_text("first")
    return path


def test_an_edit_in_place_is_noticed(watch, template):
    files = watch(template)
    template.write_text("second")
    files.until_noticed()


def test_a_file_that_replaces_another_is_noticed(watch, template):
    files = watch(template)
    (template.parent / "new").write_text("second")
    (template.parent / "new").rename(template)
    files.until_noticed()


def test_a_removal_is_noticed(watch, template):
    files = watch(template)
    template.unlink()
    files.until_noticed()


def test_a_change_of_a_links_target_is_noticed(watch, tmp_path):
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1" / "lessee.yaml").write_text("first")
    (tmp_path / "lessee.yaml").symlink_to("..1/lessee.yaml")
    files = watch(tmp_path / "lessee.yaml")
    (tmp_path / "..1" / "lessee.yaml").write_text("second")
    files.until_noticed()


def test_after_a_failure_a_change_of_permissions_is_noticed(watch, template):
    files = watch(template, whole_directories=True)
    template.chmod(0o600)
    files.until_noticed()


def test_without_inotify_the_files_are_polled(template, monkeypatch):
    def refuse():
        raise OSError

    monkeypatch.setattr(file_watch, "Inotify", refuse)
    monkeypatch.setattr(file_watch, "POLL", 0.01)
    files = Files([template], {})
    for text in ("edited before the watch began", "second"):
        template.write_text(text)
        files.until_noticed()
    files.watcher.close()


def test_a_closed_watcher_closes_its_inotify_instance(template, monkeypatch):
    closed = threading.Event()
    monkeypatch.setattr(file_watch, "POLL", 0.01)
    monkeypatch.setattr(inotify.Inotify, "close", lambda self: (os.close(self.fileno()), closed.set()))
    files = Files([template], {})
    template.write_text("second")
    files.until_noticed()
    files.watcher.close()
    assert closed.wait(PATIENCE)


def test_an_instance_reports_a_missing_directory(tmp_path):
    instance = inotify.Inotify()
    with pytest.raises(FileNotFoundError):
        instance.watch(tmp_path / "missing", inotify.ANY_CHANGE)
    instance.close()


def test_an_instance_reports_the_names_of_changed_files(tmp_path):
    instance = inotify.Inotify()
    instance.watch(tmp_path, inotify.ANY_CHANGE)
    (tmp_path / "a").touch()
    (tmp_path / "with a longer name").touch()
    assert {name for _, name in instance.read()} == {b"a", b"with a longer name"}
    instance.close()


def test_the_more_files_the_less_often_they_are_checked(tmp_path):
    intervals = queue.SimpleQueue()

    def changes(_stop, _directories, interval):
        intervals.put(interval)
        yield False

    for count in (1, file_watch.FILES_PER_POLL, 10 * file_watch.FILES_PER_POLL):
        watcher = Watcher(lambda: None, changes)
        watcher.watch({str(tmp_path / f"{number}.j2"): None for number in range(count)})
        assert intervals.get(timeout=PATIENCE) == file_watch.POLL * max(1, count / file_watch.FILES_PER_POLL)
        watcher.close()
