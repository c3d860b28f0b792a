"""The Vaults that earlier runs of the agent used, as its state store recorded them."""

from collections.abc import Mapping

import msgspec

from lessee.agent.effects import StateStore
from lessee.config import Vault
from lessee.publishing.state_records import key_of
from lessee.telemetry.logs import log


def stored_vaults(state_store: StateStore) -> Mapping[str, Vault]:
    """The logins of earlier runs by identity. A record that is not what the agent itself writes is refused."""
    found = {}
    for identity, block in state_store.identities().items():
        try:
            vault = msgspec.json.decode(block, type=Vault)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            vault = None
        # Another version of lessee may have stored it: its tokens and leases expire.
        if vault is None or key_of(vault) != identity:
            reason = "its identity belongs to another login"
            log("warning", "state record refused", identity=identity[:8], reason=reason)
        else:
            found[identity] = vault
    return found
