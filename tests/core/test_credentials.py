"""Credentials are parsed from secrets, errors name every missing key, and no repr contains a password."""

import pytest

from lessee.core import credentials
from lessee.core.errors import LesseeError

POSTGRES = {"host": "db", "port": 5432, "database": "simba", "username": "app", "password": "canary"}
REDIS = {"host": "cache", "port": "6379", "password": "canary"}
MYSQL = {"host": "db", "port": 3306, "username": "app", "password": "canary"}
RABBITMQ = {"host": "mq", "port": 5672, "username": "app", "password": "canary"}
BROKER = {"url": "http://mq:15672/", "username": "admin", "password": "canary"}
LDAP = {"url": "ldap://directory", "dn": "cn=app,dc=example,dc=com", "password": "canary"}
S3 = {"endpoint": "store:9000", "access_key": "canary-id", "secret_key": "canary", "bucket": "docs"}


def test_a_postgres_login_has_an_address():
    login = credentials.postgres("p", POSTGRES)
    assert (login.address, login.database, login.sslmode, login.ca_file) == ("db:5432", "simba", "", "")
    more = credentials.postgres("p", POSTGRES | {"port": "5433", "sslmode": "verify-full", "ca_file": "/ca"})
    assert (more.port, more.sslmode, more.ca_file) == (5433, "verify-full", "/ca")


def test_a_postgres_without_a_verified_certificate_gets_no_password_in_clear_text():
    def security(**fields):
        return credentials.postgres("p", POSTGRES | fields).security

    assert security() == {"require_auth": "!password"}
    assert security(sslmode="require") == {"sslmode": "require", "require_auth": "!password"}
    assert security(sslmode="verify-ca") == {"sslmode": "verify-ca"}
    # With a CA and no sslmode, libpq would accept any certificate, and no TLS at all.
    assert security(ca_file="/ca") == {"sslmode": "verify-full", "sslrootcert": "/ca"}


def test_a_redis_login_has_a_default_user_and_database():
    login = credentials.redis("p", REDIS)
    assert (login.address, login.username, login.db, login.tls) == ("cache:6379", "", 0, False)
    more = credentials.redis("p", REDIS | {"db": 2, "username": "app", "tls": True, "ca_file": "/ca"})
    assert (more.username, more.password, more.db, more.tls, more.ca_file) == ("app", "canary", 2, True, "/ca")
    spelled = {
        text: credentials.redis("p", REDIS | {"tls": text}).tls for text in ("true", "Yes", "ON", "1", "off", "", 0)
    }
    assert spelled == {"true": True, "Yes": True, "ON": True, "1": True, "off": False, "": False, 0: False}
    assert [credentials.redis("p", REDIS | {"db": db}).db for db in ("x", "9" * 5000)] == [0, 0]


@pytest.mark.parametrize(
    ("endpoint", "secure", "url", "host", "port"),
    [
        ("store:9000", None, "http://store:9000", "store", 9000),
        ("store:9000", "true", "https://store:9000", "store", 9000),
        ("store", True, "https://store", "store", 443),
        ("store", False, "http://store", "store", 80),
        ("https://store/base/", None, "https://store/base", "store", 443),
        ("http://user:canary@store:1", None, "http://store:1", "store", 1),
        ("http://[::1]:9000", None, "http://[::1]:9000", "::1", 9000),
    ],
)
def test_an_s3_endpoint_is_an_address_or_a_url(endpoint, secure, url, host, port):
    login = credentials.s3("p", S3 | {"endpoint": endpoint, "secure": secure})
    assert (login.url, login.host, login.port) == (url, host, port)
    assert login.tls is url.startswith("https")


def test_an_administrator_of_a_store_needs_no_bucket():
    login = credentials.s3("p", {key: value for key, value in S3.items() if key != "bucket"}, bucket=False)
    assert (login.bucket, login.access_key) == ("", "canary-id")


def test_a_mysql_login_needs_no_database():
    login = credentials.mysql("p", MYSQL)
    assert (login.address, login.database, login.tls, login.ca_file) == ("db:3306", "", False, "")
    more = credentials.mysql("p", MYSQL | {"database": "shop", "tls": "yes", "ca_file": "/ca"})
    assert (more.database, more.tls, more.ca_file) == ("shop", True, "/ca")


def test_a_rabbitmq_login_has_a_default_virtual_host():
    login = credentials.rabbitmq("p", RABBITMQ)
    assert (login.address, login.vhost, login.tls) == ("mq:5672", "/", False)
    assert credentials.rabbitmq("p", RABBITMQ | {"vhost": "shop"}).vhost == "shop"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://mq:15672/", "http://mq:15672"),
        ("https://mq/rabbit", "https://mq:443/rabbit"),
        ("http://[::1]", "http://[::1]:80"),
    ],
)
def test_the_management_api_of_rabbitmq_is_a_url(url, expected):
    assert credentials.rabbitmq_admin("p", BROKER | {"url": url}).url == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("directory:389", False, False)),
        ({"start_tls": True}, ("directory:389", False, True)),
        ({"url": "ldaps://directory", "start_tls": True}, ("directory:636", True, False)),
        ({"url": "ldap://directory:1389"}, ("directory:1389", False, False)),
    ],
)
def test_an_ldap_login_has_tls_by_its_scheme_or_by_start_tls(fields, expected):
    login = credentials.ldap("p", LDAP | fields)
    assert (login.address, login.tls, login.start_tls) == expected


@pytest.mark.parametrize(
    "url", ["directory", "ldap://", "http://directory", "ldap://cn=app:canary@directory", "ldap://d:x"]
)
def test_an_invalid_url_is_an_error_that_does_not_repeat_it(url):
    with pytest.raises(
        LesseeError, match=r"^p: url is not an address; write ldap://HOST:389 or ldaps://HOST"
    ) as caught:
        credentials.ldap("p", LDAP | {"url": url})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "whole"),
    [
        (credentials.postgres, POSTGRES),
        (credentials.redis, REDIS),
        (credentials.mysql, MYSQL),
        (credentials.rabbitmq, RABBITMQ),
        (credentials.rabbitmq_admin, BROKER),
        (credentials.ldap, LDAP),
        (credentials.s3, S3),
    ],
)
def test_an_error_names_all_missing_keys_and_no_repr_contains_the_password(make, whole):
    assert "canary" not in repr(make("p", whole))
    with pytest.raises(LesseeError, match=r"^secret/x: the secret lacks .+; write it with all of ") as caught:
        make("secret/x", dict.fromkeys(whole, ""))
    assert caught.value.what == f"the secret lacks {', '.join(whole)}"
    for key in whole:
        for value in (None, True, ["canary"]):
            with pytest.raises(LesseeError, match=f"lacks {key};"):
                make("p", whole | {key: value})


@pytest.mark.parametrize("value", ["postgresql://app:canary@db:5432/simba", "app:canary@db", "host=db password=canary"])
@pytest.mark.parametrize("key", ["host", "database"])
def test_a_url_with_a_password_is_not_a_name_and_is_not_printed(key, value):
    with pytest.raises(LesseeError, match=f"{key} is not a name") as caught:
        credentials.postgres("p", POSTGRES | {key: value})
    assert "canary" not in str(caught.value)
    with pytest.raises(LesseeError, match="host is not a name"):
        credentials.redis("p", REDIS | {"host": value})


@pytest.mark.parametrize("port", ["0", "65536", "x", "٣", "-1", "5432.0", "9" * 5000])
def test_an_invalid_port_is_an_error(port):
    with pytest.raises(LesseeError, match="port is not a port number"):
        credentials.postgres("p", POSTGRES | {"port": port})


def test_an_invalid_sslmode_is_an_error_that_does_not_repeat_it():
    with pytest.raises(LesseeError, match="sslmode is not one of libpq's modes") as caught:
        credentials.postgres("p", POSTGRES | {"sslmode": "canary"})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["http://", "ftp://store", "store:port", "http://[store"])
def test_an_invalid_endpoint_is_an_error(endpoint):
    with pytest.raises(LesseeError, match=r"^p: endpoint is not an address"):
        credentials.s3("p", S3 | {"endpoint": endpoint})
