"""Sends one mail by SMTP."""

import smtplib
from email.message import EmailMessage

from lessee.config.grammar.alerts import SmtpChannel
from lessee.ops.monitor.alert_delivery.http import TIMEOUT, DeliveryFailedError, content, trusting
from lessee.ops.monitor.policy.classification import printable

_PERMANENT = 500
_LOGIN_FAILED = frozenset({530, 534, 535, 538})
"""RFC 4954: the server rejects the login, not the mail."""


def send_mail(config: SmtpChannel, mail: EmailMessage) -> None:
    """Send a mail, with the password that its file holds now. Raises DeliveryFailedError.

    The password is only sent over TLS, unless the configuration allows otherwise.
    """
    password = content(config.password_file) if config.password_file is not None else None
    server_name = config.server
    try:
        with _connect(config) as server:
            if config.username is not None and password is not None:
                server.login(config.username, password)
            refused = server.send_message(mail, config.sender, list(config.to))
    except smtplib.SMTPResponseException as exc:
        code, text = exc.smtp_code, exc.smtp_error
        rejected = code >= _PERMANENT and code not in _LOGIN_FAILED
        raise DeliveryFailedError(f"{server_name} answered {code} {_text(text)}", rejected=rejected) from None
    except smtplib.SMTPRecipientsRefused as exc:
        recipients = ", ".join(map(printable, exc.recipients))
        raise DeliveryFailedError(f"{server_name} accepts no mail for {recipients}", rejected=True) from None
    except smtplib.SMTPNotSupportedError:
        raise DeliveryFailedError(f"{server_name} supports no STARTTLS or no login") from None
    except (OSError, smtplib.SMTPException, UnicodeError) as exc:
        reason = getattr(exc, "verify_message", None) or getattr(exc, "strerror", None) or "no connection"
        raise DeliveryFailedError(f"{server_name}: {reason}") from None
    if refused:
        recipients = ", ".join(map(printable, refused))
        raise DeliveryFailedError(f"{server_name} accepts no mail for {recipients}", rejected=True)


def _connect(config: SmtpChannel) -> smtplib.SMTP:
    host, _, port = config.server.rpartition(":")
    host = host.strip("[]")
    if config.tls == "tls":
        return smtplib.SMTP_SSL(host, int(port), timeout=TIMEOUT, context=trusting(config.ca_file))
    server = smtplib.SMTP(host, int(port), timeout=TIMEOUT)
    if config.tls == "starttls":
        try:
            server.starttls(context=trusting(config.ca_file))
        except BaseException:
            server.close()
            raise
    return server


def _text(answer: bytes | str) -> str:
    return printable(answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer)
