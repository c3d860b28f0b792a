"""Renders in separate threads what takes long, while the loop serves all other apps."""

import sys
import threading
from collections import deque
from collections.abc import Callable

from lessee.core.errors import LesseeError
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.render import Inputs, Rendering, render

THREADS = 2
"""Renderings at a time: one that takes many seconds does not delay all others that are slow."""
_SWITCH_INTERVAL = 0.0005
"""Seconds after which Python lets another thread run meanwhile. By default it is ten times as long, and the loop would
wait for that after each of its system calls."""
_USUAL_INTERVAL = sys.getswitchinterval()


class SlowRenderer:
    """Each rendering ends with an event, which a thread posts."""

    def __init__(self, post: Callable[[ev.Event], None]) -> None:
        self._post = post
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], ev.Event]] = deque()
        self._threads = 0
        self._finished: dict[int, Rendering] = {}

    def render(self, command: cmd.Render, compiled_app: CompiledApp, inputs: Inputs, before: Rendering | None) -> None:
        """Render all files of an app, whose templates are prepared."""
        self.start(
            lambda: self._render(command, compiled_app, inputs, before),
            lambda reason: ev.RenderFailed(command.app, command.job, reason),
        )

    def start(self, task: Callable[[], ev.Event], failed: Callable[[str], ev.Event]) -> None:
        """Run the task, which returns its event; `failed` returns the event for an error with this reason."""
        with self._lock:
            self._waiting.append(lambda: _ended(task, failed))
            if self._threads < THREADS:
                self._threads += 1
                sys.setswitchinterval(_SWITCH_INTERVAL)
                threading.Thread(target=self._work, name="lessee-renderer", daemon=True).start()

    def take(self, event: ev.Rendered) -> Rendering:
        """The rendering that this event reports; it is returned once."""
        return self._finished.pop(event.job)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    if not self._threads:
                        sys.setswitchinterval(_USUAL_INTERVAL)
                    return
                task = self._waiting.popleft()
            self._post(task())

    def _render(
        self, command: cmd.Render, compiled_app: CompiledApp, inputs: Inputs, before: Rendering | None
    ) -> ev.Event:
        rendering = render(compiled_app, inputs, before)
        self._finished[command.job] = rendering
        return ev.Rendered(command.app, command.job, rendering.generation)


def _ended(task: Callable[[], ev.Event], failed: Callable[[str], ev.Event]) -> ev.Event:
    try:
        return task()
    except LesseeError as exc:
        return failed(str(exc))
    except Exception as exc:  # noqa: BLE001  # Without an event the app would wait forever.
        return failed(f"internal error: {type(exc).__name__}; please report it")
