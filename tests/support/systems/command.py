"""A custom rotator: the example in the templates' directory, with its keys in a file."""

import json
import secrets
from contextlib import contextmanager

from support.paths import ROOT

EXAMPLE = ROOT / "templates/rotation/example-rotator"


class RotatorProgram:
    calls = ("lessee.ops.rotate.rotator_programs:Program.run",)
    min_calls = 10

    def __init__(self, folder):
        self.file = folder / f"{secrets.token_hex(4)}.json"
        self._first = secrets.token_urlsafe(24)
        self.file.write_text(json.dumps({"created manually": self._first}))
        self.target = {"kind": "command", "secret": "other/thing", "command": [str(EXAMPLE)], "timeout": "20s"}

    @classmethod
    @contextmanager
    def started(cls, folder):
        yield lambda: cls(folder)

    def secrets(self):
        return {"other/thing": {"keys_file": str(self.file), "api_key": self._first}}

    def accepts(self, fields):
        return fields["api_key"] in self._keys()

    def orphans(self, fields):
        return {id_ for id_, key in json.loads(self.file.read_text()).items() if key != fields["api_key"]}

    def old_is_revoked(self, fields):
        return not self.accepts(fields)

    def _keys(self):
        return json.loads(self.file.read_text()).values()
