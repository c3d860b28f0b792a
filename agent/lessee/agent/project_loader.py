"""Loads an edited configuration in a thread, because compiling large templates takes seconds."""

import threading
from collections.abc import Callable

from lessee.core.immutable import ImmutableStruct
from lessee.host.config_reload import Stamps
from lessee.host.project import Project

_STACK_SIZE = 16 * 1024 * 1024
"""Bytes of address space. Python's compiler recurses, and its limits expect the stack of a main thread."""


class Loaded(ImmutableStruct, frozen=True):
    """What a thread has read."""

    stamps: Stamps
    """The stamps with which it began."""
    result: Project | Exception

    def project(self) -> Project:
        """The project. Raises what reading it raised."""
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class ProjectLoader:
    """Loads one project at a time. Only the thread of the loop may call its methods."""

    def __init__(self, loaded: Callable[[Loaded], None]) -> None:
        """`loaded` is called by the thread."""
        self._loaded = loaded
        self._is_loading = False
        self._next: tuple[Callable[[], Stamps], Callable[[], Project]] | None = None

    def start(self, stamps: Callable[[], Stamps], load: Callable[[], Project]) -> None:
        """Load now; or once more after the present one, however many calls there were meanwhile."""
        if self._is_loading:
            self._next = stamps, load
            return
        self._is_loading = True
        thread = threading.Thread(target=self._run, args=(stamps(), load), name="lessee-reload", daemon=True)
        usual = threading.stack_size(_STACK_SIZE)
        try:
            thread.start()
        finally:
            threading.stack_size(usual)

    def finish(self) -> None:
        """The loop has taken what was loaded: begin with the next one, if there is one."""
        self._is_loading = False
        if self._next is not None:
            following, self._next = self._next, None
            self.start(*following)

    def _run(self, stamps: Stamps, load: Callable[[], Project]) -> None:
        result: Project | Exception
        try:
            result = load()
        except Exception as exc:  # noqa: BLE001  # The loop raises it.
            result = exc
        self._loaded(Loaded(stamps, result))
