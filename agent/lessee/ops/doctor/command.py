"""`lessee doctor`: prints what a bug report needs: versions, the kernel, which keys are set, and what answers."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from lessee import __version__
from lessee.config import Config, logins_of
from lessee.core.errors import AgentUnavailableError, ConfigError, LesseeError
from lessee.core.immutable import replace
from lessee.core.redaction import Redactor
from lessee.core.sensitive.literals import has_secret_format, is_secret
from lessee.host.console import print_line
from lessee.host.mounts import is_memory_at
from lessee.host.project import find, read, text_of
from lessee.ops.doctor.policy import report as policy
from lessee.ops.doctor.policy.configuration_keys import keys_set
from lessee.ops.lint.command import findings_of
from lessee.process.landlock import version as landlock_version
from lessee.status.client import request_status

_TIMEOUT = 5.0
_LARGEST_STATUS = 8 << 20
"""Bytes of an answer of the status socket."""
_LARGEST_LOG = 1 << 20
"""Bytes at the end of a log that are read."""
_LAST_EVENTS = 20
_PACKAGES = (
    "cryptography",
    "docker",
    "hvac",
    "jinja2",
    "msgspec",
    "prometheus-client",
    "psutil",
    "pyyaml",
    "watchfiles",
)
_PREFIXES = ("LESSEE_", "VAULT_", "BAO_", "OTEL_", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_SERVICES = ("rotator.sock", "monitor.sock")


def run(arguments: argparse.Namespace) -> int:
    """0, or 1 if the report has a problem: an error in the configuration, or what does not answer or is not ready."""
    environ = dict(os.environ)
    redactor, problems = Redactor(), list[str]()
    redactor.learn("environment", [value for name, value in environ.items() if is_secret(name, value)])
    path, text, config = _configuration(arguments.config, environ, problems)
    document = _document(text)
    redactor.learn("configuration", _secrets_in(document))
    report = {
        "lessee": _versions(),
        "system": _system(),
        "kernel": _kernel(config),
        "environment": {"variables that are set": _variables(environ)},
        "configuration": {"file": path, "keys that are set": _keys(document)},
        "check": _findings(arguments.config, environ, problems),
        "vault": _vaults(config, document, environ, problems),
        "agent": _statuses(config, arguments.socket, problems),
    }
    if arguments.log is not None:
        report["last log events"] = _log_events(Path(arguments.log))
    fit = policy.fit({"problems": problems, **report}, redactor.clean)
    assert isinstance(fit, dict)
    if arguments.json:
        print_line(json.dumps(fit, indent=2))
    else:
        print_line("\n".join(policy.text_of(fit)).lstrip("\n"))
    return 1 if problems else 0


def _configuration(
    option: str | None, environ: Mapping[str, str], problems: list[str]
) -> tuple[str, str, Config | None]:
    """The path and the text of the file, and the configuration if it is valid."""
    try:
        path = find(option, environ)
        text = text_of(path)
    except ConfigError as exc:
        problems.append(str(exc))
        return "not found", "", None
    try:
        return str(path), text, read(path, environ)
    except ConfigError:
        return str(path), text, None  # `lessee check` reports it.


def _document(text: str) -> object:
    import yaml

    with suppress(yaml.YAMLError, RecursionError, ValueError):
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # Both are safe.
    return None


def _secrets_in(document: object) -> list[str]:
    """The texts of the configuration that are secrets in the wrong place, or contain one."""
    found: list[str] = []
    # The same container below the same name has the same texts: so aliases in YAML cost no more than what they name.
    seen: set[tuple[str, int]] = set()
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, str):
            found += [value] if is_secret(name, value) else []
        elif isinstance(value, dict | list) and (name, id(value)) not in seen:
            seen.add((name, id(value)))
            if isinstance(value, list):
                waiting += [(name, item) for item in value]
                continue
            pairs = [(str(key), item) for key, item in value.items()]
            found += [key for key, _ in pairs if has_secret_format(key)]
            waiting += pairs
    return found


def _keys(document: object) -> object:
    import json
    from importlib.resources import files

    schema = json.loads(files("lessee").joinpath("lessee.schema.json").read_text(encoding="utf-8"))
    return keys_set(document, schema) or "none"


def _versions() -> dict[str, object]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, object] = {"version": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _system() -> dict[str, object]:
    system = os.uname()
    distribution = "unknown"
    with suppress(OSError):
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", distribution)
    return {
        "kernel": f"{system.sysname} {system.release}",
        "machine": system.machine,
        "distribution": distribution,
        "libc": " ".join(platform.libc_ver()).strip() or "unknown",
        "in a container": any(Path(name).exists() for name in ("/.dockerenv", "/run/.containerenv")),
        "uid": os.getuid(),
    }


def _kernel(config: Config | None) -> dict[str, object]:
    found: dict[str, object] = {
        "pidfd": _works(lambda: os.pidfd_open(os.getpid())),
        "memfd": _works(lambda: os.memfd_create("lessee-doctor")),
        "Landlock version": landlock_version() or "none",
        "seccomp": Path("/proc/sys/kernel/seccomp").exists(),
        "tmpfs at /dev/shm": is_memory_at(Path("/dev/shm")),  # noqa: S108  # It is only looked at.
    }
    if config is not None:
        folders = [Path(config.state_dir), *(Path(app.directory) for app in config.apps.values())]
        found["directories in memory"] = sum(is_memory_at(folder) is True for folder in folders)
        found["directories on disk"] = sum(is_memory_at(folder) is False for folder in folders)
    return found


def _works(open_descriptor: Callable[[], int]) -> bool:
    try:
        os.close(open_descriptor())
    except OSError:
        return False
    return True


def _variables(environ: Mapping[str, str]) -> list[str]:
    return sorted(name for name in environ if name.upper().startswith(_PREFIXES))


def _findings(option: str | None, environ: Mapping[str, str], problems: list[str]) -> object:
    findings = findings_of(option, environ)
    errors = sum(finding.level == "error" for finding in findings)
    if errors:
        problems.append(f"`lessee check` reports {errors} error{'s' * (errors > 1)}")
    return [
        f"{finding.level} {finding.rule} {Path(finding.file).name}:{finding.line}: {finding.message}"
        for finding in findings
    ] or "no finding"


def _vaults(config: Config | None, document: object, environ: Mapping[str, str], problems: list[str]) -> object:
    """Whether each server answers. The requests have no token, and present no client certificate."""
    if config is None:
        return "not asked, because the configuration is not valid"
    if config.sources and not _names_vault(document, environ):
        return "not asked, because no server is configured"
    from lessee.vault.client_factory import address_of
    from lessee.vault.health import check_health

    found: dict[str, object] = {}
    # Each app has its own login, and most of them the same server.
    servers = {(vault.address, vault.addresses, vault.ca_file, vault.namespace): vault for vault in logins_of(config)}
    for vault in servers.values():
        try:
            address = replace(address_of(vault, environ), client_cert_file=None, client_key_file=None)
            answers = check_health(address, _TIMEOUT)
        except LesseeError as exc:
            problems.append(f"Vault at {vault.address}: {exc}")
            continue
        for one in answers:
            state = {"version": one.version, "initialized": one.initialized, "sealed": one.sealed, "active": one.active}
            found[one.url] = {"error": one.error} if one.error else state
            if one.server_time is not None:
                found[one.url] = state | {"clock difference in seconds": round(one.received_at - one.server_time)}
            if one.error or one.sealed or not one.initialized:
                reason = one.error or ("it is sealed" if one.initialized else "it is not initialized")
                problems.append(f"Vault at {one.url}: {reason}")
    return found


def _names_vault(document: object, environ: Mapping[str, str]) -> bool:
    """Whether a valid configuration, or the environment, names a server."""
    blocks = document if isinstance(document, dict) else {}
    apps = (blocks.get("apps") or {}).values()
    return "VAULT_ADDR" in environ or any("vault" in block for block in (blocks, *apps)) or "identities" in blocks


def _statuses(config: Config | None, option: str | None, problems: list[str]) -> object:
    if option is None and config is None:
        return "not asked, because the configuration is not valid"
    if option is not None:
        sockets = [Path(option)]
    else:
        assert config is not None
        state = Path(config.state_dir)
        sockets = [Path(config.status.socket), *(state / name for name in _SERVICES if (state / name).exists())]
    found: dict[str, object] = {}
    for socket in dict.fromkeys(sockets):
        try:
            status = _status_of(socket)
        except AgentUnavailableError as exc:
            found[str(socket)] = exc.what
            continue
        found[str(socket)] = policy.summary_of_status(status)
        if status.get("ready") is not True:
            problems.append(f"the service at {socket} is not ready")
    return found


def _status_of(socket: Path) -> Mapping[str, Any]:
    """The status, in a bounded time even of a service that sends a byte now and then. Raises AgentUnavailableError."""
    outcomes: list[Mapping[str, Any] | AgentUnavailableError] = []

    def ask() -> None:
        try:
            outcomes.append(request_status(socket, "GET", "/status.json", timeout=_TIMEOUT, largest=_LARGEST_STATUS))
        except AgentUnavailableError as exc:
            outcomes.append(exc)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(2 * _TIMEOUT)
    if not outcomes:
        raise AgentUnavailableError("no agent answers in time", where=str(socket))
    if isinstance(outcomes[0], AgentUnavailableError):
        raise outcomes[0]
    return outcomes[0]


def _log_events(path: Path) -> object:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LARGEST_LOG))
            lines = file.read(_LARGEST_LOG).decode(errors="replace").splitlines()
    except (OSError, ValueError) as exc:
        return f"not readable: {exc.strerror if isinstance(exc, OSError) else 'not a valid file name'}"
    events = policy.log_events(map(_decoded, lines))
    return events[-_LAST_EVENTS:] or "no event in the format json"


def _decoded(line: str) -> object:
    with suppress(ValueError, RecursionError):
        return json.loads(line)
    return None
