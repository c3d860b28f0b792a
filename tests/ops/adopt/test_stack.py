"""What `docker inspect` shows of a container."""

import pytest

from lessee.ops.adopt.stack import Container, leaks

VALUE = "simba-minio"
OWN = {"Labels": {"com.docker.compose.service": VALUE}, "Env": ["A=b"], "Hostname": "0123456789ab"}


def container(**config):
    return Container("minio", {"Name": f"/{VALUE}-1", "Path": "minio", "Args": ["server"], "Config": OWN | config})


def test_a_value_that_is_the_containers_own_name_is_no_leak():
    assert leaks(container(), {"storage/minio#access_key": VALUE}) == ()


@pytest.mark.parametrize(
    "config",
    [
        {"Env": [f"MINIO_ROOT_USER={VALUE}"]},
        {"Cmd": ["server", VALUE]},
        {"Labels": {"user": VALUE}},
        {"Hostname": VALUE},
        {"Healthcheck": {"Test": ["CMD-SHELL", f"login {VALUE}"]}},
    ],
)
def test_a_value_in_what_the_project_says_of_a_container_is_a_leak(config):
    assert leaks(container(**config), {"storage/minio#access_key": VALUE}) == ("storage/minio#access_key",)
