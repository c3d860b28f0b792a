"""How much of an exhaustive matrix a run tries: a fixed sample, or with `THOROUGH=yes` all of it."""

import os
from zlib import crc32

THOROUGH = bool(os.environ.get("THOROUGH"))


def sampled(sequence, *, of, key):
    """Each N-th of these, N being `of`, or all with `THOROUGH=yes`; of an endless sequence too.

    Where it starts depends on the key, such as the name of a kind: several kinds together cover all places.
    """
    offset = 0 if THOROUGH else crc32(key.encode()) % of
    return (one for number, one in enumerate(sequence) if THOROUGH or number % of == offset)
