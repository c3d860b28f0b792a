"""Decides whether a process belongs to an app: a process of another user gets no signal."""

import os

from lessee.config import Notify
from lessee.core.immutable import ImmutableStruct
from lessee.host import procfs


class AppUsers(ImmutableStruct, frozen=True):
    """The users as which an app may run: these uids, and the members of these groups."""

    uids: frozenset[int]
    gids: frozenset[int] = frozenset()

    def objection(self, pid: int) -> str:
        """Why this process is not the app's, with what to do about it; empty where it is, or has ended."""
        try:
            process = procfs.credentials(pid)
        except OSError:
            return ""
        if process.uid in self.uids or not self.gids.isdisjoint(process.groups):
            return ""
        todo = f"if it is the app, write `uid: {process.uid}` in `notify`"
        return f"process {pid} runs as uid {process.uid}, and the app as {self}; {todo}"

    def __str__(self) -> str:
        uids, gids = (", ".join(map(str, sorted(ids))) for ids in (self.uids, self.gids))
        return f"uid {uids}" + (f" or with gid {gids}" if gids else "")


def users_of(settings: Notify) -> AppUsers:
    """Those who own the app's files or read them by their group, unless the configuration names a uid.

    The group counts only for files of root and of the agent: an app that owns its files is known by its uid.
    """
    if settings.uid is not None:
        return AppUsers(frozenset({settings.uid}))
    agent, group = os.geteuid(), os.getegid()
    uids, gids = set[int](), set[int]()
    for owner in settings.owners or (None,):
        uid, gid = owner or (agent, None)
        uids.add(uid)
        if uid in {0, agent}:
            gids.add(group if gid is None else gid)
    return AppUsers(frozenset(uids), frozenset(gids))
