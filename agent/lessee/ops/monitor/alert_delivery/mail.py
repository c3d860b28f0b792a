"""Sends one mail by SMTP."""

import smtplib
import socket
from contextlib import suppress
from email.message import EmailMessage
from threading import Timer
from typing import Any, BinaryIO

from lessee.config.grammar.alerts import SmtpChannel
from lessee.ops.monitor.alert_delivery.http import TIMEOUT, DeliveryFailedError, content, trusting
from lessee.ops.monitor.policy.classification import printable

MAIL_TIMEOUT = 60.0
"""Seconds for a whole mail: a server that sends a byte now and then reaches no timeout."""
_REPLY_LINES = 100
"""RFC 5321 bounds a line of a reply, and not their number."""
_READY = 220
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
        server = _client(config)
        with _Deadline(server), server:
            server.open()
            if config.tls == "starttls":
                server.starttls(context=trusting(config.ca_file))
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


def _client(config: SmtpChannel) -> "_Client":
    """A client that is not connected yet."""
    host, _, port = config.server.rpartition(":")
    address = host.strip("[]"), int(port)
    if config.tls == "tls":
        return _TlsClient(address, context=trusting(config.ca_file))
    return _Client(address)


class _Replies:
    """The lines of a server's replies: a reply that never ends fails."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _REPLY_LINES
        self.close = file.close

    def begin(self) -> None:
        self._left = _REPLY_LINES

    def readline(self, size: int) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise OSError(0, "a reply has too many lines")
        return self._file.readline(size)


class _Client(smtplib.SMTP):
    file: _Replies | None

    def __init__(self, address: tuple[str, int], **settings: Any) -> None:
        super().__init__(timeout=TIMEOUT, **settings)
        self._address = address

    def open(self) -> None:
        """Connect. Raises OSError or SMTPConnectError."""
        self._host = self._address[0]  # The name in the certificate.
        code, text = self.connect(*self._address)
        if code != _READY:
            self.close()
            raise smtplib.SMTPConnectError(code, text)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Replies(self.sock.makefile("rb"))
        if self.file is not None:
            self.file.begin()
        return super().getreply()


class _TlsClient(_Client, smtplib.SMTP_SSL):
    """An SMTP_SSL whose replies are bounded."""


class _Deadline:
    """Ends a connection when its time is up."""

    def __init__(self, server: smtplib.SMTP) -> None:
        self._server = server
        self._timer = Timer(MAIL_TIMEOUT, self._shut_down)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _shut_down(self) -> None:
        connected = self._server.sock
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)


def _text(answer: bytes | str) -> str:
    return printable(answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer)
