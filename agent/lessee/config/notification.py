"""Resolves the blocks `apps.X.check`, `notify` and `ready`."""

from collections.abc import Mapping, Sequence

from lessee import config
from lessee.config import Check, File
from lessee.config.grammar.app import AppBlock, HttpBlock, NotifyBlock, ProcessBlock, ReadyBlock
from lessee.config.grammar.problems import Path, Problems

_FILE = "{file}"


def resolve_check(app: AppBlock, files: Sequence[File], at: Path, problems: Problems) -> Check | None:
    """The command that validates the staged files; {file} needs an app with exactly one file."""
    if app.check is None:
        return None
    check = app.check if isinstance(app.check, Check) else Check(command=app.check)
    if len(files) != 1 and any(_FILE in word for word in check.command):
        what = f"{_FILE} is the only file of an app, but this app has {len(files) or 'none'}"
        problems.add_dependent((*at, "check"), what, todo="write {directory}/NAME")
    return check


def resolve_notify(
    app: AppBlock,
    files: Sequence[File],
    owner: tuple[int, int | None] | None,
    values: Mapping[Path, object],
    at: Path,
    problems: Problems,
    *,
    for_child: bool,
) -> config.Notify | None:
    """How the agent notifies the app, whose files belong to `owner` unless they name another one.

    `for_child`: `lessee exec` reads the file, which uses env_template.
    """
    block = app.notify
    if block is None or (target := _target(block)) is None:
        return None  # The reader has already reported a block without a target.
    at = (*at, "notify")
    if isinstance(target, config.CommandTarget | config.HttpTarget):
        if (*at, "action") in values:
            what = "it does not apply to `command` and `http`, which send no signal"
            problems.add_dependent((*at, "action"), what, todo="remove it")
        if (*at, "stop_signal") in values:
            problems.add_dependent((*at, "stop_signal"), "it applies only to a process", todo="remove it")
    elif app.env_template is not None and block.action != "restart" and for_child:
        what = "a signal cannot change the environment of a process, and that of `env_template` may change"
        problems.add_dependent((*at, "action"), what, todo="write `action: restart`")
    if block.uid is not None and block.process is None and block.pid_file is None:
        what = "it applies only to `process` and `pid_file`"
        problems.add_dependent((*at, "uid"), what, todo="remove it")
    if block.container is not None and (*at, "stop_signal") in values:
        what = "the Engine stops a container by the `stop_signal` of its service or image"
        problems.add_dependent((*at, "stop_signal"), what, todo="write it there")
    return config.Notify(
        target=target,
        action=block.action,
        stop_grace_period=block.stop_grace_period,
        stop_signal=block.stop_signal,
        start_period=block.start_period,
        on_unhandled_signal=block.on_unhandled_signal,
        timeout=block.timeout,
        uid=block.uid,
        owners=tuple(dict.fromkeys([owner, *(file.owner for file in files)])),
    )


def _target(block: NotifyBlock) -> config.Target | None:
    if block.process is not None:
        return _process(block.process)
    if block.pid_file is not None:
        return config.PidFileTarget(block.pid_file)
    if block.container is not None:
        container = block.container
        return config.ContainerTarget(
            service=container.service,
            name=container.name,
            label=container.label,
            project=container.project,
            through_engine=container.through == "engine",
        )
    if block.child:
        return config.Child()
    if block.command is not None:
        return config.CommandTarget(block.command)
    if isinstance(block.http, HttpBlock):
        return config.HttpTarget(url=block.http.url, method=block.http.method, header_files=block.http.header_files)
    return config.HttpTarget(url=block.http, method="POST", header_files={}) if block.http is not None else None


def _process(block: ProcessBlock) -> config.Target | None:
    if block.name is not None:
        return config.NameTarget(block.name)
    if block.cmdline is not None:
        return config.CmdlineTarget(block.cmdline)
    return config.PidFileTarget(block.pid_file) if block.pid_file is not None else None


def resolve_ready(app: AppBlock, files: Sequence[File], at: Path, problems: Problems) -> config.Ready | None:
    """The readiness probe of the app; None if it has none."""
    block = app.ready
    if block is None or (probe := _probe(block)) is None:
        return None
    at = (*at, "ready")
    if isinstance(probe, config.TlsProbe) and probe.certificate not in {file.name for file in files}:
        names = ", ".join(file.name for file in files) or "none"
        problems.add_dependent((*at, "tls", "certificate"), "the app has no such file", todo=f"its files are: {names}")
    if block.initial_delay >= block.timeout:
        what = "the first probe would run after `timeout`"
        problems.add_dependent((*at, "initial_delay"), what, todo="make it shorter than `timeout`")
    return config.Ready(probe=probe, initial_delay=block.initial_delay, timeout=block.timeout)


def _probe(block: ReadyBlock) -> config.Probe | None:
    if block.http is not None:
        return config.HttpProbe(block.http)
    if block.tcp is not None:
        return config.TcpProbe(block.tcp)
    if block.tls is not None:
        return config.TlsProbe(block.tls.address, block.tls.certificate)
    if block.command is not None:
        return config.CommandProbe(block.command)
    return config.FileProbe(block.file) if block.file is not None else None
