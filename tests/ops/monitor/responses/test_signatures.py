"""An approval is an SSH signature of exactly this response, by an approver, as OpenSSH makes and verifies it."""

import base64
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from lessee.ops.monitor.responses.signatures import NAMESPACE, InvalidSignatureError, sign, signer
from support.needs import need

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
TEXT = b"lessee response\nid: r1\n"


def public(key):
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


APPROVERS = {"bob": public(OTHER), "alice": f"{public(KEY)} alice@example.org"}


def test_the_approver_is_known_by_the_key():
    assert signer(TEXT, sign(TEXT, KEY), APPROVERS) == "alice"
    assert signer(TEXT, sign(TEXT, OTHER), APPROVERS) == "bob"


def test_another_text_and_another_key_are_refused():
    with pytest.raises(InvalidSignatureError, match="it is not alice's signature of this response"):
        signer(TEXT + b" ", sign(TEXT, KEY), APPROVERS)
    with pytest.raises(InvalidSignatureError, match="its key is not one of `approvers`"):
        signer(TEXT, sign(TEXT, Ed25519PrivateKey.generate()), APPROVERS)


@pytest.mark.parametrize("hash_name", ["sha512", "sha256"])
def test_openssh_signs_and_verifies_it(tmp_path, hash_name):
    need(shutil.which("ssh-keygen"), "needs ssh-keygen: apt install openssh-client")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "c", "-f", tmp_path / "key"], check=True)
    (tmp_path / "text").write_bytes(TEXT)
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-O", f"hashalg={hash_name}", "-f", tmp_path / "key"]
    subprocess.run([*command, tmp_path / "text"], check=True)
    approvers = {"carol": (tmp_path / "key.pub").read_text().strip()}
    assert signer(TEXT, (tmp_path / "text.sig").read_bytes(), approvers) == "carol"
    (tmp_path / "allowed").write_text(f"alice {public(KEY)}\n")
    (tmp_path / "own.sig").write_bytes(sign(TEXT, KEY))
    verify = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "alice", "-n", NAMESPACE, "-s", "own.sig"]
    subprocess.run(verify, input=TEXT, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_a_signature_for_another_purpose_is_refused(tmp_path):
    need(shutil.which("ssh-keygen"), "needs ssh-keygen: apt install openssh-client")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "c", "-f", tmp_path / "key"], check=True)
    (tmp_path / "text").write_bytes(TEXT)
    sign_file = ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", tmp_path / "key", tmp_path / "text"]
    subprocess.run(sign_file, check=True)
    with pytest.raises(InvalidSignatureError, match="its namespace is not lessee-response"):
        signer(TEXT, (tmp_path / "text.sig").read_bytes(), {"c": (tmp_path / "key.pub").read_text()})


def armored(blob):
    return b"-----BEGIN SSH SIGNATURE-----\n" + base64.b64encode(blob) + b"\n-----END SSH SIGNATURE-----\n"


def blob_of(signature):
    return base64.b64decode(b"".join(signature.split(b"\n")[1:-2]))


def test_a_signature_with_one_byte_changed_or_cut_off_is_refused():
    blob = blob_of(sign(TEXT, KEY))
    assert signer(TEXT, armored(blob), APPROVERS) == "alice"
    for at in range(len(blob)):
        for changed in (blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :], blob[:at]):
            with pytest.raises(InvalidSignatureError):
                signer(TEXT, armored(changed), APPROVERS)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_refused_with_one_error(content, has_armor):
    with pytest.raises(InvalidSignatureError):
        signer(TEXT, armored(content) if has_armor else content, APPROVERS)
