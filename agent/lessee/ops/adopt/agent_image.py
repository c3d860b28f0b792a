"""The image of agent and rotator: the Engine's, or one that is built from this installation of lessee.

The build copies installed files onto an image with the same Python, so it needs no package index.
"""

import hashlib
import io
import marshal
import struct
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib import metadata
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from types import CodeType
from typing import IO

import lessee
from lessee.core.errors import UsageError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.adopt.policy.installation import Needed, needed
from lessee.ops.adopt.stack import Stack

IMAGE = "lessee"
"""The image that adopt builds where none is named."""
EXTRAS_LABEL, _CONTENT_LABEL = "lessee.extras", "lessee.content"
_CLIENTS = "rotate"
"""The extra with the clients of stores."""
_NAME = "lessee"
_DOCKERFILE = Path(__file__).with_name("Dockerfile")
_PROGRAM = b"#!/opt/lessee/bin/python\nimport sys\nfrom lessee.cli import main\nsys.exit(main())\n"
_PACKAGES = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
_OF_ONE_INSTALLATION = {"direct_url.json", "REQUESTED", "RECORD"}
"""Files of a dist-info folder that say where and how it was installed here."""


class AgentImage(ImmutableStruct, frozen=True):
    """The image of a plan. `base` is empty where nothing is to be built."""

    reference: str
    base: str = ""
    is_pulled: bool = False
    """Whether the Engine lacks the base image."""
    can_rotate: bool = False
    reason: str = ""
    """Why it is built."""
    problem: UsageError | None = None

    def lines(self) -> Iterator[str]:
        """What a person should know of it before they agree."""
        if self.base and self.problem is None:
            more = " and the clients of stores" if self.can_rotate else ""
            pulled = ", which Docker pulls" if self.is_pulled else ""
            yield f"an image that adopt builds, because {self.reason}:"
            yield f"  + {self.reference}: this installation of lessee{more}, on {self.base}{pulled}"

    def require(self) -> None:
        """Raises UsageError where it can be neither used nor built."""
        if self.problem is not None:
            raise self.problem


def find_image(stack: Stack, reference: str, *, may_build: bool, rotates: bool, base: str | None) -> AgentImage:
    """The image, or what it is to be built from. Raises StackError if the Engine does not answer.

    `may_build`: the user has not named it. `rotates`: this run needs the clients of stores. `base`: in place of
    `python:X.Y-slim`.
    """
    labels = stack.image_labels(reference)
    reason = _reason(labels, rotates=rotates)
    if not may_build:
        return AgentImage(reference, problem=_unfit(reference, reason, rotates=rotates) if reason else None)
    if labels is not None and labels.get(_CONTENT_LABEL, _content()) != _content():
        reason = "the Engine's is of another version"
    if not reason:
        return AgentImage(reference)
    base = base or f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    found = _installed()
    can_rotate = not _with_clients().missing
    problem = None
    if found.missing:
        todo = "install lessee with pip into a venv, or name an image with --image"
        what = f"the image cannot be built from this installation: pip did not install {', '.join(found.missing)}"
        problem = UsageError(what, where=reference, todo=todo)
    elif rotates and not can_rotate:
        todo = "install them in a clone of lessee's repository: `pip install '.[demo,rotate]'`, and run this again"
        what = f"this installation lacks what rotates passwords: {', '.join(_with_clients().missing)}"
        problem = UsageError(what, where=reference, todo=todo)
    is_pulled = stack.image_labels(base) is None
    return AgentImage(reference, base, is_pulled, can_rotate, reason, problem)


def build(stack: Stack, image: AgentImage, say: Callable[[str], None]) -> None:
    """Build it, if it is to be built. Raises UsageError and StackError."""
    if not image.base:
        return
    say(f"building the image {image.reference}")
    arguments = {
        "BASE_IMAGE": image.base,
        "EXT_SUFFIX": sysconfig.get_config_var("EXT_SUFFIX"),
        "EXTRAS": _CLIENTS if image.can_rotate else "",
        "CONTENT": _content(),
    }
    with TemporaryFile() as context:
        try:
            _write(context, _with_clients() if image.can_rotate else _installed())
        except OSError as exc:
            todo = "install lessee again, and run this again: it continues"
            what = f"the image cannot be built from this installation: {exc.strerror}"
            raise UsageError(what, where=str(exc.filename or image.reference), todo=todo) from None
        context.seek(0)
        stack.build_image(image.reference, context, arguments)


def _write(context: IO[bytes], found: Needed) -> None:
    """Write the archive with the Dockerfile and what it copies."""
    with tarfile.open(fileobj=context, mode="w") as archive:
        _add(archive, "Dockerfile", _DOCKERFILE.read_bytes())
        for name, path in _files(found):
            _add(archive, f"lessee/{_PACKAGES}/{name}", path.read_bytes(), mtime=int(path.stat().st_mtime))
            if path.suffix == ".py" and (bytecode := bytecode_of(path, f"/opt/lessee/{_PACKAGES}/{name}")) is not None:
                folder, cache = PurePosixPath(name).parent, Path(cache_from_source(str(path))).name
                _add(archive, f"lessee/{_PACKAGES}/{folder}/__pycache__/{cache}", bytecode)
        _add(archive, "lessee/bin/lessee", _PROGRAM, mode=0o755)


def bytecode_of(path: Path, target: str) -> bytes | None:
    """What pip has compiled of a module, for its new place; None if it is not up to date.

    The image need not compile it then, which takes most of the time of a build.
    """
    try:
        content, status = Path(cache_from_source(str(path))).read_bytes(), path.stat()
    except (OSError, NotImplementedError):
        return None
    stamp = struct.pack("<4sLLL", MAGIC_NUMBER, 0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    if not content.startswith(stamp):
        return None
    code = marshal.loads(content[len(stamp) :])  # noqa: S302  # This Python would run the same bytes.
    return stamp + marshal.dumps(_moved(code, target))


def _moved(code: CodeType, target: str) -> CodeType:
    """The same code without the name of its file on this machine."""
    constants = tuple(_moved(one, target) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_filename=target, co_consts=constants)


def _reason(labels: object, *, rotates: bool) -> str:
    if labels is None:
        return "the Engine has none"
    assert isinstance(labels, dict)
    if rotates and _CLIENTS not in labels.get(EXTRAS_LABEL, "").split(","):
        return "the Engine's has no clients of stores"
    return ""


def _unfit(reference: str, reason: str, *, rotates: bool) -> UsageError:
    more = f" --build-arg EXTRAS={_CLIENTS}" if rotates else ""
    todo = f"build it in lessee's repository: `docker build -f compose/Dockerfile{more} -t {reference} .`"
    return UsageError(f"{reason}; adopt builds an image only without --image", where=reference, todo=todo)


def _files(found: Needed) -> Iterator[tuple[str, Path]]:
    """The files of these distributions, with their paths below `site-packages`."""
    yield from _own_files()
    for name in found.installed:
        distribution = metadata.distribution(name)
        for path in distribution.files or ():
            if ".." in path.parts or path.is_absolute() or path.suffix == ".pyc" or _is_of_one_installation(path):
                continue
            if name != _NAME or path.parts[0].endswith(".dist-info"):
                yield str(path), Path(str(path.locate()))


def _own_files() -> Iterator[tuple[str, Path]]:
    """The package from where it is: `pip install --editable` lists no file of it."""
    folder = Path(lessee.__file__).parent
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(folder.parent)), path


def _is_of_one_installation(path: PurePosixPath) -> bool:
    return path.parts[0].endswith(".dist-info") and path.name in _OF_ONE_INSTALLATION


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644, mtime: int = 0) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), mode, mtime
    archive.addfile(member, io.BytesIO(content))


@cache
def _installed() -> Needed:
    return needed(_NAME, (), _requires)


@cache
def _with_clients() -> Needed:
    return needed(_NAME, (_CLIENTS,), _requires)


def _requires(name: str) -> list[str] | None:
    """What an installed distribution requires; None without one whose files pip has recorded."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    return None if distribution.files is None else distribution.requires or []


@cache
def _content() -> str:
    """Another text for another version of lessee or of what it requires."""
    found = hashlib.sha256()
    for name, path in _own_files():
        content = path.read_bytes()
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    found.update(repr([(name, metadata.version(name)) for name in _with_clients().installed]).encode())
    return found.hexdigest()
