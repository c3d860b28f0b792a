"""Reads in proc_pid_cgroup(5) in which container or systemd unit a process runs."""

import re
from collections.abc import Iterator

# docker/ID, docker-ID.scope, ../ID, libpod-ID.scope/container; but conmon watches a container from outside.
_ID = re.compile(r"(?<![0-9a-f])(?<!conmon-)[0-9a-f]{64}(?![0-9a-f])")
_UNIT = re.compile(r"/system\.slice/(?:[^/]+\.slice/)*([^/]+\.service)(?:/.*)?")


def container_of(cgroup: str) -> str | None:
    """The id of the innermost container; None outside of all, or if the hierarchies name several."""
    found = {ids[-1] for _, path in places_in(cgroup) if (ids := _ID.findall(path))}
    return found.pop() if len(found) == 1 else None


def unit_of(cgroup: str) -> str | None:
    """The service of the system's own systemd; None in a container, and in a unit of a user."""
    places = dict(places_in(cgroup))
    if any(_ID.search(path) for path in places.values()):
        return None
    # With cgroup v1, systemd has a hierarchy of its own, and with v2 the only one.
    candidates = (_UNIT.fullmatch(places.get(name, "")) for name in ("name=systemd", ""))
    units = {found[1] for found in candidates if found}
    return units.pop() if len(units) == 1 else None


def is_inside(cgroup: str, container: str, first: str) -> bool:
    """Whether a process is in the container whose first process, as the engine names it, has the cgroup `first`.

    A user to whom systemd has delegated a subtree can name cgroups in it like those of any container.
    """
    own, its = (_roots(text, container) for text in (cgroup, first))
    return bool(its) and own == its


def _roots(cgroup: str, container: str) -> dict[str, str]:
    """The cgroup of the container itself in each hierarchy."""
    roots = {}
    for controllers, path in places_in(cgroup):
        head, found, rest = path.rpartition(container)
        if found:
            roots[controllers] = head + found + rest.partition("/")[0]
    return roots


def places_in(cgroup: str) -> Iterator[tuple[str, str]]:
    """The controllers of each hierarchy, and the path in it; those of version 2 have no name."""
    for line in cgroup.split("\n"):
        _, _, rest = line.partition(":")
        controllers, found, path = rest.partition(":")
        if found:
            yield controllers, path
