"""The block of the trail: a record of acts that shows whether it was altered."""

from typing import Annotated

from lessee.config.grammar import scalars as w
from lessee.config.grammar.block import Block, says


class Trail(Block, frozen=True, kw_only=True):
    """Where what was done is recorded, chained and signed; `lessee audit verify` looks whether it is whole."""

    directory: Annotated[w.AbsolutePath, says("The folder of the trail, on a disk.")]
    key_file: Annotated[w.AbsolutePath, says("The Ed25519 key that signs it, outside that folder; made at first use.")]
    required: Annotated[w.Switch, says("An operator's command that cannot record its act does not begin it.")] = False
