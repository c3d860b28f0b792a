"""The end of an SSH certificate or of a token, as the answer that contains it says."""

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from lessee.core.leases import FOREVER
from lessee.core.own_end import end_of

CA = ed25519.Ed25519PrivateKey.generate()
KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
}


def signed(key, end):
    builder = serialization.SSHCertificateBuilder().public_key(key.public_key()).serial(7)
    builder = builder.type(serialization.SSHCertificateType.USER).key_id(b"key").valid_principals([b"a", b"b"])
    made = builder.valid_after(1).valid_before(end).sign(CA)
    return made.public_bytes().decode() + "\n"


def token(claims):
    parts = ({"alg": "none"}, claims)
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "x"]
    )


@pytest.mark.parametrize("kind", KEYS)
def test_an_ssh_certificate_says_when_it_ends(kind):
    key = KEYS[kind]()
    assert end_of({"signed_key": signed(key, 1_800_000_000)}) == 1_800_000_000.0
    assert end_of({"signed_key": signed(key, 2**64 - 1)}) == FOREVER


def test_a_token_says_when_it_ends():
    assert end_of({"token": token({"exp": 1_800_000_000})}) == 1_800_000_000.0
    assert end_of({"token": token({"exp": 1_800_000_000.5, "a": "\u00e4"})}) == 1_800_000_000.5


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"signed_key": 1},
        {"signed_key": ""},
        {"signed_key": "ssh-ed25519-cert-v01@openssh.com"},
        {"signed_key": "ssh-ed25519-cert-v01@openssh.com AAAA"},
        {"signed_key": "x " + base64.b64encode(b"\0\0\0\3new").decode()},
        {"signed_key": "x \u00e4"},
        {"token": None},
        {"token": "opaque"},
        {"token": "a.b"},
        {"token": "a.b.c"},
        {"token": "a.\u00e4.c"},
        {"token": token({})},
        {"token": token({"exp": "soon"})},
        {"token": token({"exp": True})},
        {"token": token({"exp": 10**400})},
        {"token": token([1])},
    ],
)
def test_what_is_no_certificate_and_no_token_says_nothing(data):
    assert end_of(data) is None


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_no_bytes_in_their_place_are_an_error(noise, at, byte):
    whole = bytearray(base64.b64decode(SIGNED.split()[1]))
    whole[at % len(whole)] = byte
    for blob in (noise, bytes(whole), bytes(whole[:at])):
        end = end_of({"signed_key": f"x {base64.b64encode(blob).decode()}"})
        assert end is None or end >= 0
    end_of({"token": f"a.{base64.urlsafe_b64encode(noise).decode()}.c"})


SIGNED = signed(KEYS["ed25519"](), 1_800_000_000)
