"""What another program may do to an app's published files `a.txt` and `b.txt`, of mode 0640."""

import os
import shutil
import stat
import subprocess


def is_right(directory, uid=0):
    """Whether readers see the published files, with their modes, by links, in a directory of the right mode."""
    try:
        places, files = (directory, live(directory)), [directory / name for name in ("a.txt", "b.txt")]
        return (
            all((stat.S_IMODE(place.stat().st_mode), place.stat().st_uid) == (0o750, uid) for place in places)
            and [str(file.readlink()) for file in files] == ["..data/a.txt", "..data/b.txt"]
            and [file.read_text() for file in files] == ["right a.txt\n", "right b.txt\n"]
            and {(stat.S_IMODE(file.stat().st_mode), file.stat().st_uid) for file in files} == {(0o640, uid)}
        )
    except OSError:
        return False


def live(directory):
    """The folder of the live generation."""
    return directory / (directory / "..data").readlink()


def replaced(path, content):
    """Replace a file by another one, as editors do."""
    other = path.with_name("other")
    other.write_text(content)
    other.rename(path)


def appended(path):
    with path.open("a") as file:
        file.write("more")


def relinked(path, target):
    path.unlink()
    path.symlink_to(target)


def old_generation(directory):
    """A folder with the name of a generation that this agent never published."""
    old = directory / "..lessee-1-00000000"
    shutil.copytree(live(directory), old, dirs_exist_ok=True)
    (old / "a.txt").write_text("old")
    return old.name


def moved(path):
    path.rename(path.with_name(f"..elsewhere{os.urandom(4).hex()}"))


def directory_in_place_of_link(directory):
    (directory / "a.txt").unlink()
    (directory / "a.txt").mkdir()


def directory_in_place_of_data(directory):
    (directory / "..data").unlink()
    (directory / "..data").mkdir()
    (directory / "..data/a.txt").write_text("planted")


WAYS = {
    "file deleted": (lambda to: (live(to) / "a.txt").unlink(), "a.txt: removed", True),
    "file altered": (lambda to: (live(to) / "a.txt").write_text("wrong"), "a.txt: altered", True),
    "file altered at its end": (lambda to: appended(live(to) / "a.txt"), "a.txt: altered", True),
    "file altered in one byte": (lambda to: (live(to) / "a.txt").write_text("wrong a.txt\n"), "a.txt: altered", True),
    "file replaced": (lambda to: replaced(live(to) / "a.txt", "wrong"), "a.txt: altered", True),
    "file is a link": (lambda to: relinked(live(to) / "a.txt", "/etc/hostname"), "a.txt: replaced", True),
    "file's mode": (lambda to: (live(to) / "a.txt").chmod(0o644), "a.txt: mode 0644 instead of 0640", False),
    "file's owner": (lambda to: os.chown(live(to) / "a.txt", 4321, 0), "a.txt: owner 4321:0 instead of 0:0", False),
    "link deleted": (lambda to: (to / "a.txt").unlink(), "a.txt: removed", True),
    "link elsewhere": (lambda to: relinked(to / "a.txt", "/etc/hostname"), "a.txt: leads elsewhere", True),
    "link replaced": (lambda to: replaced(to / "a.txt", "wrong"), "a.txt: replaced", True),
    "link copied": (lambda to: replaced(to / "a.txt", "right a.txt\n"), "a.txt: replaced", False),
    "link is a directory": (directory_in_place_of_link, "a.txt: replaced", True),
    "data deleted": (lambda to: (to / "..data").unlink(), "..data: removed", True),
    "data elsewhere": (
        lambda to: relinked(to / "..data", old_generation(to)), "..data: leads elsewhere", True
    ),
    "data at a foreign place": (
        lambda to: relinked(to / "..data", "/etc"), "..data: leads elsewhere", True
    ),
    "data is a directory": (directory_in_place_of_data, "..data: replaced", True),
    "generation deleted": (lambda to: shutil.rmtree(live(to)), ": removed", True),
    "generation renamed": (lambda to: moved(live(to)), ": removed", True),
    "generation's mode": (lambda to: live(to).chmod(0o700), ": mode 0700 instead of 0750", False),
    "generation's owner": (lambda to: os.chown(live(to), 4321, 0), ": owner 4321:0 instead of 0:0", False),
    "directory's mode": (
        lambda to: to.chmod(0o700), "the directory: mode 0700 instead of 0750", False
    ),
    "directory's owner": (
        lambda to: os.chown(to, 0, 0), "the directory: owner 0:0 instead of 4321:0", False
    ),
    "directory deleted": (shutil.rmtree, "the directory: removed", True),
    "directory renamed": (moved, "the directory: removed", True),
    "everything in the directory deleted": (
        lambda to: subprocess.run(["find", to, "-mindepth", "1", "-delete"], check=True), ": removed", True
    ),
}  # fmt: skip
"""By name: what does it to a directory, what of it is reported, and whether readers may have read something else.

The app's `owner` is 4321:0 where the directory's owner is changed, and else the agent's own.
"""
