"""The image of compose/Dockerfile as an OCI archive, with the same bytes for the same commit and base image.

An Engine builds it, for other processors too if it can run their programs. What depends on the moment of the build,
such as the times of files, is then replaced.
"""

import gzip
import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path

BASE = os.environ.get("BASE_IMAGE") or "python:3.13-slim"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_HASHED_SOURCE = 0b1
"""The flag of PEP 552: the bytecode has a hash of its source instead of its time."""


def missing(architecture: str) -> str | None:
    """What this machine lacks to build the image for an architecture, such as arm64; None if nothing."""
    if not _succeeds("docker", "buildx", "version") or not _succeeds("docker", "version"):
        return "a Docker Engine with Buildx"
    if f"linux/{architecture}" not in _docker("buildx", "inspect").replace(",", " ").split():
        return f"an Engine that runs programs of {architecture} (Debian: qemu-user-static, then restart the Engine)"
    base = _base(architecture)
    if _architecture(base) != architecture and not _pulls(base, architecture):
        return f"the image {base} for {architecture}; set BASE_IMAGE_{architecture.upper()} to another one with Python"
    return None


def make(source: Path, wheels: Path, output: Path, labels: dict[str, str], epoch: int, architecture: str) -> Path:
    """Build the image of an exported source with these wheels, and write it to `output`. Returns the archive.

    `labels` are values of the Dockerfile's arguments of labels, by their names. `missing` has returned None.
    """
    tag, platform = f"lessee:{labels['VERSION']}", f"--platform=linux/{architecture}"
    base_tag = _base(architecture)
    if _architecture(base_tag) != architecture:
        _docker("pull", "--quiet", platform, base_tag)
    arguments = {"BASE_IMAGE": base_tag} | labels
    _docker(
        *("build", "--quiet", "--no-cache", "--network=none", platform, f"--tag={tag}"),
        f"--build-context=wheels={wheels}",
        *(f"--build-arg={name}={value}" for name, value in arguments.items()),
        *(f"--file={source}/compose/Dockerfile", str(source)),
    )
    base = frozenset(json.loads(_docker("image", "inspect", "--format={{json .RootFS.Layers}}", base_tag)))
    saved = output / "saved.tar"
    try:
        _docker("save", f"--output={saved}", tag)
        archive = same_bytes(saved, base, epoch)
    finally:
        saved.unlink(missing_ok=True)
    written = output / f"lessee-{labels['VERSION']}-image-{architecture}.tar"
    written.write_bytes(archive)
    return written


def same_bytes(saved: Path, base: AbstractSet[str], epoch: int) -> bytes:
    """An OCI archive of what `docker save` wrote. Layers of the base image are not changed."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    blobs: dict[str, bytes] = {}
    with tarfile.open(saved) as archive:
        [image] = json.load(archive.extractfile("manifest.json"))
        config = json.load(archive.extractfile(image["Config"]))
        layers, diff_ids = [], []
        for path, before in zip(image["Layers"], config["rootfs"]["diff_ids"], strict=True):
            content = archive.extractfile(path).read()
            content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            content = content if before in base else _same_layer(content, epoch)
            diff_ids.append(_digest(content))
            layers.append(_blob(blobs, gzip.compress(content, 6, mtime=0), _LAYER))
    config["rootfs"]["diff_ids"] = diff_ids
    config["created"] = moment
    known = sum(1 for each in config["rootfs"]["diff_ids"] if each in base)
    for entry in _after(config["history"], known):
        entry["created"] = moment
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _blob(blobs, _json(config), _CONFIG),
        "layers": layers,
    }
    described = _blob(blobs, _json(manifest), _MANIFEST)
    [tag] = image["RepoTags"]
    described["annotations"] = {
        "io.containerd.image.name": f"docker.io/library/{tag}",
        "org.opencontainers.image.ref.name": tag.partition(":")[2],
    }
    files = {f"blobs/sha256/{digest.partition(':')[2]}": content for digest, content in blobs.items()}
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]})
    # Engines before 25 read this one.
    paths = [f"blobs/sha256/{layer['digest'].partition(':')[2]}" for layer in layers]
    config_path = f"blobs/sha256/{manifest['config']['digest'].partition(':')[2]}"
    files["manifest.json"] = _json([{"Config": config_path, "RepoTags": [tag], "Layers": paths}])
    return _tar(files, epoch)


def _base(architecture: str) -> str:
    """The base image of an architecture, which has a name of its own where no registry has both."""
    return os.environ.get(f"BASE_IMAGE_{architecture.upper()}") or BASE


def _architecture(image: str) -> str:
    """The architecture of an image that the Engine has; empty if it has none."""
    if not _succeeds("docker", "image", "inspect", image):
        return ""
    return _docker("image", "inspect", "--format={{.Architecture}}", image).strip()


def _pulls(image: str, architecture: str) -> bool:
    return _succeeds("docker", "pull", "--quiet", f"--platform=linux/{architecture}", image)


def _after(history: Iterable[dict], layers: int) -> Iterable[dict]:
    """The entries of a history after those of the first layers."""
    for entry in history:
        if layers <= 0:
            yield entry
        elif not entry.get("empty_layer"):
            layers -= 1


def _same_layer(content: bytes, epoch: int) -> bytes:
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as old,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in old:
            member.mtime, member.uname, member.gname = epoch, "", ""
            # Extended attributes stay; times in fractions of a second do not.
            member.pax_headers = {k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
            data = old.extractfile(member).read() if member.isfile() else None
            if data and member.name.endswith(".pyc"):
                data = _same_bytecode(data, epoch)
            new.addfile(member, None if data is None else io.BytesIO(data))
    return packed.getvalue()


def _same_bytecode(data: bytes, epoch: int) -> bytes:
    """Bytecode names the time of its source (PEP 552), which `_same_layer` changes."""
    (flags,) = struct.unpack_from("<I", data, 4)
    return data if flags & _HASHED_SOURCE else data[:8] + struct.pack("<I", epoch & 0xFFFFFFFF) + data[12:]


def _tar(files: dict[str, bytes], epoch: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), epoch, 0o644
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _blob(blobs: dict[str, bytes], content: bytes, kind: str) -> dict:
    digest = _digest(content)
    blobs[digest] = content
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)  # noqa: S607  # As in CI.
    if done.returncode:
        raise SystemExit(f"docker {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
