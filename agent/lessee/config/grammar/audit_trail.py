"""The block `audit_trail`: a record of lessee's own actions that reveals alterations."""

from typing import Annotated

from lessee.config.grammar import scalars
from lessee.config.grammar.block import Block, describe


class AuditTrail(Block, frozen=True, kw_only=True):
    """Where lessee records its actions, hash-chained and signed; `lessee audit verify` verifies the record."""

    directory: Annotated[scalars.AbsolutePath, describe("The directory of the audit trail, on a disk.")]
    key_file: Annotated[
        scalars.AbsolutePath,
        describe(
            "The path of the Ed25519 private key that signs the audit trail, outside `directory`. lessee creates it on "
            "first use."
        ),
    ]
    required: Annotated[
        scalars.Boolean,
        describe("true means that an operator's command does not start if it cannot record its action."),
    ] = False
