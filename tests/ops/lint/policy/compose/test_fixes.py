"""Each finding whose right change is known has a fix, after which the finding is gone and nothing else changed."""

# ruff: noqa: E501  # A text before and after is in one line.

import pytest

from support.inputs.mended_stacks import GOOD, LESSEE, TMPFS, Files, edited

HOLDER = '  holder: {image: lessee, entrypoint: [sleep, infinity], volumes: ["files:/hold/files"]}\n'


def lessee(*pairs):
    return edited(*pairs, text=LESSEE)


def mended(text=GOOD, rule="", config=LESSEE, count=1, **files):
    """compose.yaml without the finding, which was its only one."""
    stack = Files(lessee=config, compose_yaml=text, **files)
    if rule:
        assert stack.rules() == [rule] * count
    session = stack.mend()
    assert stack.rules(session.texts) == []
    return session.texts.get("compose.yaml", text)


def left(text, rule, config=LESSEE, **files):
    """The finding has no fix, or it is refused, and no file changes."""
    stack = Files(lessee=config, compose_yaml=text, **files)
    assert rule in stack.rules()
    session = stack.mend()
    assert not session.texts
    return session


def test_a_working_stack_has_nothing_to_fix():
    stack = Files(compose_yaml=GOOD)
    assert stack.rules() == []
    assert stack.mend().texts == {}
    assert stack.lines() == {}


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ('["files:/run/secrets/web"] # c', '["files:/run/secrets/web:ro"] # c'),
        ('["files:/run/secrets/web:rw"]', '["files:/run/secrets/web:ro"]'),
        ("['files:/run/secrets/web:nocopy']", "['files:/run/secrets/web:nocopy,ro']"),
        ("[files:/run/secrets/web/]", "[files:/run/secrets/web/:ro]"),
        ("\n      - other:/x\n      - files:/run/secrets/web", "\n      - other:/x\n      - files:/run/secrets/web:ro"),
        (
            "[{type: volume, source: files, target: /run/secrets/web}]",
            "[{type: volume, source: files, target: /run/secrets/web, read_only: true}]",
        ),
        (
            "\n      - type: volume\n        source: files\n        target: /run/secrets/web\n        read_only: false",
            "\n      - type: volume\n        source: files\n        target: /run/secrets/web\n        read_only: true",
        ),
    ],
)
def test_a_writable_mount_becomes_read_only(wrong, right):
    good = '["files:/run/secrets/web:ro"]'
    assert mended(edited((good, wrong)), "writable-mount") == edited((good, right))


def test_a_writable_mount_of_another_file_is_overridden():
    base = "services:\n  base: {image: x, restart: always, volumes: ['files:/run/secrets/web']}\n"
    text = edited(
        ('    image: x\n    user: "1000', '    extends: {file: base.yaml, service: base}\n    user: "1000'),
        ('    volumes: ["files:/run/secrets/web:ro"]\n', ""),
        ("    restart: always\n", ""),
    )
    assert "volumes: [files:/run/secrets/web:ro]" in mended(text, "writable-mount", base_yaml=base)


@pytest.mark.parametrize("source", ["./data", "../data", "/srv/data"])
def test_a_writable_mount_of_the_host_is_overridden_by_the_same_directory(source):
    base = f"services:\n  base: {{image: x, restart: always, volumes: ['{source}:/run/secrets/web']}}\n"
    text = edited(
        ('    image: x\n    user: "1000', '    extends: {file: base.yaml, service: base}\n    user: "1000'),
        ('    volumes: ["files:/run/secrets/web:ro"]\n', ""),
        ("    restart: always\n", ""),
        ("files:/run/secrets/web", f"{source}:/run/secrets/web"),
        ("volumes:\n  files: ", "x:\n  files: "),
        (', volumes: ["files:/hold/files"]', ""),
    )
    assert f"{source}:/run/secrets/web:ro" in mended(text, "writable-mount", base_yaml=base)


def test_a_writable_mount_of_a_part_of_a_volume_is_overridden_in_the_long_form():
    base = (
        "services:\n  base: {image: x, volumes: [{type: volume, source: files, target: /s, volume: {subpath: web}}]}\n"
    )
    text = edited(
        ('    image: x\n    user: "1000', '    extends: {file: base.yaml, service: base}\n    user: "1000'),
        ('    volumes: ["files:/run/secrets/web:ro"]\n', ""),
        ("- files:/run/secrets/web", "- files:/run/secrets"),
    )
    assert "read_only: true, volume: {subpath: web}" in mended(text, "writable-mount", base_yaml=base)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (
            "[{type: volume, source: files, target: /run/secrets/web/conf, read_only: true, volume: {subpath: conf}}]",
            "[{type: volume, source: files, target: /run/secrets/web, read_only: true}]",
        ),
        ("- x", None),
    ],
)
def test_a_part_of_the_directory_becomes_the_whole(wrong, right):
    good = '["files:/run/secrets/web:ro"]'
    if right is not None:
        assert mended(edited((good, wrong)), "stale-mount") == edited((good, right))


def test_a_file_of_the_host_becomes_its_directory():
    pairs = (
        ("- files:/run/secrets/web", "- ./data:/run/secrets/web"),
        ("volumes:\n  files: ", "x:\n  files: "),
        (', volumes: ["files:/hold/files"]', ""),
    )
    wrong = edited(('"files:/run/secrets/web:ro"', '"./data/app.env:/run/secrets/web/app.env:ro"'), *pairs)
    right = edited(('"files:/run/secrets/web:ro"', '"./data:/run/secrets/web:ro"'), *pairs)
    assert mended(wrong, "stale-mount") == right
    # Where the program looks for the file is not known.
    left(edited(('"files:/run/secrets/web:ro"', '"./data/app.env:/app/.env:ro"'), *pairs), "stale-mount")


@pytest.mark.parametrize(
    ("removed", "there"),
    [
        ("    pid: service:holder\n", "  holder:"),
        (f"{HOLDER}", "pid: service:holder"),
    ],
)
def test_a_pid_namespace_is_shared(removed, there):
    text = GOOD.replace(removed, "").replace("    pid: service:holder\n", "")
    after = mended(text, "no-shared-pid")
    assert there in after
    assert after.count("pid: service:holder") == 2
    assert "files:/hold/files" in after


def test_a_pid_namespace_that_one_has_is_shared_by_the_other():
    text = edited(('    user: "1000:1000"\n    pid: service:holder\n', '    user: "1000:1000"\n'))
    assert mended(text, "no-shared-pid").count("pid: service:holder") == 2
    text = edited(
        ("holder", "sleeper"), ("    pid: service:sleeper\n    volumes", "    pid: service:other\n    volumes")
    )
    assert mended(text, "no-shared-pid").count("pid: service:other") == 2
    assert "  other:\n    image: lessee" in mended(text)


@pytest.mark.parametrize(
    ("pairs", "config"),
    [
        ([('user: "0:1000"', 'user: "1000:1000"')], LESSEE),
        ([('user: "0:1000"', "user: 1000")], lessee(('    owner: "0:1000"\n', ""))),
    ],
)
def test_the_agent_gets_another_user_than_its_app(pairs, config):
    text = edited(*pairs, ("uid=0,gid=1000", "uid=1000,gid=1000"))
    after = mended(text, "same-user", config)
    assert 'user: "0:1000"' in after
    assert "cap_drop: [ALL]" in after
    assert "mode=0750,uid=0,gid=1000" in after


def test_another_user_is_no_fix_where_the_owner_or_the_volumes_are_not_known():
    text = edited(('user: "0:1000"', 'user: "1000:1000"'))
    left(text, "same-user", lessee(('owner: "0:1000"', 'owner: "1000:1000"')))
    left(edited(("volumes:\n  files: ", "x:\n  files: "), text=text), "same-user")
    left(edited(('user: "1000:1000"', "user: root")), "same-user")


ENGINE = lessee(("{process: {name: app.py}, action: SIGHUP}", "{container: {service: web, through: engine}}"))


@pytest.mark.parametrize(
    ("restart", "signal", "expected"),
    [
        ("always", "", "restart: always\n    stop_signal: SIGTERM"),
        ("unless-stopped", "", "restart: always\n    stop_signal: SIGTERM"),
        ("always", "SIGHUP", "restart: always\n    stop_signal: SIGTERM"),
    ],
)
def test_a_signal_through_the_engine_keeps_the_restart_policy(restart, signal, expected):
    stop = f"\n    stop_signal: {signal}" if signal else ""
    after = mended(edited(("restart: always", f"restart: {restart}{stop}")), "no-stop-signal", ENGINE)
    assert all(line.strip() in after for line in expected.split("\n"))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("command: [lessee, exec, --app, wbe, --, x]", "command: [lessee, exec, --app, web, --, x]"),
        ("command: lessee exec --app=wbe -- wbe-x", "command: lessee exec --app=web -- wbe-x"),
        ("entrypoint: [lessee, exec, --app=wbe, --]", "entrypoint: [lessee, exec, --app=web, --]"),
    ],
)
def test_a_misspelled_app_is_corrected(wrong, right):
    text = GOOD + "x:\n"
    text = edited(("  web:\n    image: x\n", f"  other:\n    image: x\n    {wrong}\n  web:\n    image: x\n"))
    expected = edited(("  web:\n    image: x\n", f"  other:\n    image: x\n    {right}\n  web:\n    image: x\n"))
    stack = Files(compose_yaml=text)
    assert stack.rules() == ["unknown-app"]
    assert stack.mend().texts == {"compose.yaml": expected}


def test_an_unlike_name_of_an_app_stays():
    text = edited(
        ("  web:\n    image: x\n", "  y:\n    image: x\n    command: lessee exec --app qqq\n  web:\n    image: x\n")
    )
    left(text, "unknown-app")
    base = "services:\n  y: {image: x, command: 'lessee exec --app wbe'}\n---\nservices: {}\n"
    text = edited(
        ("  web:\n    image: x\n", "  y:\n    extends: {file: base.yaml, service: y}\n  web:\n    image: x\n")
    )
    left(text, "unknown-app", base_yaml=base)
    command = "command: ['exec', '--app', 'wbe']\n"
    text = edited(
        ("  web:\n    image: x\n", f"  y:\n    image: x\n    entrypoint: [lessee]\n    {command}  web:\n    image: x\n")
    )
    assert "'--app', 'web'" in Files(compose_yaml=text).mend().texts["compose.yaml"]


def test_a_misspelled_service_is_corrected_in_lessee_yaml():
    config = lessee(("{process: {name: app.py}, action: SIGHUP}", "{container: {service: wbe}, action: restart}"))
    stack = Files(lessee=config, compose_yaml=GOOD)
    assert stack.rules() == ["unknown-service"]
    assert stack.mend().texts == {"lessee/lessee.yaml": config.replace("wbe", "web")}
    left(GOOD, "unknown-service", config.replace("wbe", "qqq"))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("    environment: {A: b, DATABASE_URL: x}\n", "    environment: {A: b}\n"),
        ("    environment:\n      DATABASE_URL: x # c\n", ""),
        ("    environment: [DATABASE_URL=x, A=b]\n", "    environment: [A=b]\n"),
        ("    environment:\n    - A=b\n    - DATABASE_URL\n", "    environment:\n    - A=b\n"),
    ],
)
def test_a_variable_that_hides_a_rendered_one_is_removed(wrong, right):
    place = "    restart: always\n"
    assert mended(edited((place, place + wrong)), "shadowed-variable") == edited((place, place + right))


def test_a_variable_of_an_earlier_file_is_reset_in_the_last():
    place = "    restart: always\n"
    for variables in ("{DATABASE_URL: x}", "[DATABASE_URL=x]"):
        base = edited((place, f"{place}    environment: {variables}\n"))
        stack = Files(
            compose_yaml=base, over_yaml="services:\n  web:\n    init: true\n", paths=["compose.yaml", "over.yaml"]
        )
        texts = stack.mend().texts
        if "{" in variables:
            reset = "services:\n  web:\n    init: true\n    environment: {DATABASE_URL: !reset null}\n"
            assert texts == {"over.yaml": reset}
        else:  # Compose resets nothing in a list.
            assert texts == {"compose.yaml": GOOD}
        over = "services:\n  web:\n    environment: {DATABASE_URL: x, A: b}\n"
        stack = Files(compose_yaml=GOOD, over_yaml=over, paths=["compose.yaml", "over.yaml"])
        assert stack.mend().texts == {"over.yaml": "services:\n  web:\n    environment: {A: b}\n"}


def test_a_variable_of_a_shared_mapping_is_reset_or_stays():
    text = "x-env: &env {DATABASE_URL: x}\n" + edited(
        ("    restart: always\n", "    restart: always\n    environment: *env\n")
    )
    left(text, "shadowed-variable")


def test_a_variable_of_an_env_file_is_removed_where_nothing_else_uses_it():
    text = edited(("    restart: always\n", "    restart: always\n    env_file: [a.env]\n"))
    env = "# mine\nA=1\nexport DATABASE_URL='x\ny'\nB=2\n"
    stack = Files(compose_yaml=text, a_env=env)
    assert stack.rules() == ["shadowed-variable"]
    assert stack.mend().texts == {"a.env": "# mine\nA=1\nB=2\n"}
    for more in ("labels: {a: '${DATABASE_URL:-x}'}", "environment: [DATABASE_URL]"):
        used = edited(("  web:\n", f"  other: {{image: x, {more}}}\n  web:\n"), text=text)
        assert "a.env" not in Files(compose_yaml=used, a_env=env).mend().texts
    other = edited(("volumes:\n  files: ", "  other: {image: x, env_file: a.env}\nvolumes:\n  files: "), text=text)
    left(other, "shadowed-variable", a_env=env)


@pytest.mark.parametrize(
    "wrong", ["[agent]", "{agent: {condition: service_started}}", "{agent: }", "\n      - agent # c"]
)
def test_an_app_waits_for_its_files(wrong):
    text = edited(("\n      agent: {condition: service_healthy}", f" {wrong}"))
    assert "agent: {condition: service_healthy}" in mended(text, "starts-too-early")


@pytest.mark.no_cover
@pytest.mark.parametrize("volume", ["files:", "files: {}", "files: null", "files: {labels: {a: b}}"])
def test_a_volume_on_a_disk_becomes_a_tmpfs(volume):
    text = edited((f"files: {TMPFS}", volume))
    after = mended(text, "not-in-memory")
    assert "mode=0750,uid=0,gid=1000,noexec,nosuid,nodev" in after
    assert "labels" not in volume or "labels: {a: b}" in after


def test_a_volume_that_something_else_makes_stays():
    left(edited((TMPFS, "{external: true}")), "not-in-memory")
    left(edited((TMPFS, "{driver_opts: {type: nfs}}")), "not-in-memory")
    stack = Files(compose_yaml=edited((TMPFS, "{external: false}")))
    assert stack.mend().texts
    allowed = lessee(('    owner: "0:1000"\n', '    owner: "0:1000"\n    allow_disk: true\n'))
    assert Files(lessee=allowed, compose_yaml=edited((TMPFS, "{}"))).rules() == []


def test_the_agents_state_is_kept_in_memory():
    pairs = ("- files:/run/secrets/web\n", "- files:/run/secrets/web\n      - state:/run/lessee\n")
    text = edited(pairs, ("volumes:\n  files", "volumes:\n  state:\n  other:\n  files"))
    assert "mode=0700,uid=0,gid=0" in mended(text, "not-in-memory")
    assert Files(lessee=f"allow_disk: true\n{LESSEE}", compose_yaml=text).rules() == []


def test_a_volume_gets_the_group_of_its_files():
    assert mended(edited(("gid=1000", "gid=1001")), "other-group") == edited()
    assert mended(edited(("gid=1000'", "gid=x'"))) == edited(("gid=1000'", "gid=x'"))


RESTART = lessee(("action: SIGHUP", "action: restart"))


@pytest.mark.no_cover
@pytest.mark.parametrize("policy", ["", "    restart: 'no'\n", "    deploy: {restart_policy: {condition: none}}\n"])
def test_an_app_that_the_agent_ends_is_started_again(policy):
    after = mended(edited(("    restart: always\n", policy)), "no-restart-policy", RESTART)
    assert any(f"    restart: {word}\n" in after for word in ("unless-stopped", "'unless-stopped'"))


@pytest.mark.parametrize(
    "notify",
    ["{container: {service: web}, action: restart}", "{process: {name: x}, action: SIGUSR1}", "{command: [x]}"],
)
def test_other_notifications_need_no_restart_policy(notify):
    config = lessee(("{process: {name: app.py}, action: SIGHUP}", notify))
    assert Files(lessee=config, compose_yaml=edited(("    restart: always\n", ""))).rules() == []


@pytest.mark.parametrize("command", ["[sh, -c, 'uvicorn a:a --workers 2']", "uvicorn a:a --reload --workers 2"])
def test_uvicorn_in_a_shell_or_another_file_is_left_to_a_person(command):
    config = lessee(("{name: app.py}", "{name: uvicorn}"))
    base = f"services: {{base: {{image: x, command: {command}}}}}\n"
    text = edited(("    restart: always\n", "    restart: always\n    extends: {file: b.yaml, service: base}\n"))
    assert left(text, "sighup-not-handled", config, b_yaml=base).remaining
    here = edited(("    restart: always\n", "    restart: always\n    command: [sh, -c, 'uvicorn a:a --workers 2']\n"))
    left(here, "sighup-not-handled", config)


def test_a_program_that_ignores_sighup_is_restarted():
    config = lessee(("app.py", "celery"))
    stack = Files(lessee=config, compose_yaml=edited(("    restart: always\n", "")))
    texts = stack.mend().texts
    assert texts["lessee/lessee.yaml"] == config.replace("SIGHUP", "restart")
    assert "restart: unless-stopped" in texts["compose.yaml"]


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("command: uvicorn a:a --workers 2", "command: uvicorn a:a --workers 2 --timeout-worker-healthcheck=60"),
        ("command: [uvicorn, 'a:a', --workers, '2']", "command: [uvicorn, 'a:a', --workers, '2', --timeout-worker-healthcheck=60]"),
    ],
)  # fmt: skip
def test_uvicorn_waits_for_its_workers(wrong, right):
    config = lessee(
        ("{process: {name: app.py}, action: SIGHUP}", "{process: {cmdline: '^uvicorn a:a'}, action: SIGHUP}")
    )
    place = "    restart: always\n"
    text = edited((place, f"{place}    {wrong}\n"))
    config = lessee(("{name: app.py}", "{name: uvicorn}"))
    stack = Files(lessee=config, compose_yaml=text)
    assert stack.rules() == ["sighup-not-handled"]
    after = stack.mend().texts
    assert after in (
        {"compose.yaml": edited((place, f"{place}    {right}\n"))},
        {"lessee/lessee.yaml": config.replace("SIGHUP", "restart")},
    )
