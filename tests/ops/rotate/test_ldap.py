"""The rotation of entries of OpenLDAP, in addition to the contract of all kinds."""

import pytest

from lessee.core.errors import ConfigError
from lessee.ops.rotate.kinds.kind import SystemRefusedError, SystemUnavailableError
from lessee.ops.rotate.kinds.ldap import Entries as Kind
from lessee.ops.rotate.policy.decision import Outcome
from lessee.ops.rotate.policy.ldap_passwords import matches
from support.environments.rotation_targets import RotationTarget
from support.servers.certificate_authority import Authority
from support.servers.ldap_directory import BASE, ROTATOR, ROTATOR_PASSWORD, SERVICES, LdapDirectory
from support.systems.ldap import PASSWORD, Entries, TwoEntries


@pytest.fixture
def new(bao, directory, tmp_path):
    return lambda kind=Entries, **settings: RotationTarget(bao, tmp_path, kind(directory, **settings))


def after_first_call(monkeypatch, name, act):
    """Let `act` run after the kind's first call of this method."""
    inner, done = getattr(Kind, name), []

    def call(self, *arguments):
        answer = inner(self, *arguments)
        if not done:
            done.append(True)
            act()
        return answer

    monkeypatch.setattr(Kind, name, call)


def test_an_entry_has_both_passwords_until_all_consumers_have_confirmed(new):
    target = new(consumers=["simba"], confirmation_timeout="1h")
    before = target.fields()
    assert target.rotate(wait=False) is Outcome.ROTATED
    assert target.system.accepts(before)
    assert target.system.accepts(target.fields())
    target.confirm()
    target.rotate(finish_only=True)
    assert not target.system.accepts(before)
    assert len(target.system.values()) == 1


def test_the_entries_alternate(new):
    target, seen = new(TwoEntries), []
    for _ in range(3):
        target.rotate()
        seen.append(target.fields()["dn"])
    first, second = target.system.entries
    assert seen == [second, first, second]


@pytest.mark.parametrize(("old", "new_"), [("cn=", "CN = "), (",", " , "), ("ü#", r"\C3\bc\23"), ("shop", "SHOP")])
@pytest.mark.parametrize("kind", [Entries, TwoEntries])
def test_a_dn_may_be_spelled_in_another_way(new, kind, old, new_):
    target = new(kind)
    first = target.system.entries[0]
    target.put(target.secret_path, **{**target.fields(), "dn": first.replace(old, new_)})
    assert target.system.accepts(target.fields())  # For the directory, it is the same entry.
    target.rotate()
    assert target.fields()["dn"] == target.system.entries[-1]
    assert not target.system.directory.can_log_in(first, PASSWORD)
    assert target.system.accepts(target.fields())
    assert target.system.orphans(target.fields()) == set()


@pytest.mark.parametrize("password", ["of-a-victim", "guessed"])
@pytest.mark.parametrize("kind", [Entries, TwoEntries])
def test_who_may_write_the_secret_gets_no_login_as_another_entry(new, directory, caplog, kind, password):
    """And does not revoke one either, with or without its password."""
    target = new(kind)
    victim = target.system.entries[0].replace("cn=shop", "cn=victim")
    directory.add_service(victim, "of-a-victim")
    before = target.system.values(victim)
    for dn in (victim, ROTATOR, victim.upper()):
        target.put(target.secret_path, **{**target.fields(), "dn": dn, "password": password})
        target.rotate()
        assert target.system.values(victim) == before
        assert directory.can_log_in(ROTATOR, ROTATOR_PASSWORD)
        assert target.fields()["dn"] in target.system.entries
        assert target.system.accepts(target.fields())
    assert "old entry not revoked" in caplog.messages


def test_an_entry_that_is_not_named_any_more_gets_no_password(new, directory, monkeypatch):
    """The configuration has changed since an interrupted rotation began."""
    target = new(TwoEntries)
    with monkeypatch.context() as patched:
        patched.setattr(Kind, "apply", lambda *_: (_ for _ in ()).throw(SystemUnavailableError("interrupted")))
        with pytest.raises(SystemUnavailableError, match="interrupted"):
            target.rotate()
    first, second = target.system.entries
    before = target.system.values(second)
    target.config["rotation"]["target"]["accounts"] = [first]
    target.write_config()
    with pytest.raises(SystemRefusedError, match="which is being rotated, is not in `accounts` any more; name it"):
        target.rotate(finish_only=True)
    assert target.system.values(second) == before
    assert directory.can_log_in(first, PASSWORD)


def test_unknown_passwords_stay_valid_and_are_logged(new, directory, caplog):
    target = new()
    dn = target.system.entries[0]
    directory.change(dn, "add: userPassword\nuserPassword: by-an-operator")
    target.rotate()
    assert directory.can_log_in(dn, "by-an-operator")
    assert target.system.accepts(target.fields())
    assert not directory.can_log_in(dn, PASSWORD)
    [fields] = [record.fields for record in caplog.records if record.getMessage() == "unknown passwords not revoked"]
    assert (fields["dn"], fields["count"]) == (dn, 1)


def test_an_old_password_of_a_scheme_that_lessee_cannot_compare_is_removed(new, directory):
    target = new()
    dn = target.system.entries[0]
    crypted = "{CRYPT}$1$lessee$GdV2u8qIL1Kds3hRoGiTF/"  # Of another password: the directory refuses the old one.
    directory.change(dn, f"add: userPassword\nuserPassword: {crypted}")
    target.rotate()
    assert crypted.encode() in target.system.values()
    assert not directory.can_log_in(dn, PASSWORD)
    assert target.system.accepts(target.fields())


@pytest.mark.parametrize("kind", [Entries, TwoEntries])
def test_a_manually_changed_password_is_replaced(new, directory, kind):
    target = new(kind)
    directory.change(target.system.entries[0], "replace: userPassword\nuserPassword: manual")
    assert not target.system.accepts(target.fields())
    target.rotate()
    assert target.system.accepts(target.fields())


@pytest.mark.parametrize("kind", [Entries, TwoEntries])
def test_a_working_credential_that_a_user_writes_during_the_rotation_stays(new, directory, monkeypatch, kind):
    target = new(kind)
    edited = {**target.fields(), "password": "manual"}

    def edit():
        directory.change(edited["dn"], "replace: userPassword\nuserPassword: manual")
        target.put(target.secret_path, **edited)

    after_first_call(monkeypatch, "apply", edit)
    if kind is Entries:  # The user has removed the new password too.
        with pytest.raises(SystemRefusedError, match="the system rejects the new credential"):
            target.rotate()
        target.recover()
        assert target.fields() == edited
    else:
        target.rotate()
        assert target.fields(version=target.metadata()["current_version"] - 1) == edited
    assert target.system.accepts(target.fields())
    assert target.system.orphans(target.fields()) == set()


def test_a_change_of_an_entry_that_others_have_changed_meanwhile_fails(new, directory, monkeypatch):
    """A rotator that was suspended before its change must not replace what others have published since."""
    target = new(TwoEntries)
    second, inner, done = target.system.entries[1], Kind.apply, []

    def apply(self, case):
        if not done:
            done.append(True)
            directory.change(second, "replace: userPassword\nuserPassword: newer")
        inner(self, case)

    monkeypatch.setattr(Kind, "apply", apply)
    with pytest.raises(SystemUnavailableError, match="another program has changed the entry's passwords"):
        target.rotate()
    assert directory.can_log_in(second, "newer")
    target.recover()
    assert target.fields()["dn"] == second


def test_the_new_password_is_nowhere_in_plain_text(new, directory, caplog):
    caplog.set_level("DEBUG")
    target = new()
    for _ in range(2):
        target.rotate()
    password, log = target.fields()["password"], directory.log.read_text()
    assert "MOD attr=userPassword" in log
    assert password not in log
    assert password not in caplog.text
    [value] = target.system.values()
    assert matches(value, password)


def test_the_first_rotation_does_not_revoke_an_entry_outside_accounts(new, directory, caplog):
    target = new(TwoEntries)
    other = target.system.entries[0].replace("cn=shop", "cn=other")
    directory.add_service(other, "manual")
    target.put(target.secret_path, **{**target.fields(), "dn": other, "password": "manual"})
    target.rotate()
    assert target.fields()["dn"] == target.system.entries[0]
    assert directory.can_log_in(other, "manual")
    assert "old entry not revoked" in caplog.messages


def test_an_admin_is_never_the_entry_that_is_rotated(new):
    with pytest.raises(ConfigError, match="the admin is one of `accounts`"):
        new(accounts=[ROTATOR.replace("cn=", "CN = ")]).rotate()
    other = new(TwoEntries)
    other.put("directory/admin", **{**other.fields("directory/admin"), "dn": other.system.entries[1]})
    with pytest.raises(ConfigError, match="the admin is one of `accounts`"):
        other.rotate()


def test_a_missing_entry_and_a_rejected_admin_are_reported(new):
    target = new()
    target.put("directory/admin", **{**target.fields("directory/admin"), "password": "mistyped"})
    with pytest.raises(SystemRefusedError, match="the directory rejects the admin's bind"):
        target.rotate()
    assert target.system.accepts(target.fields())
    other = new(accounts=[f"cn=missing,{SERVICES}"])
    with pytest.raises(SystemRefusedError, match=r"the entry cn=missing,.* does not exist"):
        other.rotate()


@pytest.mark.parametrize(("right", "expected"), [("none", "may not"), ("=w", "may not read userPassword")])
def test_an_admin_without_its_right_is_reported_with_a_rule(bao, tmp_path, tmp_path_factory, right, expected):
    with LdapDirectory(tmp_path_factory.mktemp("rights"), right=right) as directory:
        target = RotationTarget(bao, tmp_path, Entries(directory))
        with pytest.raises(
            SystemRefusedError, match=rf"the admin {expected}.*access to attrs=userPassword by dn.exact"
        ):
            target.rotate()
        assert target.system.accepts(target.fields())


def test_a_password_policy_that_cannot_check_hashes_is_reported(bao, tmp_path, tmp_path_factory):
    folder, policy = tmp_path_factory.mktemp("policy"), f"cn=policy,{BASE}"
    with LdapDirectory(folder, modules="moduleload ppolicy", overlays="overlay ppolicy") as directory:
        kinds = "objectClass: organizationalRole\nobjectClass: pwdPolicy"
        directory.add(f"dn: {policy}\n{kinds}\ncn: policy\npwdAttribute: userPassword\npwdCheckQuality: 2\n")
        for kind in (Entries, TwoEntries):
            target = RotationTarget(bao, tmp_path, kind(directory))
            for dn in target.system.entries:
                directory.change(dn, f"add: pwdPolicySubentry\npwdPolicySubentry: {policy}")
            with pytest.raises(SystemRefusedError, match="the password policy refuses the new value"):
                target.rotate()
            assert target.system.accepts(target.fields())
            directory.change(policy, "replace: pwdCheckQuality\npwdCheckQuality: 1")
            for _ in range(3):
                target.rotate()
                assert target.system.accepts(target.fields())
            assert target.system.orphans(target.fields()) == set()
            directory.change(policy, "replace: pwdCheckQuality\npwdCheckQuality: 2")


@pytest.mark.parametrize("scheme", ["ldaps", "start_tls"])
def test_tls_is_verified_by_the_ca_in_the_secret(bao, tmp_path, tmp_path_factory, scheme):
    authority, pair = Authority(tmp_path / "ca.pem"), tmp_path / "pair.pem"
    authority.issue(pair, 30)
    Authority(tmp_path / "other.pem")
    with LdapDirectory(tmp_path_factory.mktemp("tls"), tls=(pair, pair)) as directory:
        target = RotationTarget(bao, tmp_path, Entries(directory))
        more = {"url": directory.plain_url, "start_tls": True} if scheme == "start_tls" else {"url": directory.url}
        for ca, error in (("other.pem", "CERTIFICATE_VERIFY_FAILED"), ("ca.pem", "")):
            for path in ("directory/admin", "directory/shop"):
                target.put(path, **{**target.fields(path), **more, "ca_file": str(tmp_path / ca)})
            if error:
                with pytest.raises(SystemUnavailableError, match=error):
                    target.rotate()
        target.rotate()
        assert target.system.accepts(target.fields())


def test_a_directory_that_stops_during_a_rotation_loses_nothing(bao, tmp_path, tmp_path_factory, monkeypatch):
    with LdapDirectory(tmp_path_factory.mktemp("stopped")) as directory:
        target = RotationTarget(bao, tmp_path, Entries(directory))
        for name in ("create", "apply"):
            with monkeypatch.context() as patched:
                after_first_call(patched, name, directory.stop)
                with pytest.raises(SystemUnavailableError, match="the directory does not answer"):
                    target.rotate()
            directory.start()
            target.recover()
            assert target.system.orphans(target.fields()) == set()
