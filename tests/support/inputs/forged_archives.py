"""Truncated, altered and forged archives, each with the expected exit code and error."""

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pyrage

from lessee.ops.backup.encryption import encrypt
from lessee.ops.backup.keys import Keys
from lessee.ops.backup.policy.archive_format import manifest_hmac
from lessee.ops.backup.policy.records import fingerprint

CHUNK = 64 * 1024 + 16
REFUSED, NO_ARCHIVE = 77, 65


@dataclass
class Forger:
    """An attacker with the public key and an archive."""

    key: Path
    archive: Path

    def __post_init__(self):
        secret = self.key.read_text().splitlines()[-1]
        self.identity = pyrage.x25519.Identity.from_str(secret)
        self.keys = Keys((secret,), (str(self.identity.to_public()),))
        self.bytes = self.archive.read_bytes()
        self.clear = pyrage.decrypt(self.bytes, [self.identity])
        with tarfile.open(fileobj=io.BytesIO(self.clear)) as tar:
            self.members = {info.name: tar.extractfile(info).read() for info in tar}

    @property
    def header(self):
        """The length of age's header."""
        return self.bytes.index(b"\n", self.bytes.index(b"\n--- ") + 1) + 1

    def encrypted(self, clear):
        out = io.BytesIO()
        encrypt(iter([clear]), out, [self.identity.to_public()])
        return out.getvalue()

    def packed(self, members, *, end=True):
        """Members by name, in order; a value may be a TarInfo."""
        out = io.BytesIO()
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if content is info else content
            info.size = len(data) if content is not info else info.size
            out.write(info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512))
        return self.encrypted(out.getvalue() + (bytes(1024) if end else b""))

    def with_(self, *, authenticated=False, manifest=None, **changes):
        """Change members, with a matching manifest. `authenticated`: with the HMAC of the key."""
        members = self.members | {_NAMES[name]: content for name, content in changes.items()}
        manifest = manifest or self.manifest()
        manifest["members"] = [
            {"name": name, "size": len(members[name]), "sha256": hashlib.sha256(members[name]).hexdigest()}
            for name in members
            if not name.startswith("manifest")
        ]
        return self.with_manifest(manifest, members, authenticated=authenticated)

    def with_manifest(self, manifest, members=None, *, authenticated=False):
        members = dict(members or self.members)
        manifest["authenticated_by"] = self.keys.public_keys[0] if authenticated else ""
        text = json.dumps(manifest).encode()
        members["manifest.json"] = text
        if authenticated:
            members["manifest.hmac"] = manifest_hmac(text, self.keys.secrets[0].encode())
        else:
            members.pop("manifest.hmac")
        return self.packed(members.items())

    def manifest(self, **changes):
        return json.loads(self.members["manifest.json"]) | changes


_NAMES = {"server": "server.ndjson", "kv": "kv.ndjson", "snapshot": "raft.snap"}


def flipped(content, at):
    at = at % len(content)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def cut_or_altered(forger):
    """Changes without any key."""
    whole, header = forger.bytes, forger.header
    assert len(whole) > header + 16 + 3 * CHUNK
    first, second = (whole[header + 16 + n * CHUNK :][:CHUNK] for n in (0, 1))
    age = "age cannot authenticate it"
    return {
        "empty": (b"", age),
        "a text": (b"this is no archive\n" * 100, age),
        "cut in age's first line": (whole[:10], age),
        "cut in the header": (whole[: header // 2], age),
        "cut after the header": (whole[:header], age),
        "cut in the nonce": (whole[: header + 7], age),
        "cut in the first chunk": (whole[: header + 1000], age),
        "cut between two chunks": (whole[: header + 16 + CHUNK], age),
        "cut in the last chunk": (whole[:-100], age),
        "cut by one byte": (whole[:-1], age),
        "a bit in age's first line": (flipped(whole, 3), age),
        "a bit in the recipient": (flipped(whole, 60), ".age: "),
        "a bit in the header's MAC": (flipped(whole, header - 10), age),
        "a bit in the nonce": (flipped(whole, header + 5), age),
        "a bit in the first chunk": (flipped(whole, header + 100), age),
        "a bit in the middle": (flipped(whole, len(whole) // 2), age),
        "a bit in the last MAC": (flipped(whole, -1), age),
        "a byte more": (whole + b"x", age),
        "a chunk twice": (whole[: header + 16 + CHUNK] + whole[header + 16 :], age),
        "two chunks swapped": (whole.replace(first + second, second + first), age),
        "two archives": (whole + whole, age),
    }


def forged(forger):
    """Archives made with the public key, and with the key itself."""
    m, manifest = forger.members, forger.manifest
    names = list(m)
    secret = json.loads(m["kv.ndjson"].splitlines()[0])
    link = tarfile.TarInfo("server.ndjson")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    huge = tarfile.TarInfo("manifest.json")
    huge.size = 1 << 40
    versions = [{**version, "data": {"value": "another"}} for version in secret["versions"]]
    another = {**secret, "versions": [_as_saved(manifest()["key"], secret, version) for version in versions]}
    elsewhere = {**secret, "path": "../../sys/policies/acl/root"}
    outside = {**secret, "mount": "sys/"}
    no_hmac = "not authenticated with your key"
    return {
        "without an HMAC": (forger.with_manifest(manifest()), REFUSED, no_hmac),
        "values changed, and all checksums": (forger.with_(kv=_lines(m["kv.ndjson"], another)), REFUSED, no_hmac),
        "of another cluster": (
            forger.with_manifest(manifest(cluster_id="x"), authenticated=True),
            REFUSED,
            "another cluster",
        ),
        "of a newer server": (
            forger.with_manifest(manifest(server_version="99.0.0"), authenticated=True),
            REFUSED,
            "newer server",
        ),
        "of a newer lessee": (
            forger.with_manifest(manifest(format=3), authenticated=True),
            NO_ARCHIVE,
            "the archive has format 3",
        ),
        "of format 0": (
            forger.with_manifest(manifest(format=0), authenticated=True),
            NO_ARCHIVE,
            "the archive has format 0",
        ),
        "the HMAC of another manifest": (
            forger.packed((m | {"manifest.json": m["manifest.json"].replace(b'"counts"', b'"Counts"')}).items()),
            NO_ARCHIVE,
            "is malformed",
        ),
        "a manifest changed after its HMAC": (
            forger.packed(
                (m | {"manifest.json": m["manifest.json"].replace(b"vault-cluster", b"fault-cluster")}).items()
            ),
            NO_ARCHIVE,
            "its HMAC is wrong",
        ),
        "members swapped": (
            forger.packed((n, m[n]) for n in [*names[:2], *names[:1:-1]]),
            NO_ARCHIVE,
            "missing or misplaced",
        ),
        "a member missing": (forger.packed((n, m[n]) for n in names[:-1]), NO_ARCHIVE, "its kv.ndjson is missing"),
        "a member more": (forger.packed([*m.items(), ("more", b"x")]), NO_ARCHIVE, "does not name"),
        "a member that leads elsewhere": (
            forger.packed([*m.items(), ("../../etc/cron.d/x", b"x")]),
            NO_ARCHIVE,
            "does not name",
        ),
        "a link": (forger.packed((m | {"server.ndjson": link}).items()), NO_ARCHIVE, "not a regular file"),
        "a member altered": (
            forger.packed((m | {"kv.ndjson": m["kv.ndjson"].replace(b"canary", b"kanary")}).items()),
            NO_ARCHIVE,
            "does not match",
        ),
        "a member shorter": (
            forger.packed((m | {"kv.ndjson": m["kv.ndjson"][:-9]}).items()),
            NO_ARCHIVE,
            "another size",
        ),
        "no end": (forger.packed(m.items(), end=False), NO_ARCHIVE, "is truncated"),
        "something after the end": (forger.encrypted(forger.clear + b"x" * 512), NO_ARCHIVE, "data after the end"),
        "no tar file": (forger.encrypted(b"x" * 5000), NO_ARCHIVE, "contains no tar file"),
        "nothing encrypted": (forger.encrypted(b""), NO_ARCHIVE, "is truncated"),
        "a manifest of a terabyte": (forger.packed([("manifest.json", huge)]), NO_ARCHIVE, "too large"),
        "a line without an end": (
            forger.with_(kv=b"x" * (70 << 20), authenticated=True),
            NO_ARCHIVE,
            "a record in its kv.ndjson is too long",
        ),
        "a version that is not what was saved": (
            forger.with_(kv=_lines(m["kv.ndjson"], {**secret, "versions": versions}), authenticated=True),
            NO_ARCHIVE,
            "does not match its fingerprint",
        ),
        "a secret less than counted": (
            forger.with_(kv=m["kv.ndjson"].split(b"\n", 1)[1], authenticated=True),
            NO_ARCHIVE,
            "numbers of records differ",
        ),
        "a secret that leads elsewhere": (
            forger.with_(kv=_lines(m["kv.ndjson"], elsewhere), authenticated=True),
            NO_ARCHIVE,
            "has a path with",
        ),
        "a secret outside its mounts": (
            forger.with_(kv=_lines(m["kv.ndjson"], outside), authenticated=True),
            NO_ARCHIVE,
            "does not match its fingerprint",
        ),
        "a policy at another path": (
            forger.with_(
                server=m["server.ndjson"].replace(b"sys/policies/acl/default", b"sys/seal"), authenticated=True
            ),
            NO_ARCHIVE,
            "is not a path of a policy",
        ),
        "malformed records": (
            forger.with_(server=b"{}\n" * 3, authenticated=True),
            NO_ARCHIVE,
            "is malformed",
        ),
        "a bomb for a raft snapshot": (
            forger.with_(snapshot=gzip.compress(bytes(200 << 20)), authenticated=True),
            NO_ARCHIVE,
            "raft snapshot",
        ),
    }


def _as_saved(key, secret, version):
    print_ = fingerprint(bytes.fromhex(key), secret["mount"], secret["path"], version["data"])
    return {**version, "fingerprint": print_}


def _lines(content, instead):
    """With another first line."""
    return json.dumps(instead).encode() + b"\n" + content.split(b"\n", 1)[1]
