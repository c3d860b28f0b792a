"""Which unit gets a credential: what systemd says in its address counts only if the kernel confirms it."""

import pytest

from lessee.read_api.policy.units import CredentialRequest, refusal, request_of

WEB = CredentialRequest("web.service", "password")
UNITS = {"web.service", "worker@1.service"}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (b"\x00a94c5d3e/unit/web.service/password", WEB),
        (b"\x00/unit/worker@1.service/a b", CredentialRequest("worker@1.service", "a b")),
        ("", None),
        ("/run/web.sock", None),
        (b"a94c5d3e/unit/web.service/password", None),
        (b"\x00a94c5d3e/unit/web.service/password/x", None),
        (b"\x00a94c5d3e/unit/web.service", None),
        (b"\x00a94c5d3e/unit//password", None),
        (b"\x00a94c5d3e/unit/web.service/", None),
        (b"\x00a94c5d3e/user/web.service/password", None),
        (b"\x00\xff/unit/web.service/password", None),
    ],
)
def test_the_address_names_the_unit_and_the_credential(address, expected):
    assert request_of(address) == expected


@pytest.mark.parametrize(
    ("cgroups", "changes", "expected"),
    [
        ("0::/system.slice/web.service", {}, ""),
        ("0::/system.slice/system-web.slice/web.service/.control\n", {}, ""),
        ("0::/web.service", {}, ""),
        ("4:memory:/\n1:name=systemd:/system.slice/web.service\n", {}, ""),
        ("0::/system.slice/worker@1.service", {"request": CredentialRequest("worker@1.service", "x")}, ""),
        ("0::/user.slice/user-7.slice/user@7.service/app.slice/web.service", {"uid": 7, "own_uid": 7}, ""),
        ("0::/system.slice/web.service", {"uid": 1}, "uid 1 is neither root nor the agent's own user"),
        ("0::/system.slice/web.service", {"request": None}, "the client is not systemd"),
        (
            "0::/system.slice/other.service",
            {"request": CredentialRequest("other.service", "password")},
            "the configuration does not name this unit",
        ),
        *(
            (cgroups, changes, "the client is not in the cgroup of this unit")
            for cgroups, changes in (
                ("", {}),
                ("0::/\n", {}),
                ("rubbish", {}),
                ("0::/system.slice/other.service", {}),
                ("0::/system.slice/other.service/web.service", {}),
                ("0::/system.slice/docker-1234.scope/web.service", {}),
                ("0::/../../system.slice/web.service", {}),
                ("0::/system.slice/a-web.service", {}),
                ("0::/system.slice/web.service.d", {}),
                ("4:memory:/system.slice/web.service", {}),
                ("0::/user.slice/user-7.slice/user@7.service/app.slice/web.service", {}),
                ("0::/user.slice/user-8.slice/user@8.service/web.service", {"uid": 7, "own_uid": 7}),
                ("0::/system.slice/web.service", {"uid": 7, "own_uid": 7}),
            )
        ),
    ],
)
def test_the_kernel_confirms_that_systemd_starts_the_unit(cgroups, changes, expected):
    settings = {"request": WEB, "uid": 0, "own_uid": 7} | changes
    assert refusal(settings.pop("request"), UNITS, cgroups=cgroups, **settings) == expected
