"""The fields of an agent's status, from states that the real machine came to."""

from lessee.agent.machine.status.view import IdentityStatus, status
from support.models.world import World, app_spec, creds, ref
from support.reference.markdown import code, page, table

_ABOUT = """
Every field of `lessee status --json` and of `/status.json` of an agent. `NAME` is an app, and `[]` an entry of a list.
Each time is a text in RFC 3339, in UTC. A field that may be null has no value yet, or does not apply. The
[status port](configuration.md#the-status-port) says what `ready` and `fresh` mean.
"""
_WALL = 1_764_000_000.0


class _Vault(World):
    @property
    def document(self):
        identity = IdentityStatus("1", "https://vault:8200", self.state)
        return status([identity], self.now, _WALL, environment="production")


def status_page():
    """The page of all fields of an agent's status."""
    tree = {}
    for document in _documents():
        _collect(document, tree)
    return page("Status", _ABOUT, table(("field", "value"), _rows("", tree)))


def _rows(path, tree):
    """A row for each value, in the order of the document."""
    for key, below in tree.items():
        place = key if not path else f"{path}{key}" if key == "[]" else f"{path}.{key}"
        if kinds := below.get(_KIND, set()):
            known = sorted(kinds - {"null"}) or ["a value"]
            yield code(place), " or ".join([*known, *(kinds & {"null"})])
        yield from _rows(place, {name: found for name, found in below.items() if name != _KIND})


def _documents():
    """An agent before its first answer, and one that works, with a lease and a secret that does not exist."""
    made = _Vault({"web": app_spec(ref("p/db/a"), creds("x"), ref("p/none"))})
    yield made.document
    made.write(ref("p/db/a"))
    made.run(3)
    yield made.document
    well = _Vault({"web": app_spec(ref("p/db/a"), creds("x"))})
    well.write(ref("p/db/a"))
    well.run(3)
    yield well.document


def _collect(value, tree):
    if isinstance(value, dict):
        for key, below in value.items():
            name = "NAME" if "generation" in (below if isinstance(below, dict) else ()) else key
            _collect(below, tree.setdefault("FOLDER" if key.endswith("/") else name, {}))
    elif isinstance(value, list | tuple):
        for below in value:
            _collect(below, tree.setdefault("[]", {}))
    else:
        tree.setdefault(_KIND, set()).add(_KINDS[type(value)])


_KIND = object()
_KINDS = {type(None): "null", bool: "`true`, `false`", int: "number", float: "number", str: "text"}
