"""A generation: the files of one app, rendered from one set of secrets."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is to stand in an app's directory. `uid` or `gid` None: the agent's own."""

    name: str
    content: bytes = field(repr=False)
    mode: int
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """The files of one app, whole."""

    app: str
    files: tuple[File, ...]
