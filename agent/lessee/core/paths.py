"""Which path in Vault a template's word means, and which paths an environment may not name."""

from lessee.core.errors import Refused
from lessee.core.record import Record


class Ref(Record, frozen=True, order=True):
    """A KV secret: `path` lies under `mount`, without `data/`; `version` None is the newest."""

    mount: str
    path: str
    version: int | None = None

    def __str__(self) -> str:
        return f"{self.mount}/{self.path}" + (f"@{self.version}" if self.version else "")

    @property
    def folder(self) -> "Folder":
        """The folder in which the secret lies; "" is the mount's root."""
        head, slash, _ = self.path.rpartition("/")
        return Folder(self.mount, head + slash)


class Folder(Record, frozen=True, order=True):
    """A KV folder; `path` is empty or ends in a slash."""

    mount: str
    path: str

    def __str__(self) -> str:
        return f"{self.mount}/{self.path}"

    def ref(self, name: str) -> Ref:
        """The secret called `name` in this folder."""
        return Ref(self.mount, self.path + name)


class Space(Record, frozen=True):
    """The paths that one environment's agent may name."""

    mount: str
    prefix: str = ""
    shared: tuple[str, ...] = ()
    foreign: frozenset[str] = frozenset()
    """First elements that belong to other environments."""

    def secret(self, literal: str, version: int | None = None) -> Ref:
        """The secret that `secret(literal)` reads. Raises Refused for a path outside the space."""
        if version is not None and version < 1:
            raise Refused(f"version={version} is no version of a secret", todo="versions start at 1")
        if not literal or literal.endswith("/"):
            todo = 'write it as secret("database/postgres")'
            raise Refused(f"{literal!r} is no path of a secret", todo=todo)
        return Ref(self.mount, self._path(literal), version)

    def folder(self, literal: str) -> Folder:
        """The folder that `secrets(literal)` reads; "" is the whole prefix.

        Raises Refused for a path outside the space.
        """
        path = literal.removesuffix("/")
        return Folder(self.mount, self._path(f"{path}/") if path else self.prefix)

    def _path(self, literal: str) -> str:
        elements = literal.removesuffix("/").split("/")
        if any(element in {"", ".", ".."} for element in elements) or not literal.isprintable():
            raise Refused(
                f"{literal!r} is no path: an element is empty, a dot, or not printable",
                todo="write elements and single slashes, without a slash in front",
            )
        if elements[0] in self.foreign:
            raise Refused(
                f"{literal!r} starts with another environment's name",
                todo="an agent reads its own environment alone; leave the name out",
            )
        if literal.startswith(self.shared):
            return literal
        if self.prefix and f"{literal}/".startswith(self.prefix):
            raise Refused(
                f"{literal!r} starts with the prefix {self.prefix!r}, which lessee itself puts in front",
                todo="leave it out",
            )
        return self.prefix + literal
