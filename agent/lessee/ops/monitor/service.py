"""What the monitor is made of, as the configuration says: the logs it reads, and who hears of what is in them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lessee.config import Config
from lessee.config.grammar.operator import Audit, Monitor
from lessee.config.monitor import sources
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import Record
from lessee.host.project import read
from lessee.ops.monitor.alert_sink import Alerting, check_zones
from lessee.ops.monitor.audit_socket import FromSocket
from lessee.ops.monitor.checkpoint import Standing
from lessee.ops.monitor.counters import Counting
from lessee.ops.monitor.sink import Sink
from lessee.ops.monitor.sources import FromFile, FromStdin, Post, Source

STDIN = "stdin"


class Project(Record, frozen=True):
    """A configuration in force."""

    path: Path
    config: Config
    monitor: Monitor
    logs: Mapping[str, Audit]
    """By name."""

    def log_of(self, name: str) -> str:
        """What is read under this name: a file, where one listens, or stdin."""
        said = self.logs[name]
        return str(self.path.parent / said.file) if said.file is not None else said.socket or STDIN


def load(path: Path, environ: Mapping[str, str]) -> Project:
    """Raises ConfigError. Vault is not asked, and no login is needed: what is read is the log alone."""
    config = read(path, environ, blocks=("monitor",))
    if config.monitor is None:
        todo = "add `monitor:`, or name another configuration with --config"
        raise ConfigError([LesseeError("it has no audit log to read", where=str(path), todo=todo)])
    check_zones(config.monitor)
    return Project(path, config, config.monitor, sources(config.monitor))


Logs = Callable[[], Sequence[Mapping[str, Any]]]
"""How each log is at this moment: by `name`, `error` (None: it can be read) and `last_at`."""


def sinks(project: Project, logs: Logs) -> list[Sink]:
    """Who hears of each access, in this order."""
    said, environment = project.monitor, project.config.environment
    return [
        Counting(),
        *_publishing(project, logs),  # Agents wait for it.
        Alerting(said, environment=environment, folder=Path(said.state), near=project.path.parent, sources=logs),
    ]


def _publishing(project: Project, logs: Logs) -> Iterator[Sink]:
    said = project.monitor
    if urls := said.publish:
        # Imported where it is wanted.
        from lessee.ops.monitor.change_publisher import Publishing  # noqa: PLC0415

        places = (urls,) if isinstance(urls, str) else urls

        def sees() -> bool:
            return all(not log["error"] for log in logs())

        yield Publishing(places, project.config.setup.environments, sees, said.heartbeat)


def source(project: Project, name: str, standing: Standing, post: Post, *, once: bool) -> Source:
    """The log of this name, from where it was read to. Raises WriteError where one cannot listen for it."""
    said, log = project.logs[name], project.log_of(name)
    if said.file is not None:
        from_end = project.monitor.begin == "end"
        return FromFile(name, Path(log), standing.place, post, from_end=from_end, once=once)
    if said.socket is not None:
        return FromSocket(name, said.socket, post)
    return FromStdin(name, post)
