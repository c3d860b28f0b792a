"""A generation: the files of one app, rendered from one set of secrets."""

from lessee.core.record import Record


class File(Record, frozen=True):
    """A file as it is to stand in an app's directory. `uid` or `gid` None: the agent's own."""

    hidden = ("content",)

    name: str
    content: bytes
    mode: int
    uid: int | None = None
    gid: int | None = None


class Generation(Record, frozen=True):
    """The files of one app, whole."""

    app: str
    files: tuple[File, ...]
