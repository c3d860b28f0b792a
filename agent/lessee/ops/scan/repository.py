"""Reads a git repository by plumbing commands, without running anything that the repository names.

A configuration in `.git/config` may name programs (core.fsmonitor, diff.external, textconv, filters, hooks, credential
helpers, remote helpers), and a partial clone fetches what is missing. The commands here read objects alone: no filter,
no driver, no hook, no index refresh, no protocol.
https://git-scm.com/docs/git-config, https://github.com/justinsteven/advisories (core.fsmonitor, bare repositories)
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from lessee.core.errors import LesseeError, UsageError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.scan.contents import MAX_BYTES, PART

if TYPE_CHECKING:
    from io import BufferedReader


class Blob(ImmutableStruct, frozen=True):
    """A version of a file; without a path it is a commit's message. `before`: the version that it replaces, if any."""

    hidden = ("message",)

    commit: str
    path: str
    oid: str
    before: str = ""
    message: str = ""


class Repository:
    """The repository that a directory belongs to."""

    def __init__(self, root: Path, program: str, environ: Mapping[str, str]) -> None:
        self.root = root
        """The top of the working tree."""
        self._program = program
        self._environ = environ

    @classmethod
    def find(cls, directory: Path, environ: Mapping[str, str]) -> "Repository | None":
        """The repository of a directory; None where it belongs to none. Raises LesseeError where git cannot read it."""
        if not any((parent / ".git").exists() for parent in (directory, *directory.parents)):
            return None
        program = _find_program(environ)
        if program is None:
            raise LesseeError("git not found", where="$PATH", todo="install git, or add --no-history")
        safe = _safe(environ, is_hook=directory == Path.cwd())
        top = cls(directory, program, safe).output("rev-parse", "--show-toplevel").removesuffix(b"\n")
        return cls(Path(os.fsdecode(top)), program, safe)

    def staged(self) -> tuple[Blob, ...]:
        """What a commit would add or change: the files of the index that differ from HEAD."""
        words = [
            "diff-index",
            "--cached",
            "--raw",
            "-z",
            "--no-abbrev",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
        ]
        return tuple(self._raw([*words, self._head(), "--"]))

    def history(self, revisions: str = "") -> Iterator[Blob]:
        """Each version of each file that the commits added, oldest first: of all refs, or of `revisions`."""
        words = ["log", "--reverse", "--raw", "-z", "--no-abbrev", "--no-renames", "--diff-merges=separate", "--root"]
        words += ["--no-ext-diff", "--no-textconv", "--no-show-signature", "--no-color", "--no-mailmap"]
        words += ["--encoding=UTF-8", "--format=%H%x00%B"]
        return self._log([*words, *(["--end-of-options", revisions] if revisions else ["--all"]), "--"])

    def check_revisions(self, revisions: str) -> None:
        """Raises UsageError unless git knows these revisions, such as `origin/main..HEAD`."""
        if revisions.startswith("-") or not revisions:
            raise UsageError("not a range of commits", where="--commits", todo="write it as origin/main..HEAD")
        try:
            self.output("rev-list", "--max-count=1", "--end-of-options", revisions, "--")
        except LesseeError:
            todo = "write it as origin/main..HEAD, and fetch it (in CI, with its history: `fetch-depth: 0`)"
            raise UsageError("git does not know these commits", where="--commits", todo=todo) from None

    def is_tracked(self, path: str) -> bool:
        """Whether git has a version of the file in the index. `path`: relative to the top of the working tree."""
        return bool(self.output("ls-files", "-z", "--cached", "--", path))

    @contextmanager
    def reader(self) -> Iterator["BlobReader"]:
        """Opens a process that reads objects."""
        with self._started("cat-file", "--batch") as process:
            yield BlobReader(process)

    def _head(self) -> str:
        try:
            return self.output("rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()
        except LesseeError:  # No commit yet: the empty tree of the repository's hash function.
            return self.output("hash-object", "-t", "tree", "--stdin").decode().strip()

    def _raw(self, words: list[str]) -> Iterator[Blob]:
        with self._started(*words) as process:
            fields = _fields(process)
            for field in fields:
                if (blob := _blob("", field, next(fields, b""))) is not None:
                    yield blob
            self._check(process)

    def _log(self, words: list[str]) -> Iterator[Blob]:
        with self._started(*words) as process:
            commit, fields = "", _fields(process)
            for field in fields:
                if field.lstrip(b"\n").startswith(b":"):
                    if (blob := _blob(commit, field.lstrip(b"\n"), next(fields, b""))) is not None:
                        yield blob
                elif field:
                    commit = field.lstrip(b"\n").decode("ascii", "replace")
                    message = next(fields, b"").decode("utf-8", "replace")
                    yield Blob(commit, "", "", message=message)
            self._check(process)

    def output(self, *words: str) -> bytes:
        """What a command of git prints. Raises LesseeError where it fails."""
        done = subprocess.run(
            self._words(words),
            cwd=self.root,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
        )
        if done.returncode:
            raise self._error(done.stderr)
        return done.stdout

    @contextmanager
    def _started(self, *words: str) -> "Iterator[subprocess.Popen[bytes]]":
        pipe = subprocess.PIPE
        with subprocess.Popen(
            self._words(words), cwd=self.root, env=self._environ, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _check(self, process: "subprocess.Popen[bytes]") -> None:
        if process.wait(_PATIENCE):
            raise self._error(b"")

    def _words(self, words: tuple[str, ...]) -> list[str]:
        return [self._program, *_OPTIONS, *words]

    def _error(self, said: bytes) -> LesseeError:
        what, todo = "git cannot read the repository", "see `git -C DIR fsck`, or add --no-history"
        if b"dubious ownership" in said:
            what = "the repository belongs to another user, so git does not read it"
            todo = f"if you trust it: `git config --global --add safe.directory {self.root}`; or add --no-history"
        return LesseeError(what, where=str(self.root), todo=todo)


class BlobReader:
    """Reads objects by their names from one `git cat-file --batch`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked: IO[bytes] = process.stdin
        self._answered: IO[bytes] = process.stdout
        self._left = 0

    def open(self, oid: str) -> int | None:
        """Begin to read a blob; returns its size, or None if it is missing or too large. `read` returns its content."""
        self._skip(self._left)
        self._asked.write(f"{oid}\n".encode())
        self._asked.flush()
        header = self._answered.readline().split()
        if len(header) != _HEADER or header[1] == b"missing":
            self._left = 0
            return None
        size = int(header[2])
        self._left = size + 1  # A newline follows each object.
        return size if header[1] == b"blob" and size <= MAX_BYTES else None

    def read(self, size: int) -> bytes:
        """The next bytes of the blob, at most `size`; empty at its end."""
        content = self._answered.read(min(size, max(0, self._left - 1)))
        self._left -= len(content)
        return content

    def _skip(self, size: int) -> None:
        while size > 0 and (content := self._answered.read(min(size, PART))):
            size -= len(content)


def _fields(process: "subprocess.Popen[bytes]") -> Iterator[bytes]:
    """What git prints between its zero bytes."""
    assert process.stdout is not None
    rest = b""
    output = cast("BufferedReader", process.stdout)
    while piece := output.read1(_PIECE):
        *whole, rest = (rest + piece).split(b"\0")
        yield from whole
        if len(rest) > _LONGEST:
            raise LesseeError("git printed a name that is too long", where="git", todo="see `git fsck`")
    if rest:
        yield rest


def _blob(commit: str, raw: bytes, path: bytes) -> Blob | None:
    """A file of a line of `--raw`, https://git-scm.com/docs/git-diff#_raw_output_format; None if it is no file."""
    words = raw.removeprefix(b":").split()
    if len(words) < _RAW:
        return None
    is_file = words[1].startswith((b"100", b"120"))  # Regular files, and links, whose targets are short texts.
    before = words[2].decode() if words[0].startswith(b"100") and words[2].strip(b"0") else ""
    if not is_file and not before:
        return None
    return Blob(commit, path.decode(errors="surrogateescape"), words[3].decode() if is_file else "", before)


def _find_program(environ: Mapping[str, str]) -> str | None:
    """Git from absolute directories of $PATH alone: another one may be the scanned directory."""
    folders = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if folder.startswith("/")]
    return shutil.which("git", path=os.pathsep.join(folders))


def _safe(environ: Mapping[str, str], *, is_hook: bool) -> dict[str, str]:
    """The environment of git. What git sets for its hooks counts only in the directory where it runs them."""
    return {name: value for name, value in environ.items() if is_hook or name not in _OF_HOOKS} | _SAFE


_OF_HOOKS = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_PREFIX",
    }
)
"""What git sets for a hook (githooks(5)): the index of a partial commit, and the quarantine of a push."""
_SAFE = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_PAGER": "cat",
    "GIT_ATTR_NOSYSTEM": "1",
    "LC_ALL": "C",
}
_OPTIONS = [
    "--no-pager",
    "--literal-pathspecs",
    *(
        word
        for setting in (
            "core.fsmonitor=false",
            f"core.hooksPath={os.devnull}",
            "core.pager=cat",
            "core.commitGraph=false",
            f"core.attributesFile={os.devnull}",
            "core.quotePath=false",
            f"diff.orderFile={os.devnull}",
            "diff.ignoreSubmodules=all",
            "log.showSignature=false",
            "log.showRoot=true",
            "log.follow=false",
            "gc.auto=0",
            "maintenance.auto=false",
            "credential.helper=",
            "protocol.allow=never",
            "submodule.recurse=false",
        )
        for word in ("-c", setting)
    ),
]
_PATIENCE = 300.0
"""Seconds for one answer."""
_PIECE = 1 << 16
_LONGEST = 16 << 20
"""Bytes of a name or a commit's message."""
_HEADER = 3
_RAW = 5
