"""The secret_id in a file on this machine, with which a rotator, an operator or an agent logs in."""

from contextlib import suppress

from lessee.config.grammar.rotation import SecretIdFile as Config
from lessee.core.errors import LesseeError
from lessee.ops.rotate.kinds.approle import SecretIds
from lessee.ops.rotate.kinds.credential_file import CredentialFile
from lessee.ops.rotate.kinds.kind import Case, KindContext, NewCredential, SystemRefusedError
from lessee.ops.rotate.policy.journal import Fields
from lessee.telemetry.logs import log


class LocalSecretId(SecretIds):
    """The secret names the accessor of the secret_id in the file, and the accessor of the one that it replaced.

    Only what the file had is ever destroyed: the role's other secret_ids belong to other machines.
    """

    def __init__(self, config: Config, context: KindContext) -> None:
        super().__init__(config, context, lambda _: ())
        self._file = CredentialFile(context.folder / config.secret_id_file)

    def list_credentials(self, case: Case) -> tuple[str, ...]:
        """As its base class. Raises WriteError where the file could not be replaced."""
        self._file.check_replaceable()
        return super().list_credentials(case)

    def create(self, case: Case) -> NewCredential:
        """A new secret_id, next to the file."""
        replaced = self._in_file()
        created = super().create(case)
        try:
            self._file.stage(created.handle, str(created.fields["secret_id"]))
        except LesseeError:
            with suppress(LesseeError):  # The next attempt finds it by its metadata.
                self._destroy(created.handle)
            raise
        fields = {"secret_id_accessor": created.handle, "replaced_accessor": replaced}
        return NewCredential(fields, handle=created.handle)

    def verify(self, fields: Fields) -> bool:
        """Log in with the secret_id that has the accessor: the staged one, or that of the file."""
        accessor = str(fields.get("secret_id_accessor") or "")
        staged = self._file.staged(accessor) if accessor else None
        if staged is not None:
            return self._accepts(staged)
        found = self._in_file()
        # A person may have replaced it, but it must not be what it was before this rotation.
        return found not in {"", fields.get("replaced_accessor")} and self._accepts(self._file.read())

    def place(self, case: Case) -> None:
        """Put the new secret_id into the file, unless a person has put another one there."""
        accessor, replaced = case.pending["secret_id_accessor"], case.pending["replaced_accessor"]
        if self._file.staged(accessor) is None:
            return  # It has been placed, or a person has replaced it.
        if self._in_file() not in {replaced, accessor, ""}:
            note = "it stays; the new secret_id is destroyed"
            log("warning", "secret_id file changed manually", target=self._target, file=str(self._file.path), note=note)
            return
        self._file.place(accessor)

    def revoke(self, case: Case) -> bool:
        """Destroy the secret_id that the file had before, if it exists, after a login with the one that it has now."""
        found = self._in_file()
        accessor = case.pending["secret_id_accessor"]
        old = {accessor, case.pending["replaced_accessor"]}
        if case.current.get("replaced_accessor") == accessor:  # A person has published the old record again.
            old.add(case.current["secret_id_accessor"])
        old = {one for one in old - {found, "", None} if self._about(one)}
        if old and (not found or not self._accepts(self._file.read())):
            todo = f"write a valid secret_id of {self._role} into it"
            raise SystemRefusedError("Vault rejects the secret_id in the file", where=str(self._file.path), todo=todo)
        for one in old:
            self._destroy(one)
        self._file.clean()
        return bool(old)

    def discard(self, case: Case) -> None:
        accessor = case.pending.get("secret_id_accessor")
        if accessor and accessor != self._in_file():
            self._destroy(accessor)
            self._file.remove(accessor)

    def _in_file(self) -> str:
        """The accessor of the secret_id in the file; empty where it has none that Vault knows."""
        return self._accessor_of({"secret_id": self._file.read()})

    def _accepts(self, secret_id: str) -> bool:
        role_id = self._approle.read_role_id(**self._name)["data"]["role_id"]
        return super().verify({"role_id": role_id, "secret_id": secret_id})
