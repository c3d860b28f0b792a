"""A StatusSource with a fixed status, for tests of the status server."""


class StaticStatus:
    """Serves one status; collects the `refreshes` that were requested. The path "typo" is unknown."""

    def __init__(self, status):
        self._status = status
        self.refreshes = []

    def status(self):
        return self._status

    def is_alive(self):
        return True

    def metrics(self):
        return b"lessee_ready 1.0\n"

    def refresh(self, paths):
        self.refreshes.append(paths)
        return [path for path in paths if path == "typo"]
