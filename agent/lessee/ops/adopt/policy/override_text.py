"""compose.lessee.yaml: adds the holder and the agent to a project, and takes the secrets out of its services."""

import re
from collections.abc import Iterable, Iterator, Sequence

from lessee.ops.adopt.policy import known_images, launcher, programs
from lessee.ops.adopt.policy.config_text import IDENTITY, agent_directory, identity
from lessee.ops.adopt.policy.model import AppPlan, Delivery, Deployment, Origin, Plan, Project, Service
from lessee.ops.adopt.policy.service_labels import label_lines, service_labels
from lessee.ops.adopt.policy.template_texts import HEALTHCHECK, files, healthcheck
from lessee.ops.adopt.policy.use_names import ServiceField, key_of

OVERRIDE = "compose.lessee.yaml"
HOLDER, AGENT, NETWORK = "lessee-holder", "lessee-agent", "lessee-vault"
OWN_SERVICES = (HOLDER, AGENT)
OWN_VOLUMES = ("lessee-files-", "lessee-pid-", "lessee-state")
"""How the names of adopt's volumes begin."""
_TMPFS = 'driver_opts: {{type: tmpfs, device: tmpfs, o: "size={size},mode={mode},uid=0,gid={gid},noexec,nosuid,nodev"}}'
_HEAD = """\
# Written by `lessee adopt`: the secrets of these services come from Vault. docs/how-to/adopt.md explains this file.
# Compose merges it over the project's own files: COMPOSE_FILE in .env names it.
# A command in a container gets the secrets like this: sh -c '. /run/secrets/SERVICE/environment.sh; exec COMMAND'

# The entrypoint of services with secrets in their environment: it waits for the variables, and becomes the program.
x-lessee-launcher: &lessee-launcher |
{script}
x-lessee-confined: &lessee-confined
  image: {image}
  read_only: true
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
  restart: unless-stopped

services:
"""
_HOLDER = """\
  # Owns what must outlive the agent and its apps: their PID namespace, and the files, which are in memory only.
  {holder}:
    <<: *lessee-confined
    init: true
    user: "65534:65534"
    network_mode: none
    entrypoint: [sleep, infinity]
    healthcheck: {{test: [CMD, "true"], interval: 24h}}
"""
_AGENT = """\
  # Renders the files, keeps them up to date, and notifies the services. Root without root's capabilities.
  {agent}:
    <<: *lessee-confined
    user: "0:{group}"
"""


_SETTING = "COMPOSE_FILE"
_WITHOUT_SETTING = f'      {_SETTING}: "" # of Compose alone'


def override(plan: Plan, deployment: Deployment, more: Iterable[str] = (), setting: str = "") -> str:
    """The text of the file.

    `more`: the lines of further services, such as of the rotator. `setting`: the file that gets COMPOSE_FILE, which is
    for Compose alone, also where it is the `env_file` of a service.
    """
    script = launcher.SCRIPT.replace("$", "$$")
    text = _HEAD.format(script=_indented(script, "  "), image=scalar(deployment.image))
    lines: list[str] = []
    readers = _readers(plan.project, setting)
    for app in plan.apps:
        lines += _service(app, plan.project.services[app.service], hides_setting=app.service in readers)
        lines += [*(label_lines(service_labels(plan, app)) if deployment.labels else ()), ""]
    for name in sorted(readers - {app.service for app in plan.apps}):
        lines += [f"  {scalar(name)}:", "    environment:", _WITHOUT_SETTING, ""]
    lines += [*_holder(plan), "", *_agent(plan, deployment), ""]
    if more := tuple(more):
        lines += [*more, ""]
    lines += ["networks:", f"  {NETWORK}: {{}}", "", "volumes:"]
    lines += _volumes(plan)
    return text + "".join(f"{line}\n" for line in lines)


def volume(app: AppPlan) -> str:
    """The volume with the app's files."""
    return f"lessee-files-{app.service}"


def is_launched(app: AppPlan) -> bool:
    """Whether the launcher starts it: it needs its variables, or waits for its files and is notified."""
    return app.delivery is Delivery.LAUNCHER or app.notification is not None


def _pid_volume(app: AppPlan) -> str:
    return f"lessee-pid-{app.service}"


def _readers(project: Project, setting: str) -> frozenset[str]:
    """The services whose `env_file` is this file, except those that the project gives COMPOSE_FILE otherwise."""
    found, others = set(), set()
    for use in project.uses:
        for source in use.sources:
            is_read = source.origin is Origin.ENV_FILE and source.span is not None and source.span.file == setting
            found |= {use.service} if is_read else set()
            others |= {use.service} if use.name == _SETTING and not is_read else set()
    return frozenset(found - others)


def _service(app: AppPlan, service: Service, *, hides_setting: bool) -> Iterator[str]:
    yield f"  {scalar(app.service)}:"
    yield from _environment(app, service, hides_setting=hides_setting)
    if is_launched(app):
        yield from _start(app, service)
    yield from _health(app, service)
    if app.notification is not None:
        yield f"    pid: service:{HOLDER} # where the agent can signal it"
        policy = programs.restart_policy(service, app.notification)
        if policy is not None:
            yield f"    restart: {policy} # the agent stops it for a new secret"
    replaced = {key_of(item.name) for item in app.rendered if item.kind is ServiceField.SECRET}
    if replaced:
        left = [
            f"{{source: {scalar(name)}, target: {scalar(target)}}}"
            for name, target in service.secrets
            if name not in replaced
        ]
        yield f"    secrets: !override [{', '.join(left)}]" if left else "    secrets: !reset []"
    mounts = [f"{volume(app)}:{app.directory}:ro"]
    if app.notification is not None:
        mounts.append(f"{_pid_volume(app)}:{launcher.PID_FOLDER}")
    yield f"    volumes: {_list(mounts)}"
    yield f"    depends_on: {{{AGENT}: {{condition: service_healthy}}}}"


def _environment(app: AppPlan, service: Service, *, hides_setting: bool) -> Iterator[str]:
    """Empty instead of `!reset`, which does not remove a variable of a list or of an `env_file`."""
    names = [item.name for item in app.rendered if item.kind is ServiceField.VARIABLE]
    is_file = app.delivery is Delivery.VARIABLE_FILE
    why = " # the image reads the files" if is_file else " # the launcher exports the real values"
    if names or hides_setting:
        yield f"    environment:{why if names else ''}"
    if hides_setting:
        yield _WITHOUT_SETTING
    for name in names:
        yield f'      {scalar(name)}: ""'
        file = known_images.file_variable(service.image.reference, name) if is_file else None
        if file is not None:
            yield f"      {scalar(file)}: {scalar(f'{app.directory}/{name}')}"


def _start(app: AppPlan, service: Service) -> Iterator[str]:
    started = launcher.start(service)
    assert started is not None  # app_plans leaves out what cannot be started.
    entrypoint, command = started
    secret = {item.name for item in app.rendered}
    entrypoint = tuple(_words("entrypoint", entrypoint, secret))
    shell = service.image.shell_path or "/bin/sh"
    yield f"    entrypoint: [{scalar(shell)}, -c, *lessee-launcher, {_items((app.directory, *entrypoint))}]"
    own = command if command is not None else service.command or ()
    words = tuple(_words("command", own, secret))
    if command is not None or words != own:
        yield f"    command: {_list(words)}"


def _words(which: str, words: Sequence[str], secret: Iterable[str]) -> Iterator[str]:
    for at, word in enumerate(words):
        name = f"{which}[{at}]"
        yield launcher.placeholder(name) if name in secret else word


def _health(app: AppPlan, service: Service) -> Iterator[str]:
    """A health check starts with the container's own variables, which no longer have the secrets."""
    test = healthcheck(service)
    names = {file.name for file in files(app, service)}
    if not test or not (names & {launcher.ENVIRONMENT, HEALTHCHECK}):
        return
    shell = service.image.shell_path or "/bin/sh"
    sourced = launcher.sourced(app.directory) if launcher.ENVIRONMENT in names else ":"
    if HEALTHCHECK in names:
        command: Sequence[str] = ("CMD", shell, "-c", f"{sourced}; . {app.directory}/{HEALTHCHECK}")
    elif test[0] == "CMD-SHELL":
        command = ("CMD-SHELL", f"{sourced}; {' '.join(test[1:])}")
    else:
        command = ("CMD", shell, "-c", f'{sourced}; exec "$@"', "sh", *test[1:])
    yield f"    healthcheck: {{test: {_list(command)}}}"


def _holder(plan: Plan) -> Iterator[str]:
    yield from _HOLDER.format(holder=HOLDER).splitlines()
    names = [*_volume_names(plan), "lessee-state"]
    yield f"    volumes: {_list(f'{name}:/hold/{name}' for name in names)}"


def _agent(plan: Plan, deployment: Deployment) -> Iterator[str]:
    groups = sorted({app.owner_gid for app in plan.apps}) or [0]
    yield from _AGENT.format(agent=AGENT, group=groups[0]).splitlines()
    if groups[1:]:
        yield f"    group_add: {_list(map(str, groups[1:]))} # the groups of the services' files"
    yield "    cap_add: [KILL]"
    yield "    mem_limit: 256m"
    yield "    pids_limit: 64"
    yield f"    pid: service:{HOLDER}"
    yield f"    networks: [{NETWORK}]"
    if "host.docker.internal" in deployment.vault_address:
        yield '    extra_hosts: ["host.docker.internal:host-gateway"]'
    yield "    volumes:"
    mounts = [
        f"./{deployment.folder}:/etc/lessee:ro",
        # Not the folder of all: the rotator's login may do more.
        *(f"./{deployment.identity}/{own}:{IDENTITY}/{own}:ro" for own in _logins(plan)),
        "lessee-state:/run/lessee",
    ]
    for app in plan.apps:
        mounts.append(f"{volume(app)}:{agent_directory(app)}")
        if app.notification is not None:
            mounts.append(f"{_pid_volume(app)}:{launcher.PID_FOLDER}/{app.service}:ro")
    yield from (f"      - {scalar(mount)}" for mount in mounts)
    yield f"    depends_on: {{{HOLDER}: {{condition: service_started}}}}"


def _logins(plan: Plan) -> Iterator[str]:
    """The folders of the apps' logins, as `lessee setup --output` names them."""
    return (identity(plan, app.service) for app in plan.apps)


def _volumes(plan: Plan) -> Iterator[str]:
    for app in plan.apps:
        yield f"  {volume(app)}:"
        yield "    " + _TMPFS.format(size="1m", mode="0750", gid=app.owner_gid)
        if app.notification is not None:
            yield f"  {_pid_volume(app)}:"
            yield "    " + _TMPFS.format(size="64k", mode="1777", gid=0)
    yield "  lessee-state:"
    yield "    " + _TMPFS.format(size="1m", mode="0700", gid=0)


def _volume_names(plan: Plan) -> Iterator[str]:
    for app in plan.apps:
        yield volume(app)
        if app.notification is not None:
            yield _pid_volume(app)


def _indented(text: str, indent: str) -> str:
    return "".join(f"{indent}{line}\n" for line in text.splitlines())


def _list(words: Iterable[str]) -> str:
    return f"[{_items(words)}]"


def _items(words: Iterable[str]) -> str:
    return ", ".join(map(scalar, words))


_PLAIN = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null"})


def scalar(text: str) -> str:
    """A string of YAML in which Compose replaces nothing."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return (
        '"' + "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in escaped) + '"'
    )
