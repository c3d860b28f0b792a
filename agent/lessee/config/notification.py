"""From what an app's block says to how the app is told, what judges its files before, and what proves it after."""

from collections.abc import Mapping, Sequence

from lessee import config
from lessee.config import File
from lessee.config.grammar import app
from lessee.config.grammar.problems import Path, Problems

_FILE = "{file}"


def check(said: app.App, files: Sequence[File], at: Path, problems: Problems) -> config.Check | None:
    """What judges an app's files; `{file}` is the one file that there is."""
    if said.check is None:
        return None
    command = said.check.command if isinstance(said.check, app.Check) else said.check
    timeout = said.check.timeout if isinstance(said.check, app.Check) else app.Check(command=command).timeout
    if len(files) != 1 and any(_FILE in word for word in command):
        what = f"{_FILE} stands for an app's one file, and this app has {len(files) or 'none'}"
        problems.follow((*at, "check"), what, todo="write {directory}/NAME")
    return config.Check(command=command, timeout=timeout)


def notify(
    said: app.App, values: Mapping[Path, object], at: Path, problems: Problems, *, for_child: bool
) -> config.Notify | None:
    """Whom to tell, and how. `for_child`: it is asked for `lessee exec`, to which `environ` matters."""
    block = said.notify
    if block is None or (target := _target(block)) is None:
        return None  # Where no target is named, it has been told of.
    at = (*at, "notify")
    signalled = block.action != "restart"
    if isinstance(target, config.ByCommand | config.ByHttp):
        if (*at, "action") in values:
            problems.follow((*at, "action"), "a command or a request tells the app in its own way", todo="leave it out")
    elif said.environ is not None and signalled and for_child:
        what = "no signal changes a process's environment, and `environ` may change"
        problems.follow((*at, "action"), what, todo="write `action: restart`")
    return config.Notify(
        target=target,
        action=block.action,
        grace=block.grace,
        boot_grace=block.boot_grace,
        otherwise=block.otherwise,
        timeout=block.timeout,
    )


def _target(said: app.Notify) -> config.Target | None:
    if said.process is not None:
        return _process(said.process)
    if said.pid_file is not None:
        return config.ByPidFile(said.pid_file)
    if said.container is not None:
        block = said.container
        return config.ByContainer(
            service=block.service,
            name=block.name,
            label=block.label,
            project=block.project,
            through_engine=block.through == "engine",
        )
    if said.child:
        return config.Child()
    if said.command is not None:
        return config.ByCommand(said.command)
    if isinstance(said.http, app.Http):
        return config.ByHttp(url=said.http.url, method=said.http.method, header_files=said.http.header_files)
    return config.ByHttp(url=said.http, method="POST", header_files={}) if said.http is not None else None


def _process(said: app.Process) -> config.Target | None:
    if said.name is not None:
        return config.ByName(said.name)
    if said.cmdline is not None:
        return config.ByCmdline(said.cmdline)
    return config.ByPidFile(said.pid_file) if said.pid_file is not None else None


def ready(said: app.App, files: Sequence[File], at: Path, problems: Problems) -> config.Ready | None:
    """What proves that the app has taken the files up."""
    block = said.ready
    if block is None or (probe := _probe(block)) is None:
        return None
    at = (*at, "ready")
    if isinstance(probe, config.TlsProbe) and probe.certificate not in {file.name for file in files}:
        names = ", ".join(file.name for file in files) or "none"
        problems.follow((*at, "tls", "certificate"), "the app has no such file", todo=f"its files are: {names}")
    if block.after >= block.within:
        problems.follow((*at, "after"), "the first look would come after `within`", todo="make it shorter")
    return config.Ready(probe=probe, after=block.after, within=block.within)


def _probe(said: app.Ready) -> config.Probe | None:
    if said.http is not None:
        return config.HttpProbe(said.http)
    if said.tcp is not None:
        return config.TcpProbe(said.tcp)
    if said.tls is not None:
        return config.TlsProbe(said.tls.address, said.tls.certificate)
    if said.command is not None:
        return config.CommandProbe(said.command)
    return config.FileProbe(said.file) if said.file is not None else None
