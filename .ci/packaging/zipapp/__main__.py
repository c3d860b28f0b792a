"""Unpacks lessee into a private folder, once for each version and each Python, and continues as the lessee in there.

Python imports no extension module from an archive, and lessee starts other processes of itself. The folder is what a
virtual environment is to them. A user who could write to it would run code in the agent, so it has mode 0700, and no
other user but root can replace it or a folder above it.
"""

import os
import sys

VERSION, KEY, MACHINE, PYTHONS = "@VERSION@", "@KEY@", "@MACHINE@", ("@PYTHONS@",)
VARIABLE = "LESSEE_CACHE_DIR"
_OTHERS_MAY_WRITE = 0o022
_STICKY = 0o1000
_KIND, _FOLDER = 0o170000, 0o040000


def main() -> None:
    """Replace this process. Exits with 69 (EX_UNAVAILABLE of sysexits(3)) where it cannot."""
    archive = os.path.dirname(os.path.abspath(__file__))
    python = ".".join(map(str, sys.version_info[:2]))
    machine = os.uname().machine
    if machine != MACHINE or not _has_glibc():
        _fail(f"it is for {MACHINE} with glibc, and this is {machine}", "install the wheel with pip")
    if python not in PYTHONS:
        _continue_with_another_python(archive, python)
    interpreter = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    try:
        # With the links of the name resolved, no other user can change where it leads.
        root = os.path.realpath(_root())
        os.makedirs(root, 0o700, exist_ok=True)
        folder = os.path.join(root, "-".join((VERSION, KEY, *interpreter.strip("/").split("/"))))
        if not os.path.lexists(folder):
            _check(root)
            _unpack(archive, root, folder, interpreter, python)
        _check(folder, private=True)
        program = os.path.join(folder, "bin/python")
        os.execv(program, [program, os.path.join(folder, "bin/lessee"), *sys.argv[1:]])
    except OSError as exc:
        where = exc.filename2 or exc.filename or archive
        _fail(f"{where}: {exc.strerror or exc}", f"set ${VARIABLE} to a folder of yours")


def _root() -> str:
    """The folder of all versions. Root's does not depend on $HOME, which sudo may leave as it was."""
    if chosen := os.environ.get(VARIABLE):
        if not os.path.isabs(chosen):
            _fail(f"${VARIABLE}={chosen} is relative", "write the whole path")
        return chosen
    if os.geteuid() == 0:
        return "/var/cache/lessee"
    base = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "lessee")


def _check(folder: str, *, private: bool = False) -> None:
    """Exit if a user who is neither this one nor root could change what is in the folder."""
    found = os.lstat(folder)
    if private and (found.st_uid != os.geteuid() or found.st_mode & 0o77 or found.st_mode & _KIND != _FOLDER):
        _fail(f"{folder} is not a private folder of this user", "remove it; the next start unpacks it again")
    path = folder
    while True:
        found = os.lstat(path)
        if found.st_uid not in {0, os.geteuid()}:
            _fail(f"{path} belongs to user {found.st_uid}", f"set ${VARIABLE} to a folder of yours")
        if found.st_mode & _OTHERS_MAY_WRITE and not (found.st_mode & _STICKY and path != folder):
            _fail(f"other users may write to {path}", f"run `chmod go-w {path}`, or set ${VARIABLE}")
        if path == "/":
            return
        path = os.path.dirname(path)


def _unpack(archive: str, root: str, folder: str, interpreter: str, python: str) -> None:
    """Unpack to a folder with another name, and rename it: it is complete, or not there."""
    import compileall
    import ctypes
    import shutil
    import tempfile
    import zipfile

    if os.statvfs(root).f_flag & os.ST_NOEXEC:
        _fail(f"{root} is mounted with noexec", f"set ${VARIABLE} to a folder that may have programs")
    tag = "cp" + python.replace(".", "")
    ours = ("lib/any/", f"lib/{tag}/", f"lib/python{python}/")
    umask = os.umask(0o077)
    fresh = tempfile.mkdtemp(prefix=".unpacking-", dir=root)
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(fresh, [name for name in file.namelist() if name.startswith(ours)])
            program = file.read("lessee.py").decode()
        os.mkdir(os.path.join(fresh, "bin"))
        os.symlink(interpreter, os.path.join(fresh, "bin/python"))
        home = os.path.dirname(interpreter)
        _write(os.path.join(fresh, "pyvenv.cfg"), f"home = {home}\ninclude-system-site-packages = false\n")
        # A line `#!` has at most 255 characters and no space, so a shell starts Python; to Python it is a string.
        start = f"#!/bin/sh\n'''exec' \"{folder}/bin/python\" \"$0\" \"$@\"\n' '''\n"
        _write(os.path.join(fresh, "bin/lessee"), start + program)
        os.chmod(os.path.join(fresh, "bin/lessee"), 0o700)
        # A confined agent writes no bytecode.
        compileall.compile_dir(os.path.join(fresh, "lib"), quiet=2)
        handle = os.open(fresh, os.O_RDONLY)
        ctypes.CDLL(None).syncfs(handle)
        os.close(handle)
        try:
            os.rename(fresh, folder)
        except OSError:
            if not os.path.isdir(folder):  # Another start was faster.
                raise
    finally:
        os.umask(umask)
        shutil.rmtree(fresh, ignore_errors=True)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _continue_with_another_python(archive: str, python: str) -> None:
    for version in reversed(PYTHONS):
        for folder in os.get_exec_path():
            program = os.path.join(folder, f"python{version}")
            if os.path.isabs(program) and os.access(program, os.X_OK):
                os.execv(program, [program, "-IS", archive, *sys.argv[1:]])
    _fail(f"it needs Python {PYTHONS[0]} to {PYTHONS[-1]}, and this is {python}", f"install python{PYTHONS[-1]}")


def _has_glibc() -> bool:
    try:
        return "glibc" in os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, TypeError, ValueError):
        return False


def _fail(reason: str, todo: str) -> None:
    sys.stderr.write(f"lessee.pyz: cannot start: {reason}; {todo}\n")
    sys.exit(69)


main()
