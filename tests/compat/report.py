"""The report that `make compat` prints: what was tried on what, for docs/reference/compatibility.md."""

import datetime as dt
import json
import os
import re
from typing import NamedTuple

from lessee import __version__

_VERSION = re.compile(r"[\w.+-]{1,40}", re.ASCII)
WORKS, FAILS, NOT_TRIED = "works", "**fails**", "not tried"


class NotTriedError(Exception):
    """What a job lacks."""


class Result(NamedTuple):
    """One row."""

    job: str
    outcome: str
    note: str = ""


def server_name(health):
    """Product, version and edition, without anything that names the installation."""
    version = plain(health.get("version"))
    if "+ent" in version or health.get("enterprise") is True:
        return f"HashiCorp Vault Enterprise {version}"
    # Vault names its edition since 1.17; OpenBao, whose versions begin with 2, has no editions.
    is_openbao = "enterprise" not in health and version.startswith("2.")
    return f"OpenBao {version}" if is_openbao else f"HashiCorp Vault {version}"


def plain(version):
    """A version as a server wrote it, if it is one."""
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else "of an unknown version"


def reason(error):
    """One line about a failed job: the agent's last complaint, or else the error. It names no address."""
    lines = str(error).splitlines() or [type(error).__name__]
    text = lines[0]
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("level") in {"warning", "error"}:
            text = f"{event['event']}: {event.get('error', '')}".rstrip(": ")
    for name in ("VAULT_ADDR", "VAULT_NAMESPACE"):
        if value := os.environ.get(name):
            text = text.replace(value, f"${name}")
    return text.replace("|", "\\|")


def markdown(subject, results, left):
    """A section of the page."""
    today = dt.datetime.now(dt.UTC).date()
    lines = [f"### {subject}", "", f"lessee {__version__}, {today}", "", "| job | result |", "|---|---|"]
    lines += [f"| {job} | {outcome}{f': {note}' if note else ''} |" for job, outcome, note in results]
    lines += ["", f"Left behind: {', '.join(left) or 'nothing'}"]
    return "\n".join(lines)
