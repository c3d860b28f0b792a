"""A Compose file, so far as it concerns an agent and its apps."""

from collections.abc import Mapping

from lessee.core.immutable import ImmutableStruct, replace


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
    """A variable of a service's environment, or an argument of its build."""

    hidden = ("value",)

    value: str | None
    """As it stands there, with `${…}` in it; None: whatever who starts it has."""
    place: Place


class EnvFile(ImmutableStruct, frozen=True):
    """A file of variables, by its path."""

    path: str
    place: Place


class Mount(ImmutableStruct, frozen=True):
    """What a service sees at `target`."""

    volume: str
    """The name of a volume; empty for a folder of the host."""
    source: str
    """The folder of the host, or the one in the volume, with a slash in front."""
    target: str
    read_only: bool
    place: Place


class Service(ImmutableStruct, frozen=True):
    """What one container is started as; what is None or empty is not said here."""

    name: str
    place: Place
    image: str | None = None
    command: Words | None = None
    entrypoint: Words | None = None
    environment: Mapping[str, Variable] = {}
    env_files: tuple[EnvFile, ...] = ()
    build_args: Mapping[str, Variable] = {}
    mounts: tuple[Mount, ...] = ()
    secrets: tuple[tuple[str, Place], ...] = ()
    """Where secrets of Compose's own are mounted."""
    pid: str | None = None
    stop_signal: str | None = None
    restart: str | None = None
    alone: frozenset[str] = frozenset()
    """Fields of which nothing is left that an earlier file says."""
    gone: frozenset[tuple[str, str]] = frozenset()
    """Fields, and names in them of which nothing is left that an earlier file says."""

    @property
    def words(self) -> tuple[str, ...]:
        """What it starts, so far as its image does not say it."""
        return tuple(word for part in (self.entrypoint, self.command) if part is not None for word in part.words)

    def over(self, base: "Service") -> "Service":
        """As it is where it extends another, or comes in a later file.

        https://docs.docker.com/reference/compose-file/merge/
        """
        nothing = Service(self.name, self.place)
        base = replace(base, **{field: getattr(nothing, field) for field in self.alone})
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
            mounts=(*(mount for mount in base.mounts if mount.target not in targets), *self.mounts),
            secrets=tuple((dict(base.secrets) | dict(self.secrets)).items()),
            pid=self.pid or base.pid,
            stop_signal=self.stop_signal or base.stop_signal,
            restart=self.restart or base.restart,
            alone=self.alone | base.alone,
            gone=self.gone | base.gone,
        )

    def _merged(
        self, field: str, earlier: Mapping[str, Variable], own: Mapping[str, Variable]
    ) -> Mapping[str, Variable]:
        return {name: one for name, one in earlier.items() if (field, name) not in self.gone} | dict(own)
