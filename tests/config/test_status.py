"""A TCP port is never open to more than the file says in so many words."""

import pytest

from lessee.config import Listen
from lessee.config.parsing import parse
from lessee.core.errors import ConfigError


def listen(said):
    text = f"environment: testing\nstatus: {{{said}}}\n"
    return parse(text, source="lessee.yaml", environ={}).status.listen


def test_without_a_port_there_is_none():
    assert listen("socket: /run/s") is None


def test_a_port_asks_for_the_token_of_a_file_and_knows_its_names():
    said = listen('listen: "0.0.0.0:9105", token_file: /run/token, hosts: [Agent, agent.local]')
    assert said == Listen(address="0.0.0.0:9105", token_file="/run/token", hosts=("agent", "agent.local"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "localhost", "[::1]"])
def test_the_loopback_may_be_open_to_all_on_the_machine(host):
    assert listen(f'listen: "{host}:9105", insecure: true') == Listen(address=f"{host}:9105", token_file=None, hosts=())


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('listen: "127.0.0.1:9105"', "status.listen: all that it shows would be open to whoever reaches the port; "),
        ('listen: "127.0.0.1:9105"', "write `token_file: F` beside it, or `insecure: true`, for all on this machine"),
        ('listen: "0.0.0.0:9105"', "whoever reaches the port; write `token_file: F` beside it$"),
        ('listen: "0.0.0.0:9105", insecure: true', "status.insecure: all .* other machines too; write `token_file"),
        ('listen: "[::]:9105", insecure: true', "from other machines too"),
        ('listen: "127.0.0.1.example:9105", insecure: true', "from other machines too"),
        ('listen: "127.0.0.1:9105", insecure: true, token_file: F', "status.insecure: `token_file` stands there too"),
        ("token_file: F", "status.token_file: there is no port that it is for; write `listen:` too"),
        ("insecure: true", "status.insecure: there is no port"),
        ("hosts: [a]", "status.hosts: there is no port"),
        ('listen: "127.0.0.1:9105", insecure: true, hosts: ["a:1"]', "expected the name of a host, without a port"),
    ],
)
def test_what_would_be_open_by_mistake_is_refused_with_what_to_write(said, told):
    with pytest.raises(ConfigError, match=told) as caught:
        listen(said)
    assert len(caught.value.problems) == 1
