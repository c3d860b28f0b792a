"""`lessee audit report --every`: writes the report of each period to a folder, and sends it by mail."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path

from lessee.audit_trail.policy.actions import rfc3339
from lessee.config.grammar.alerts import SmtpChannel
from lessee.core.errors import ConfigError, LesseeError, UsageError, WriteError
from lessee.core.generation import File, Generation
from lessee.host.project import read
from lessee.ops.audit.command.report import compose
from lessee.ops.audit.policy.schedule import RETRY_DELAY, UNFINISHED, Period, due, next_due, unfinished
from lessee.ops.monitor.alert_delivery.http import DeliveryFailedError
from lessee.ops.monitor.alert_delivery.mail import send_mail
from lessee.publishing.plain_files import write_plain_files

_SHORTEST, _LONGEST = 60.0, 366 * 86400.0
_LONGEST_SLEEP = 60.0
"""Seconds: a sleep does not count the time of a suspension, and the clock may be set."""


def run(arguments: argparse.Namespace, path: Path, environ: Mapping[str, str]) -> int:
    """Runs until SIGTERM or Ctrl-C. An incomplete report lists what is missing, and is written again every hour."""
    _check(arguments)
    folder = Path(arguments.output)
    smtp = _smtp(path, environ) if arguments.mail else None
    _names(folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pending = dict.fromkeys(unfinished(_names(folder), arguments.format), 0.0)
    """When to write each report next."""
    said = 0.0
    try:
        while True:
            now = time.time()
            for period in due(_names(folder), now, arguments.every):
                pending[period] = now
            for period in [period for period, at in pending.items() if at <= now]:
                if _write(arguments, path, environ, period, smtp):
                    del pending[period]
                else:
                    pending[period] = now + RETRY_DELAY
            following = next_due(now, arguments.every)
            if following != said:
                said = following
                print(f"next report at {rfc3339(following)}", flush=True)
            soonest = min(following, *pending.values(), now + _LONGEST_SLEEP)
            time.sleep(max(0.0, soonest - time.time()))
    except KeyboardInterrupt:
        return 0  # Stopping it is not an error.


def _names(folder: Path) -> list[str]:
    try:
        return [file.name for file in folder.iterdir()]
    except OSError as exc:
        todo = "create it, or let this user read and write it"
        raise WriteError(f"the folder of the reports: {exc.strerror}", where=str(folder), todo=todo) from None


def _check(arguments: argparse.Namespace) -> None:
    if not _SHORTEST <= arguments.every <= _LONGEST:
        raise UsageError("--every must be from 1m to 366d", todo="use 7d, for example")
    if arguments.output is None:
        raise UsageError("--every needs a folder for the reports", todo="add --output DIR")
    if arguments.begins is not None or arguments.ends is not None:
        raise UsageError("--every sets the period of each report", todo="omit --from and --to")


def _smtp(path: Path, environ: Mapping[str, str]) -> SmtpChannel:
    monitor = read(path, environ, blocks=("monitor",)).monitor
    if monitor is None or monitor.alerts.smtp is None:
        todo = "add `monitor.alerts.smtp`, or omit --mail"
        raise ConfigError([LesseeError("--mail sends by the SMTP server of the monitor", where=path.name, todo=todo)])
    return monitor.alerts.smtp


def _write(
    arguments: argparse.Namespace, path: Path, environ: Mapping[str, str], period: Period, smtp: SmtpChannel | None
) -> bool:
    """Whether the report is complete, and was sent. What fails is reported, and tried again later, after a stop too."""
    file = Path(arguments.output) / period.file_name(arguments.format)
    sign = file.with_name(f"{file.name}{UNFINISHED}")
    try:
        os.close(os.open(sign, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        text, is_complete = compose(arguments, path, environ, period.begins, period.ends)
        write_plain_files(file.parent, Generation("report", (File(file.name, f"{text}\n".encode(), 0o600),)))
        print(f"{file}{'' if is_complete else ': incomplete, see the exceptions in it'}", flush=True)
        if not is_complete:
            return False
        if smtp is not None:
            send_mail(smtp, _mail(smtp, file.name, text))
        sign.unlink(missing_ok=True)
    except LesseeError as exc:
        print(f"lessee: {exc}", file=sys.stderr)
    except OSError as exc:
        print(f"lessee: {file}: {exc.strerror}", file=sys.stderr)
    except DeliveryFailedError as exc:
        print(f"lessee: {file.name} was not sent: {exc}", file=sys.stderr)
    else:
        return True
    return False


def _mail(smtp: SmtpChannel, name: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = f"[lessee] audit {name.rpartition('.')[0]}"
    message["From"], message["To"], message["Date"] = smtp.sender, ", ".join(smtp.to), formatdate()
    message["Message-ID"] = f"<{name}@lessee>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office reply.
    message.set_content(f"The report is attached: {name}\n")
    message.add_attachment(text.encode(), maintype="application", subtype="octet-stream", filename=name)
    return message
