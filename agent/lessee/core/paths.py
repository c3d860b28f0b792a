"""What a template reads in Vault: a KV secret, a folder of them, or what a secrets engine answers."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Literal

from lessee.core.immutable import ImmutableStruct

_CAPABILITIES: Mapping[str, str] = {"GET": "read", "POST": "update", "LIST": "list"}
_OF_ROLES = 3
"""The least elements of a path that ends in an action and the name of a role."""
_ENDING_ROLES = frozenset(
    {"code", "creds", "issue", "key", "sign-verbatim", "static-cred", "static-creds", "sts", "token"}
)
"""Engines' names of the actions whose answers have an end, before the name of a role: `database/creds/simba`."""
_ENDING_ACTIONS = frozenset({"check-out", "sign-verbatim"})
"""The same at the end of a path, such as `ldap/library/team/check-out`."""
_MAX_TEXT = 200
"""Characters of parameters that are in the text of a reference."""
_SOURCE = "::"
"""The end of a source's mount, with which no mount of Vault ends."""


def source_mount(name: str) -> str:
    """What a source has in the place of a mount, so that a path of it is `NAME::PATH` everywhere."""
    return f"{name}{_SOURCE}"


def is_of_source(mount: str) -> bool:
    """Whether this is the mount of a source."""
    return mount.endswith(_SOURCE)


class Ref(ImmutableStruct, frozen=True, order=True):
    """A KV secret: `path` is below `mount`, without `data/`; `version` None is the latest.

    `mount` begins with the namespace, if the template names one. For `identity` see `Need`, and for a source
    `source_mount`.
    """

    mount: str
    path: str
    version: int | None = None
    identity: str = ""

    def __str__(self) -> str:
        if is_of_source(self.mount):
            return f"{self.mount}{self.path}"
        path = f"{self.mount}/{self.path}" + (f"@{self.version}" if self.version else "")
        return f"{self.identity}:{path}" if self.identity else path

    @property
    def folder(self) -> "Folder":
        """The folder that contains the secret; its path is "" for the mount's root."""
        head, slash, _ = self.path.rpartition("/")
        return Folder(self.mount, head + slash, self.identity)


class Folder(ImmutableStruct, frozen=True, order=True):
    """A KV folder; `path` is empty or ends in a slash."""

    mount: str
    path: str
    identity: str = ""

    def __str__(self) -> str:
        if is_of_source(self.mount):
            return f"{self.mount}{self.path}"
        path = f"{self.mount}/{self.path}"
        return f"{self.identity}:{path}" if self.identity else path

    def ref(self, name: str) -> Ref:
        """The secret called `name` in this folder."""
        return Ref(self.mount, self.path + name, None, self.identity)


Parameter = str | int | bool
Method = Literal["GET", "POST", "LIST"]


class Input(ImmutableStruct, frozen=True):
    """A parameter of a request whose value is a field of a KV secret."""

    name: str
    secret: Ref
    keys: tuple[str, ...]
    """The names of the fields, from the outermost to the innermost."""
    encoded: bool = False
    """Whether the value is sent as base64."""


class DynamicSecret(ImmutableStruct, frozen=True):
    """What Vault generates on request: leased credentials or a certificate; or the password of a static role.

    Or what `vault()` in a template requests at any other path. `path` starts with its mount. `params` are sorted, and
    sent in the body of a POST.
    """

    path: str
    params: tuple[tuple[str, Parameter], ...] = ()
    method: Method = "GET"
    certificate: bool = False
    local_key: bool = False
    """Whether the agent generates the private key of a certificate and sends only a signing request."""
    identity: str = ""
    body: str = ""
    """The parameters of other types than those in `params`, as one JSON object."""
    every: float | None = None
    """Seconds after which it is requested again at the latest; 0: never. None: its answer says when it ends."""
    inputs: tuple[Input, ...] = ()
    """Parameters from secrets: another value is another request."""

    @property
    def request_path(self) -> str:
        """The path of the request: `sign/ROLE` instead of `issue/ROLE` if the key is local."""
        if not self.local_key:
            return self.path
        before, _, role = self.path.rpartition("/issue/")
        return f"{before}/sign/{role}"

    @property
    def capability(self) -> str:
        """The capability that a policy must grant on the path."""
        return _CAPABILITIES[self.method]

    @property
    def tells_its_end(self) -> bool:
        """Whether the answer has a lease, a ttl or an end of its own, as far as the path tells."""
        elements = self.path.split("/")
        if self.certificate or elements[-1] in _ENDING_ACTIONS:
            return True
        # A KV secret may have any name.
        if len(elements) < _OF_ROLES or "data" in elements[1:-2]:
            return False
        # Transit signs texts, which do not expire; SSH and PKI sign keys and requests.
        names = {name for name, _ in self.params} | {each.name for each in self.inputs}
        return elements[-2] in _ENDING_ROLES or (elements[-2] == "sign" and not names.isdisjoint({"public_key", "csr"}))

    @property
    def may_end(self) -> bool:
        """Whether the answer may have a lease or another end, as far as the call tells."""
        return self.every is None or self.tells_its_end

    @property
    def is_polled(self) -> bool:
        """Whether a request makes nothing, so that it is repeated to see whether the answer has changed."""
        return self.method != "POST" and not self.may_end

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in self.params]
        sends = self.params or self.body or self.inputs or self.certificate
        if self.method == "LIST" or (self.method == "POST" and not sends):
            words.append(self.method)
        if self.every is not None:
            words.append(f"every={self.every:g}s" if self.every else "every=never")
        text = ", ".join(words)
        if self.body or self.inputs or len(text) > _MAX_TEXT or (self.params and not self.tells_its_end):
            # Not what an engine is to encrypt, sign or store, nor a whole key. Two calls never have the same text.
            names = [*(name for name, _ in self.params), *(each.name for each in self.inputs)]
            digest = sha256(f"{text}{self.body}{self.inputs}".encode()).hexdigest()
            text = ", ".join([*names, *words[len(self.params) :], f"call {digest[:8]}"])
        path = f"{self.path} ({text})" if text else self.path
        return f"{self.identity}:{path}" if self.identity else path


Need = Ref | Folder | DynamicSecret
"""What a template can read. `identity`: the one of `identities` or `sources` that reads it; empty for the app's own."""
