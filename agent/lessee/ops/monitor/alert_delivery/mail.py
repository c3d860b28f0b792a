"""Sends one mail by SMTP."""

import smtplib
from email.message import EmailMessage

from lessee.config.grammar.alerts import Mail
from lessee.ops.monitor.alert_delivery.http import TIMEOUT, DeliveryFailedError, content, trusting
from lessee.ops.monitor.policy.interpretation import shown

_PERMANENT = 500
_NO_ENTRY = frozenset({530, 534, 535, 538})
"""RFC 4954: it is the login that will not do, and not the mail."""


def send(said: Mail, mail: EmailMessage) -> None:
    """Raises DeliveryFailedError. The password is read each time, and goes over TLS alone unless the configuration has it so."""
    password = content(said.password_file) if said.password_file is not None else None
    try:
        with _connected(said) as server:
            if said.username is not None and password is not None:
                server.login(said.username, password)
            refused = server.send_message(mail, said.sender, list(said.to))
    except smtplib.SMTPResponseException as exc:
        code, text = exc.smtp_code, exc.smtp_error
        unfit = code >= _PERMANENT and code not in _NO_ENTRY
        raise DeliveryFailedError(f"{said.server} answered {code} {_text(text)}", unfit=unfit) from None
    except smtplib.SMTPRecipientsRefused as exc:
        raise DeliveryFailedError(
            f"{said.server} takes no mail for {', '.join(map(shown, exc.recipients))}", unfit=True
        ) from None
    except smtplib.SMTPNotSupportedError:
        raise DeliveryFailedError(f"{said.server} cannot do what is wanted: TLS, or a login") from None
    except (OSError, smtplib.SMTPException, UnicodeError) as exc:
        why = getattr(exc, "verify_message", None) or getattr(exc, "strerror", None) or "it cannot be reached"
        raise DeliveryFailedError(f"{said.server}: {why}") from None
    if refused:
        raise DeliveryFailedError(f"{said.server} takes no mail for {', '.join(map(shown, refused))}", unfit=True)


def _connected(said: Mail) -> smtplib.SMTP:
    host, _, port = said.server.rpartition(":")
    host = host.strip("[]")
    if said.tls == "tls":
        return smtplib.SMTP_SSL(host, int(port), timeout=TIMEOUT, context=trusting(said.ca_file))
    server = smtplib.SMTP(host, int(port), timeout=TIMEOUT)
    if said.tls == "starttls":
        try:
            server.starttls(context=trusting(said.ca_file))
        except BaseException:
            server.close()
            raise
    return server


def _text(said: bytes | str) -> str:
    return shown(said.decode("utf-8", "replace") if isinstance(said, bytes) else said)
