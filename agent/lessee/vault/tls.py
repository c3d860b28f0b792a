"""The TLS context of connections to Vault."""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from lessee.vault.responses import InvalidTlsFilesError

if TYPE_CHECKING:
    from lessee.vault.connections import Address


_TPM_KEY = b"-----BEGIN TSS2 PRIVATE KEY-----"


def context_of(address: "Address") -> ssl.SSLContext:
    """A context with the address's PEM files. Raises OSError if they cannot be read or are invalid."""
    try:
        context = ssl.create_default_context(cafile=address.ca_file)
        if address.client_cert_file:
            context.load_cert_chain(address.client_cert_file, address.client_key_file)
    except ssl.SSLError:
        raise InvalidTlsFilesError(is_in_tpm=_is_in_tpm(address.client_key_file)) from None
    # The common name is text: RFC 9525 has clients ignore it.
    context.hostname_checks_common_name = False
    if address.tls_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_in_tpm(key_file: str | None) -> bool:
    """Whether the file has a key that only a TPM can use."""
    if key_file is None:
        return False
    with Path(key_file).open("rb") as file:
        return file.read(len(_TPM_KEY)) == _TPM_KEY
