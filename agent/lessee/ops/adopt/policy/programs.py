"""How the program of a service gets its secrets, and how it is notified of new ones."""

import re
from collections.abc import Collection

from lessee.config.grammar.scalars import SIGNALS
from lessee.ops.adopt.policy import known_images, launcher
from lessee.ops.adopt.policy.model import Delivery, ManualStep, Notification, Service
from lessee.ops.adopt.policy.use_names import ServiceField, kind_of

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHELLS = frozenset({"sh", "bash", "ash", "dash"})
_NOT_KNOWN = "its entrypoint or its shell is not known"
_RESTARTED = frozenset({"always", "unless-stopped"})
_ONE_SHOT = re.compile(
    r"(?:^|[-_.])(?:init|setup|migrat(?:e|ions?|or)|seed(?:er)?|bootstrap|create-?buckets?|provision(?:er)?)(?:[-_.]|$)"
)
_ONE_SHOT_IMAGES = re.compile(
    r"(?:.*/)?(?:minio/)?mc(?:[:@].*)?|(?:.*/)?(?:flyway/)?flyway(?:[:@].*)?|migrate/migrate.*"
)


def can_export(name: str) -> bool:
    """Whether a shell can give a program this variable."""
    return _NAME.fullmatch(name) is not None


def has_file_variables(service: Service, names: Collection[str]) -> bool:
    """Whether its image reads all these variables from files."""
    return bool(names) and all(known_images.file_variable(service.image.reference, name) for name in names)


def delivery(service: Service, names: Collection[str]) -> Delivery:
    """How the service gets these variables, and words of its command (`command[2]`) or Compose's own secrets."""
    variables = [name for name in names if kind_of(name) is ServiceField.VARIABLE]
    words = [name for name in names if kind_of(name) is ServiceField.WORD and not name.startswith("healthcheck.")]
    if not words and (has_file_variables(service, variables) or not variables):
        return Delivery.VARIABLE_FILE
    return Delivery.LAUNCHER if starts_in_a_shell(service) else Delivery.NOTHING


def starts_in_a_shell(service: Service) -> bool:
    """Whether the launcher can start it."""
    started = launcher.start(service)
    if started is None or service.image.shell_path == "":
        return False
    words = (*started[0], *((service.command or ()) if started[1] is None else started[1]))
    if not words:
        return False
    return service.image.shell_path is not None or words[0].rpartition("/")[2] in _SHELLS or words[0].endswith(".sh")


def stop_signal(service: Service) -> str:
    """The signal that ends its program, by its name; empty: SIGTERM, or one that has no name."""
    text = (service.stop_signal or service.image.stop_signal).upper()
    number = int(text) if text.isdecimal() else 0
    name = SIGNALS[number - 1] if 1 <= number <= len(SIGNALS) else f"SIG{text.removeprefix('SIG')}"
    return name if name in SIGNALS and name != "SIGTERM" else ""


def is_store(service: Service) -> bool:
    """Whether it is a database or another store, whose password changes while it runs."""
    image = known_images.known(service.image.reference)
    return image is not None and image.is_store


def runs_once(service: Service) -> bool:
    """Whether it does its work and ends, so that nothing notifies it, and nothing may start it again."""
    if service.restart in _RESTARTED:
        return False
    by_name = _ONE_SHOT.search(service.name) or _ONE_SHOT_IMAGES.fullmatch(service.image.reference)
    # Docker does not start a program with `on-failure` again that has ended well.
    may_end = service.restart is None or service.restart.startswith("on-failure")
    return service.runs_once or service.restart in {"no", "none"} or (may_end and by_name is not None)


def notification(service: Service) -> Notification | ManualStep | None:
    """How the service is notified; None: it need not be. A step is left to a person where it cannot be."""
    if is_store(service) or runs_once(service):
        return None
    if reason := _not_notified(service):
        todo = f"after a rotation, run `docker compose restart {service.name}`"
        what = f"{reason}, so the agent cannot restart it when a secret changes"
        return ManualStep(service.name, what, todo, needs_image=reason == _NOT_KNOWN)
    user = known_images.user_of(service.image.reference)
    return Notification("restart", uid=user[0] if user and not _is_set(service.user) else None)


def _not_notified(service: Service) -> str:
    image = known_images.known(service.image.reference)
    if service.replicas > 1:
        return f"it has {service.replicas} replicas"
    if service.pid is not None:
        return f"it has `pid: {service.pid}`"
    if image is not None and image.is_pid_1:
        return "its init system must be the first process of its PID namespace"
    return "" if starts_in_a_shell(service) else _NOT_KNOWN


def _is_set(user: str | None) -> bool:
    return (user or "").split(":")[0] not in {"", "0", "root"}


def restart_policy(service: Service, notified: Notification | None) -> str | None:
    """The policy that the override sets: a program that the agent stops must start again, also after exit code 0."""
    return None if notified is None or service.restart in _RESTARTED else "unless-stopped"


def group_of(service: Service) -> int | None:
    """The gid of the user that reads the files; None: it is not known."""
    user, _, group = (service.user or "").partition(":")
    if group.isdecimal():
        return int(group)
    if not _is_set(service.user) and not group and (known := known_images.user_of(service.image.reference)):
        return known[1]
    if service.image.gid is not None and (not group or service.image.numbers_of == service.user):
        return service.image.gid
    if not user:
        user, _, group = service.image.user.partition(":")
        if group.isdecimal():
            return int(group)
    usual = known_images.usual_user(user or "root")
    return usual[1] if usual and not group else 0 if user in {"", "0"} and not group else None
