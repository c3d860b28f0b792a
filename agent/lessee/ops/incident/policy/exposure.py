"""What a leak exposes: the KV locations, the secrets engines and the leases of an environment or of one path."""

from collections.abc import Iterable

from lessee.config import Config
from lessee.core.errors import ConfigError, LesseeError, UsageError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.ops.access.policy.reach import Region

VIEWS = ("data", "metadata", "detailed-metadata", "subkeys")
"""The path prefixes under which KV version 2 returns parts of a secret."""


class Mount(ImmutableStruct, frozen=True):
    """A secrets engine; `path` ends in a slash. `version`: of KV, 0 for other engines."""

    path: str
    type: str
    version: int = 0


class KvLocation(ImmutableStruct, frozen=True):
    """A folder of KV, or one secret where `path` does not end in a slash; "" is the whole mount."""

    mount: Mount
    path: str

    @property
    def regions(self) -> tuple[Region, ...]:
        """The paths of requests for these secrets."""
        if self.mount.version == 1:
            return (Region(f"{self.mount.path}{self.path}"),)
        return tuple(Region(f"{self.mount.path}{view}/{self.path}") for view in VIEWS)


class Exposure(ImmutableStruct, frozen=True):
    """What may be known to others."""

    environment: str
    path: str | None
    """None: the whole environment."""
    locations: tuple[KvLocation, ...]
    engines: tuple[Mount, ...]
    """Secrets engines other than KV that only this environment uses."""
    lease_prefixes: tuple[str, ...]
    regions: tuple[Region, ...]
    """Access to one of them is revoked."""
    shared: tuple[KvLocation, ...] = ()
    """Folders that other environments read too; access to them is not revoked."""
    other_engines: tuple[Mount, ...] = ()
    """Secrets engines that other environments use."""


def determine_exposure(
    config: Config, environment: str, path: str | None, mounts: Iterable[Mount], dynamic_paths: Iterable[str]
) -> Exposure:
    """The exposure of the environment, or with `path` of that path in it. `dynamic_paths`: those that templates read.

    A path may be one of KV and one of an engine: then it is both (see `without_missing`). Raises ConfigError where the
    KV mount does not exist, and UsageError for a path outside the environment.
    """
    mounts = tuple(mounts)
    secrets = _kv_mount(config, mounts)
    own = tuple(mount for mount in mounts if mount.path.startswith(f"{environment}/"))
    if path is not None:
        return _exposure_of_path(config, environment, path.strip("/") + "/" * path.endswith("/"), mounts)
    locations = (
        KvLocation(secrets, config.secrets.prefix),
        *(KvLocation(mount, "") for mount in own if mount.version),
    )
    engines = tuple(mount for mount in own if not mount.version)
    own_paths = tuple(mount.path for mount in own)
    outside = sorted({name for name in dynamic_paths if not name.startswith(own_paths)})
    return Exposure(
        environment=environment,
        path=None,
        locations=locations,
        engines=engines,
        lease_prefixes=(*(mount.path for mount in engines), *outside),
        regions=(
            *(region for location in locations for region in location.regions),
            *(Region(mount.path) for mount in engines),
        ),
        shared=tuple(KvLocation(secrets, folder) for folder in config.secrets.shared_prefixes),
        other_engines=tuple(mount for mount in mounts if not mount.version and mount not in own),
    )


def _kv_mount(config: Config, mounts: tuple[Mount, ...]) -> Mount:
    wanted = f"{config.secrets.mount}/"
    for mount in mounts:
        if mount.path == wanted and mount.version:
            return mount
    found = ", ".join(mount.path for mount in mounts if mount.version) or "none"
    todo = f"correct `secrets.mount`; the KV mounts are: {found}"
    raise ConfigError([LesseeError(f"{config.secrets.mount!r} is not a KV mount of this server", todo=todo)])


def _exposure_of_path(config: Config, environment: str, path: str, mounts: tuple[Mount, ...]) -> Exposure:
    secrets = _kv_mount(config, mounts)
    first_part = path.split("/", maxsplit=1)[0]
    is_unsafe = {"", ".", ".."}.intersection(path.removesuffix("/").split("/"))
    if first_part in config.foreign_environments or is_unsafe:
        raise UsageError(f"--path {path!r} is not in {environment}", todo="name a path of this environment")
    engine = next((mount for mount in mounts if not mount.version and path.startswith(mount.path)), None)
    own = next((mount for mount in mounts if mount.version and path.startswith(mount.path)), None)
    prefix = config.secrets.prefix
    locations: tuple[KvLocation, ...]
    if own is not None and path.startswith(f"{environment}/"):
        locations = (KvLocation(own, path.removeprefix(own.path)),)
    elif path.startswith(f"{environment}/") and engine is not None:
        locations = ()
    else:
        short = path.removeprefix(secrets.path).removeprefix(prefix)
        is_shared = short.startswith(config.secrets.shared_prefixes)
        locations = (KvLocation(secrets, short if is_shared else f"{prefix}{short}"),)
    return Exposure(
        environment=environment,
        path=path,
        locations=locations,
        engines=() if engine is None else (engine,),
        lease_prefixes=() if engine is None else (path,),
        regions=(
            *(region for location in locations for region in location.regions),
            *(() if engine is None else (Region(path),)),
        ),
    )


def without_missing(exposure: Exposure, missing: Iterable[KvLocation]) -> Exposure:
    """The exposure of a path without locations that do not exist. A secret takes precedence over a shared engine.

    Raises UsageError where nothing is left.
    """
    missing = tuple(missing)
    locations = tuple(location for location in exposure.locations if location not in missing)
    is_own = f"{exposure.path}".startswith(f"{exposure.environment}/")
    engines, prefixes = (exposure.engines, exposure.lease_prefixes) if is_own or not locations else ((), ())
    if not locations and not prefixes:
        todo = "write it as in templates: database/postgres, or for an engine production/database/creds/simba"
        raise UsageError(f"--path {exposure.path!r}: no such path in {exposure.environment}", todo=todo)
    regions = (*(region for location in locations for region in location.regions), *map(Region, prefixes))
    return replace(exposure, locations=locations, engines=engines, lease_prefixes=prefixes, regions=regions)
