"""What of a server belongs to an environment: where its secrets lie, and which engines and leases are its own."""

from collections.abc import Iterable

from lessee.config import Config
from lessee.core.errors import ConfigError, LesseeError, UsageError
from lessee.core.immutable import Record, replace
from lessee.ops.access.policy.reach import Region

VIEWS = ("data", "metadata", "detailed-metadata", "subkeys")
"""Under which KV version 2 tells of a secret."""


class Mount(Record, frozen=True):
    """A secrets engine; `path` ends in a slash. `version` of KV, 0 of any other."""

    path: str
    type: str
    version: int = 0


class Kept(Record, frozen=True):
    """A folder of KV, or one secret where `path` ends in no slash; "" is all of the mount."""

    mount: Mount
    path: str

    @property
    def regions(self) -> tuple[Region, ...]:
        """Where it is asked for."""
        if self.mount.version == 1:
            return (Region(f"{self.mount.path}{self.path}"),)
        return tuple(Region(f"{self.mount.path}{view}/{self.path}") for view in VIEWS)


class Exposure(Record, frozen=True):
    """What is taken to be known to whom it should not be."""

    environment: str
    path: str | None
    """None: all of the environment."""
    kept: tuple[Kept, ...]
    engines: tuple[Mount, ...]
    """Other engines that are the environment's alone."""
    leased: tuple[str, ...]
    """What its leases begin with."""
    regions: tuple[Region, ...]
    """Who may read in one of them is struck."""
    shared: tuple[Kept, ...] = ()
    """Folders that it may read too, and others as well: nobody is struck for them."""
    others: tuple[Mount, ...] = ()
    """Engines that are not the environment's."""


def exposure(
    config: Config, environment: str, path: str | None, mounts: Iterable[Mount], named: Iterable[str]
) -> Exposure:
    """Of the environment or, with `path`, of what lies there in it. `named`: dynamic paths that templates read.

    Where a path may be one of KV and of an engine, it is both (see `without`). Raises ConfigError where there is no
    such KV mount, and UsageError for a path that is none of the environment's.
    """
    mounts = tuple(mounts)
    secrets = _kv(config, mounts)
    own = tuple(mount for mount in mounts if mount.path.startswith(f"{environment}/"))
    if path is not None:
        return _at(config, environment, path.strip("/") + "/" * path.endswith("/"), mounts)
    kept = (Kept(secrets, config.secrets.prefix), *(Kept(mount, "") for mount in own if mount.version))
    engines = tuple(mount for mount in own if not mount.version)
    outside = sorted({name for name in named if not name.startswith(tuple(mount.path for mount in own))})
    return Exposure(
        environment=environment,
        path=None,
        kept=kept,
        engines=engines,
        leased=(*(mount.path for mount in engines), *outside),
        regions=(*(region for one in kept for region in one.regions), *(Region(mount.path) for mount in engines)),
        shared=tuple(Kept(secrets, folder) for folder in config.secrets.shared),
        others=tuple(mount for mount in mounts if not mount.version and mount not in own),
    )


def _kv(config: Config, mounts: tuple[Mount, ...]) -> Mount:
    wanted = f"{config.secrets.mount}/"
    for mount in mounts:
        if mount.path == wanted and mount.version:
            return mount
    there = ", ".join(mount.path for mount in mounts if mount.version) or "none"
    todo = f"name it in `secrets: {{mount: …}}`; there are: {there}"
    raise ConfigError([LesseeError(f"{config.secrets.mount!r} is no KV mount of this server", todo=todo)])


def _at(config: Config, environment: str, path: str, mounts: tuple[Mount, ...]) -> Exposure:
    secrets = _kv(config, mounts)
    foreign = path.split("/", maxsplit=1)[0]
    is_odd = {"", ".", ".."}.intersection(path.removesuffix("/").split("/"))
    if foreign in config.foreign_environments or is_odd:
        raise UsageError(f"--path {path!r} is nothing of {environment}", todo="name a path of this environment")
    engine = next((mount for mount in mounts if not mount.version and path.startswith(mount.path)), None)
    own = next((mount for mount in mounts if mount.version and path.startswith(mount.path)), None)
    prefix = config.secrets.prefix
    kept: tuple[Kept, ...]
    if own is not None and path.startswith(f"{environment}/"):
        kept = (Kept(own, path.removeprefix(own.path)),)
    elif path.startswith(f"{environment}/") and engine is not None:
        kept = ()
    else:
        short = path.removeprefix(secrets.path).removeprefix(prefix)
        kept = (Kept(secrets, short if short.startswith(config.secrets.shared) else f"{prefix}{short}"),)
    return Exposure(
        environment=environment,
        path=path,
        kept=kept,
        engines=() if engine is None else (engine,),
        leased=() if engine is None else (path,),
        regions=(
            *(region for one in kept for region in one.regions),
            *(() if engine is None else (Region(path),)),
        ),
    )


def without(exposed: Exposure, gone: Iterable[Kept]) -> Exposure:
    """With `path`, what is not there is no part of it; what is there is taken before an engine that others have too.

    Raises UsageError where nothing is left.
    """
    gone = tuple(gone)
    kept = tuple(one for one in exposed.kept if one not in gone)
    is_own = f"{exposed.path}".startswith(f"{exposed.environment}/")
    engines, leased = (exposed.engines, exposed.leased) if is_own or not kept else ((), ())
    if not kept and not leased:
        todo = "write it as templates do, as in database/postgres or, of an engine, production/database/creds/simba"
        raise UsageError(f"--path {exposed.path!r}: nothing is there in {exposed.environment}", todo=todo)
    regions = (*(region for one in kept for region in one.regions), *map(Region, leased))
    return replace(exposed, kept=kept, engines=engines, leased=leased, regions=regions)
