"""Recognizes the cluster of an audit log, so that the state of a log takes no entries of another cluster."""

from collections.abc import Iterable, Mapping

from lessee.ops.monitor.policy.access import Access


class Cluster:
    """The accessors of the cluster's permanent mounts, by the mount's type. They are learned from the log."""

    def __init__(self, known: Mapping[str, str], *, replaceable: bool = False) -> None:
        """`replaceable`: another cluster may take the place of the known one."""
        self.known = dict(known)
        self._replaceable = replaceable

    def check(self, accesses: Iterable[Access]) -> str | None:
        """Learn the cluster from its first entries. Returns why these entries are refused, if they are another's."""
        learned = dict(self.known)
        for access in accesses:
            if not access.cluster:
                continue
            name = access.cluster.rpartition("_")[0]
            known = learned.get(name)
            if known not in {None, access.cluster} and not self._replaceable:
                return (
                    f"it is the log of another cluster than the monitor's state ({access.cluster} was {known} there); "
                    "set another `monitor: {state_dir: …}`; if this cluster replaces that one, start with "
                    "--take-ownership once"
                )
            learned[name] = access.cluster
        self.known = learned
        return None
