import pytest

from lessee.core.errors import UsageError
from lessee.ops.dev.policy.listening import Listen, gateway_of_daemon, listen_word, remembered, url_of


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("docker", "docker"),
        ("172.17.0.1", "172.17.0.1"),
        ("10.88.0.1", "10.88.0.1"),
        ("100.64.0.1", "100.64.0.1"),
        ("fd00::1", "fd00::1"),
        ("127.0.0.1", ""),
        ("127.8.8.8", ""),
        ("::1", ""),
    ],
)
def test_one_address_or_docker_is_taken_and_loopback_is_none_besides(text, word):
    assert listen_word(text) == word


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",  # noqa: S104
        "::",
        "224.0.0.1",
        "ff02::1",
        "240.0.0.1",
        "8.8.8.8",
        "2600::1",
        "fe80::1",
        "podman",
        "",
        "172.17.0.1:1",
    ],
)
def test_all_addresses_and_public_ones_are_refused(text):
    with pytest.raises(UsageError) as caught:
        listen_word(text)
    assert "or `docker`" in str(caught.value)


@pytest.mark.parametrize("listen", [Listen(), Listen("docker", "172.17.0.1"), Listen("10.0.0.5", "10.0.0.5")])
def test_it_is_remembered(listen):
    assert remembered(str(listen)) == listen


@pytest.mark.parametrize("text", ["", "docker", "docker 0.0.0.0", "x y", "10.0.0.5 "])
def test_what_no_start_wrote_is_loopback_alone(text):
    assert remembered(text) == Listen()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('{"host-gateway-ip": "192.168.9.1"}', "192.168.9.1"),
        ('{"host-gateway-ips": ["192.168.9.1", "fd00::1"]}', "192.168.9.1"),
        ('{"host-gateway-ip": "", "bip": "10.1.0.1/24"}', None),
        ('{"host-gateway-ips": 7}', None),
        ("[]", None),
        ("{", None),
    ],
)
def test_the_daemon_file_may_name_the_address_of_the_gateway(text, address):
    assert gateway_of_daemon(text) == address


def test_an_ipv6_address_has_brackets_in_a_url():
    assert url_of("fd00::1", 8200) == "https://[fd00::1]:8200"
    assert url_of("host.docker.internal", 8200) == "https://host.docker.internal:8200"
