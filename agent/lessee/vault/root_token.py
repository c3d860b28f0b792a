"""Makes a root token from unseal or recovery keys."""

from base64 import b64decode
from collections.abc import Iterable

from lessee.vault.admin import AdminClient


def generate_root_token(client: AdminClient, keys: Iterable[str]) -> str:
    """A new root token, from as many keys as the server's threshold. Raises DeniedError.

    https://openbao.org/api-docs/system/generate-root/: the server encrypts it with a one-time password of its own.
    """
    system = client.unauthenticated.hvac.sys
    begun = system.start_root_token_generation()
    update: dict[str, object] = {}
    for key in keys:
        update = system.generate_root(key, begun["nonce"])
        if update.get("complete"):
            break
    encoded = str(update["encoded_root_token"])
    token = b64decode(encoded + "=" * (-len(encoded) % 4))
    return bytes(one ^ other for one, other in zip(token, str(begun["otp"]).encode(), strict=True)).decode()
