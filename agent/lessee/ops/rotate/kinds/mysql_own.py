"""A user of MariaDB or MySQL that needs no other admin."""

from lessee.core import credentials as wanted
from lessee.ops.rotate.kinds.mysql import Users
from lessee.ops.rotate.policy.journal import Fields


class OwnUser(Users):
    """One user, which changes its own passwords, with the login that has last worked."""

    def verify(self, fields: Fields) -> bool:
        works = super().verify(fields)
        if works:
            self._login = wanted.mysql(self._config.secret, fields)
        return works

    def _check_admin(self) -> None:
        """It is the admin."""
