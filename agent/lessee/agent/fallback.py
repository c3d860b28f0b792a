"""What an app falls back to at a cold start without Vault, and what is kept for that."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from lessee.agent.effects import Effects
from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.config import App, LastKnownGoodFallback
from lessee.core import last_known_good
from lessee.core.errors import LesseeError
from lessee.core.generation import Generation
from lessee.core.last_known_good import SnapshotHeader, SnapshotSecrets
from lessee.host import encrypted_file
from lessee.host.clock import boot_time, wall_time
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.render import Inputs, render


class Falling:
    """Each of these gives its event at once."""

    def __init__(self, effects: Effects, learned: Callable[[str], str]) -> None:
        """`learned` gives the redactor's name of a source of values."""
        self._redactor = effects.redactor
        self._environ = effects.environ
        self._learned = learned

    def fall_back(self, app: App, command: cmd.RenderFallback) -> ev.Event:
        """The app's files, from its fallback."""
        compiled_app = command.compiled_app
        assert isinstance(compiled_app, CompiledApp)
        assert app.fallback is not None
        try:
            if isinstance(app.fallback, LastKnownGoodFallback):
                return ev.FallbackRendered(
                    app.name, command.job, self._last_good(app, app.fallback, compiled_app), "last_known_good"
                )
            from lessee.rendering.fallback.files import build  # noqa: PLC0415  # Of all env formats.

            return ev.FallbackRendered(app.name, command.job, build(compiled_app, app.fallback, self._environ), "env")
        except LesseeError as exc:
            return ev.FallbackFailed(app.name, command.job, str(exc))

    def keep_good(self, app: App, command: cmd.SaveSnapshot) -> ev.Event:
        """Keep what the app's files were made from, for a later life."""
        fallback = app.fallback
        assert isinstance(fallback, LastKnownGoodFallback)
        now = wall_time()
        ends = {need: now + at - boot_time() for need, at in command.ends.items()}
        content = last_known_good.encode_snapshot(command.secrets, command.folders, command.dynamic, ends)
        label = msgspec.json.encode(SnapshotHeader(app.name, fallback.environment, now))
        try:
            encrypted_file.encrypt(Path(fallback.file), label, content, encrypted_file.key_file(self._environ))
        except LesseeError as exc:
            return ev.SnapshotSaved(app.name, str(exc))
        return ev.SnapshotSaved(app.name)

    def _last_good(self, app: App, fallback: LastKnownGoodFallback, compiled_app: CompiledApp) -> Generation:
        served = self._served(app, fallback, compiled_app)
        inputs = Inputs(served.secrets, served.folders, served.dynamic, self._environ)
        return render(compiled_app, inputs).generation

    def _served(self, app: App, fallback: LastKnownGoodFallback, compiled_app: CompiledApp) -> SnapshotSecrets:
        found, now = encrypted_file.read(Path(fallback.file)), wall_time()
        try:
            label = _label(found.label)
            last_known_good.check_header(label, app.name, fallback.environment, fallback.max_age, now)
            content = encrypted_file.decrypt(found, encrypted_file.key_file(self._environ))
            served = last_known_good.decode_snapshot(content, compiled_app.references, now)
        except LesseeError as exc:
            raise type(exc)(exc.what, where=exc.where or fallback.file, todo=exc.todo) from None
        self._learn(served)
        return served

    def _learn(self, served: SnapshotSecrets) -> None:
        """Before anything is done with the values."""
        for need, secret in (*served.secrets.items(), *served.dynamic.items()):
            self._redactor.learn(self._learned(str(need)), secret.data.values())
        for folder, inside in served.folders.items():
            for name, secret in inside.items():
                self._redactor.learn(self._learned(str(folder.ref(name))), secret.data.values())


def _label(text: bytes) -> SnapshotHeader:
    try:
        return msgspec.json.decode(text, type=SnapshotHeader)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise LesseeError("its first lines are not lessee's", todo="remove it") from None
