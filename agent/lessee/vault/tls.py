"""The TLS context of connections to Vault."""

import ssl
from typing import TYPE_CHECKING

from lessee.vault.responses import InvalidTlsFilesError

if TYPE_CHECKING:
    from lessee.vault.connections import Address


def context_of(address: "Address") -> ssl.SSLContext:
    """A context with the address's PEM files. Raises OSError if they cannot be read or are invalid."""
    try:
        context = ssl.create_default_context(cafile=address.ca_file)
        if address.client_cert_file:
            context.load_cert_chain(address.client_cert_file, address.client_key_file)
    except ssl.SSLError:
        raise InvalidTlsFilesError from None
    # The common name is text: RFC 9525 has clients ignore it.
    context.hostname_checks_common_name = False
    if address.tls_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
