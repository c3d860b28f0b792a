"""A mail server that never ends a reply costs a delivery, and neither memory nor a thread."""

import socket
import threading
from contextlib import closing, suppress
from email.message import EmailMessage
from time import sleep

import pytest

from lessee.config.grammar.alerts import SmtpChannel
from lessee.ops.monitor.alert_delivery import mail
from lessee.ops.monitor.alert_delivery.http import DeliveryFailedError
from support.programs.sidecar import eventually


@pytest.fixture
def server():
    """A function that starts a server, which sends a text and then a piece again and again, and returns its channel."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def start(text, piece, pause):
            def serve():
                client, _ = listener.accept()
                with client, suppress(OSError):
                    client.sendall(text)
                    while True:
                        client.sendall(piece)
                        sleep(pause)

            threading.Thread(target=serve, daemon=True).start()
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            return SmtpChannel(server=address, sender="a@example.org", to=("b@example.org",), tls="none")

        yield start


@pytest.mark.parametrize("text", [b"", b"220 ready\r\n"])
def test_a_reply_of_endless_lines_fails(server, text):
    channel = server(text, b"250-more\r\n" * 1000, 0)
    with pytest.raises(DeliveryFailedError, match=r"^127\.0\.0\.1"):
        mail.send_mail(channel, EmailMessage())


@pytest.mark.parametrize("text", [b"", b"220 ready\r\n"])
def test_a_byte_now_and_then_meets_the_deadline_of_the_mail(server, monkeypatch, text):
    monkeypatch.setattr(mail, "MAIL_TIMEOUT", 1.0)
    threads = threading.active_count()
    channel = server(text, b"2", 0.05)
    with pytest.raises(DeliveryFailedError, match=r"^127\.0\.0\.1"):
        mail.send_mail(channel, EmailMessage())
    eventually(lambda: threading.active_count() <= threads + 1, "the end of all threads but the server's")
