"""Bounds the memory that the secrets of one folder take, whatever other clients write into it."""

from lessee.core.failures import Failure, Kind
from lessee.core.paths import Folder, Ref
from lessee.core.redaction import texts
from lessee.core.secrets import Secret
from lessee.vault.transport import RequestFailedError

SMALL = 1 << 14
"""Characters. A smaller secret is never refused, so that large ones keep out no usual one."""
MAX_SIZE = 1 << 26
"""Characters of all larger secrets of a folder: as many bytes as all files of an app may have."""


class LargeSecrets:
    """The sizes of the large secrets that were read. Any thread may use it."""

    def __init__(self) -> None:
        self._sizes: dict[Folder, dict[Ref, int]] = {}

    def hold(self, ref: Ref, secret: Secret) -> None:
        """Count this secret in place of its last version. Raises RequestFailedError if its folder is too large."""
        size = sum(map(len, texts(secret.data)))
        sizes = self._sizes.setdefault(ref.folder, {}) if size > SMALL else self._sizes.get(ref.folder, {})
        sizes.pop(ref, None)
        if size <= SMALL:
            return
        if sum(list(sizes.values())) + size > MAX_SIZE:
            text = f"the large secrets of its folder have more than {MAX_SIZE >> 20} MiB; distribute them"
            raise RequestFailedError(Failure(Kind.INVALID, text))
        sizes[ref] = size
