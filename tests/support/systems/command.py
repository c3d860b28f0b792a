"""A rotator of one's own: the example that lies beside the templates, and its keys in a file."""

import json
import secrets
from contextlib import contextmanager

from support.paths import ROOT

EXAMPLE = ROOT / "templates/rotation/example-rotator"


class OwnProgram:
    calls = ("lessee.ops.rotate.rotator_programs:Program.run",)
    crossings_least = 10

    def __init__(self, folder):
        self.file = folder / f"{secrets.token_hex(4)}.json"
        self._first = secrets.token_urlsafe(24)
        self.file.write_text(json.dumps({"by hand": self._first}))
        self.target = {"kind": "command", "secret": "other/thing", "command": [str(EXAMPLE)], "timeout": "20s"}

    @classmethod
    @contextmanager
    def started(cls, folder):
        yield lambda: cls(folder)

    def secrets(self):
        return {"other/thing": {"keys_file": str(self.file), "api_key": self._first}}

    def lets_in(self, fields):
        return fields["api_key"] in self._keys()

    def orphans(self, fields):
        return {made for made, key in json.loads(self.file.read_text()).items() if key != fields["api_key"]}

    def old_is_over(self, fields):
        return not self.lets_in(fields)

    def _keys(self):
        return json.loads(self.file.read_text()).values()
