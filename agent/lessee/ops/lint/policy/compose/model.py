"""The parts of a Compose file that concern an agent and its apps."""

import re
from collections.abc import Mapping

from lessee.core.immutable import ImmutableStruct, replace

COLON = re.compile(r":(?![^{]*\})")
"""A colon, but not the one before a default in `${…}`."""
_ROOT: Mapping[str, str] = {"root": "0"}
"""The only user with the same uid in every image."""


class Place(ImmutableStruct, frozen=True):
    """A line of a file."""

    file: str
    line: int


class Words(ImmutableStruct, frozen=True):
    """A command or an entrypoint."""

    hidden = ("words",)

    words: tuple[str, ...]
    place: Place


class Variable(ImmutableStruct, frozen=True):
    """A variable of a service's environment, a label of it, or an argument of its build."""

    hidden = ("value",)

    value: str | None
    """The value in the file, with `${…}` unresolved; None: taken from the environment of `docker compose`."""
    place: Place


class EnvFile(ImmutableStruct, frozen=True):
    """A file of variables, by its path."""

    path: str
    place: Place


class Mount(ImmutableStruct, frozen=True):
    """A mount of a service at `target`."""

    volume: str
    """The name of a volume; empty for a directory of the host."""
    source: str
    """The directory of the host, or of the volume with a leading slash."""
    target: str
    read_only: bool
    place: Place


class Dependency(ImmutableStruct, frozen=True):
    """What a service waits for before it starts."""

    condition: str
    place: Place


class Volume(ImmutableStruct, frozen=True):
    """A named volume of the project."""

    name: str
    place: Place
    is_external: bool = False
    options: Mapping[str, str] = {}
    """Its `driver_opts`."""

    @property
    def is_tmpfs(self) -> bool:
        """Whether its files are in memory."""
        return self.options.get("type") == "tmpfs"


class Service(ImmutableStruct, frozen=True):
    """A service; fields that the file does not set are None or empty."""

    name: str
    place: Place
    image: str | None = None
    command: Words | None = None
    entrypoint: Words | None = None
    environment: Mapping[str, Variable] = {}
    env_files: tuple[EnvFile, ...] = ()
    build_args: Mapping[str, Variable] = {}
    labels: Mapping[str, Variable] = {}
    mounts: tuple[Mount, ...] = ()
    secrets: tuple[tuple[str, Place], ...] = ()
    """The mount paths of Compose's own secrets."""
    user: str | None = None
    """The user and the group, by names or in numbers, with `${…}` unresolved."""
    pid: str | None = None
    stop_signal: str | None = None
    restart: str | None = None
    """The restart policy, also that of `deploy`."""
    networks: tuple[str, ...] = ()
    depends_on: Mapping[str, Dependency] = {}
    is_built: bool = False
    has_healthcheck: bool = False
    replaced: frozenset[str] = frozenset()
    """Fields that replace those of earlier files instead of being merged."""
    reset: frozenset[tuple[str, str]] = frozenset()
    """Fields, and names in them, that are removed from those of earlier files."""

    @property
    def uid(self) -> str | None:
        """The user alone, in digits or by name; None: it is the image's, or not in the file."""
        name = COLON.split(self.user or "")[0]
        return None if not name or "$" in name else _ROOT.get(name, name)

    @property
    def words(self) -> tuple[str, ...]:
        """The entrypoint and the command, without those of the image."""
        return tuple(word for part in (self.entrypoint, self.command) if part is not None for word in part.words)

    def over(self, base: "Service") -> "Service":
        """The service merged over `base`, which it extends, or which an earlier file has.

        https://docs.docker.com/reference/compose-file/merge/
        """
        nothing = Service(self.name, self.place)
        base = replace(base, **{field: getattr(nothing, field) for field in self.replaced})
        targets = {mount.target for mount in self.mounts}
        return replace(
            base,
            name=self.name,
            place=self.place,
            image=self.image or base.image,
            command=self.command or base.command,
            entrypoint=self.entrypoint or base.entrypoint,
            environment=self._merged("environment", base.environment, self.environment),
            env_files=base.env_files + self.env_files,
            build_args=self._merged("build_args", base.build_args, self.build_args),
            labels=self._merged("labels", base.labels, self.labels),
            mounts=(*(mount for mount in base.mounts if mount.target not in targets), *self.mounts),
            secrets=tuple((dict(base.secrets) | dict(self.secrets)).items()),
            user=self.user or base.user,
            pid=self.pid or base.pid,
            stop_signal=self.stop_signal or base.stop_signal,
            restart=self.restart or base.restart,
            networks=tuple(dict.fromkeys((*base.networks, *self.networks))),
            depends_on=dict(base.depends_on) | dict(self.depends_on),
            is_built=self.is_built or base.is_built,
            has_healthcheck=self.has_healthcheck or base.has_healthcheck,
            replaced=self.replaced | base.replaced,
            reset=self.reset | base.reset,
        )

    def _merged(
        self, field: str, earlier: Mapping[str, Variable], own: Mapping[str, Variable]
    ) -> Mapping[str, Variable]:
        return {name: item for name, item in earlier.items() if (field, name) not in self.reset} | dict(own)
