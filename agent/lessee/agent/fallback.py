"""Renders an app's files from its fallback, and saves its last-known-good snapshot."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from lessee.agent.effects import Effects
from lessee.config import App, LastKnownGoodFallback
from lessee.core import last_known_good
from lessee.core.errors import LesseeError
from lessee.core.generation import Generation
from lessee.core.last_known_good import SnapshotHeader, SnapshotSecrets
from lessee.host import encrypted_file
from lessee.host.clock import boot_time, wall_time
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.render import Inputs, render


class FallbackRenderer:
    """Each method returns the event that ends its command."""

    def __init__(self, effects: Effects, redaction_name: Callable[[str], str]) -> None:
        """`redaction_name`: the name under which the redactor learns the values of a secret."""
        self._redactor = effects.redactor
        self._environ = effects.environ
        self._redaction_name = redaction_name

    def render(self, app: App, command: cmd.RenderFallback) -> ev.Event:
        """Render the app's files from its fallback."""
        compiled_app, fallback = command.compiled_app, app.fallback
        assert isinstance(compiled_app, CompiledApp)
        assert fallback is not None
        try:
            if isinstance(fallback, LastKnownGoodFallback):
                generation = self._from_snapshot(app, fallback, compiled_app)
                return ev.FallbackRendered(app.name, command.job, generation, "last_known_good")
            from lessee.rendering.fallback.files import build  # noqa: PLC0415  # It imports all env formats.

            return ev.FallbackRendered(app.name, command.job, build(compiled_app, fallback, self._environ), "env")
        except LesseeError as exc:
            return ev.FallbackFailed(app.name, command.job, str(exc))

    def save_snapshot(self, app: App, command: cmd.SaveSnapshot) -> ev.Event:
        """Save the secrets in the app's files for a cold start without Vault."""
        fallback = app.fallback
        assert isinstance(fallback, LastKnownGoodFallback)
        now = wall_time()
        ends = {need: now + at - boot_time() for need, at in command.ends.items()}
        content = last_known_good.encode_snapshot(command.secrets, command.folders, command.dynamic, ends)
        header = msgspec.json.encode(SnapshotHeader(app.name, fallback.environment, now))
        try:
            encrypted_file.encrypt(Path(fallback.file), header, content, encrypted_file.key_file(self._environ))
        except LesseeError as exc:
            return ev.SnapshotSaved(app.name, str(exc))
        return ev.SnapshotSaved(app.name)

    def _from_snapshot(self, app: App, fallback: LastKnownGoodFallback, compiled_app: CompiledApp) -> Generation:
        secrets = self._read_snapshot(app, fallback, compiled_app)
        inputs = Inputs(secrets.secrets, secrets.folders, secrets.dynamic, self._environ)
        return render(compiled_app, inputs).generation

    def _read_snapshot(self, app: App, fallback: LastKnownGoodFallback, compiled_app: CompiledApp) -> SnapshotSecrets:
        file, now = encrypted_file.read(Path(fallback.file)), wall_time()
        try:
            header = last_known_good.parse_header(file.label)
            last_known_good.check_header(header, app.name, fallback.environment, fallback.max_age, now)
            content = encrypted_file.decrypt(file, encrypted_file.key_file(self._environ))
            secrets = last_known_good.decode_snapshot(content, compiled_app.references, now, header.format)
        except LesseeError as exc:
            raise type(exc)(exc.what, where=exc.where or fallback.file, todo=exc.todo) from None
        self._redact(secrets)
        return secrets

    def _redact(self, secrets: SnapshotSecrets) -> None:
        """The redactor learns the values before they are used."""
        for need, secret in (*secrets.secrets.items(), *secrets.dynamic.items()):
            self._redactor.learn(self._redaction_name(str(need)), secret.data.values())
        for folder, content in secrets.folders.items():
            for name, secret in content.items():
                self._redactor.learn(self._redaction_name(str(folder.ref(name))), secret.data.values())
