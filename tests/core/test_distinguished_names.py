"""DNs are compared as directories do, whatever their spelling."""

import pytest

from lessee.core.distinguished_names import parse, position

SHOP = "cn=shop,ou=services,dc=example,dc=com"


@pytest.mark.parametrize(
    ("dn", "other"),
    [
        (SHOP, "CN = Shop , OU=Services,DC=Example ,dc=COM"),
        (SHOP, "commonName=shop;organizationalUnitName=services;domainComponent=example;dc=com"),
        (SHOP, "2.5.4.3=shop,OID.2.5.4.11=services,0.9.2342.19200300.100.1.25=example,dc=com"),
        (SHOP, r"cn=\73hop,ou=services,dc=e\78ample,dc=com"),
        ("cn=a b", "cn=  A   B  "),
        ("cn=a b", "cn=\\ a b\\ "),
        ("cn=a b", 'cn="a b"'),
        (r"cn=Doe\, J", 'cn="doe, j"'),
        (r"cn=Doe\, J", r"cn=doe\2C j"),
        ("cn=a+uid=7", "UID=7 + CN=A"),
        ("cn=Ü", r"cn=\C3\BC"),
        ("cn=straße", "cn=STRASSE"),
        ("cn=a\u00adb", "cn=ab"),
        ("cn=a=b", r"cn=a\3db"),
        ("cn=", "CN= "),
        ("cn=#0403616263", "cn=#0403616263"),
    ],
)
def test_one_entry_may_be_spelled_in_several_ways(dn, other):
    assert parse(dn) == parse(other)
    assert position(other, ["cn=first", dn]) == 1


@pytest.mark.parametrize(
    ("dn", "other"),
    [
        (SHOP, "cn=shop,ou=other,dc=example,dc=com"),
        (SHOP, f"ou=more,{SHOP}"),
        ("cn=a,ou=b", "ou=b,cn=a"),
        ("cn=a", "ou=a"),
        ("cn=ab", "cn=a b"),
        (r"cn=a\,ou\=b", "cn=a,ou=b"),
        ("cn=a+uid=7", "cn=a,uid=7"),
    ],
)
def test_other_entries_have_other_names(dn, other):
    assert parse(dn) != parse(other)
    assert position(dn, [other]) == -1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        "cn",
        "=a",
        "cn=a,",
        "cn=a,,ou=b",
        "cn=<a>",
        'cn="a',
        'cn="a"b',
        "cn=a\\",
        r"cn=\zz",
        r"cn=\FF",
        "c_n=a",
        "cn=a\0",
    ],
)
def test_what_is_no_dn_names_no_entry(text):
    with pytest.raises(ValueError, match=r"not a DN|decode"):
        parse(text)
    assert position(text, [text, SHOP]) == -1
    assert position(SHOP, [text, SHOP]) == 1
    assert position(None, [SHOP]) == -1


def test_a_long_text_of_an_attacker_is_read_in_linear_time():
    assert position("cn=" + "\\," * 200_000, [SHOP]) == -1
