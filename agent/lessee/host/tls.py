"""TLS as a client: the certificates that it trusts, and the certificate that a server serves."""

import ssl
from collections.abc import Callable
from socket import socket

from lessee.core.errors import LesseeError

Context = ssl.SSLContext


class CaFileError(LesseeError):
    """A file of CA certificates cannot be used."""


class HandshakeError(Exception):
    """The server completed no TLS handshake; the text says why."""


def client_context(ca_file: str | None = None) -> Context:
    """A context that verifies a server by these CAs, or by the machine's, and its name by the SANs alone.

    Raises CaFileError.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError):
        todo = "name a readable PEM file with at least one certificate"
        raise CaFileError("the CA file holds no readable certificates", where=ca_file or "", todo=todo) from None
    # The common name is text: RFC 9525 has clients ignore it.
    context.hostname_checks_common_name = False
    return context


def served_certificate(connect: Callable[[], socket], server_name: str) -> bytes:
    """The certificate that a server serves, as DER: to be compared, for it is not verified.

    `connect` opens the connection. Raises HandshakeError, and whatever `connect` raises.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with connect() as plain:
        try:
            with context.wrap_socket(plain, server_hostname=server_name) as connection:
                return connection.getpeercert(binary_form=True) or b""
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as exc:
            raise HandshakeError(exc.strerror or "the connection was closed") from None
