"""A template without an end is reported by file and line, and does not harm other apps, memory or files."""

import base64

import pytest

from support.programs.sidecar import eventually

CANARY = "HUNTER2-c4n4ry"
EACH = "{% for i in range(100000) %}"
BOMBS = [
    ("{{ 'A' * 400000000 }}", "produces more than 8 MiB"),
    ("{{ 9 ** (9 ** 9) }}", "produces a number of more than 4,300 digits"),
    (EACH * 3 + "{{ s.x }}" + "{% endfor %}" * 3, "takes more than 2,000,000 steps"),
    ("{% set n = namespace(a='x') %}" + EACH + "{% set n.a = n.a ~ n.a %}{% endfor %}", "produces more than 8 MiB"),
    ("{% set n = namespace(a=[1]) %}" + EACH + "{% set n.a = [n.a, n.a] %}{% endfor %}{{ n.a }}", "steps"),
    ("{% set n = namespace(a=[1]) %}" + EACH + "{% set n.a = [n.a, s.x * 200] %}{% endfor %}", "steps"),
    ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself without end"),
    ('{% include "bomb.j2" %}', "include each other more than 20 levels deep"),
    ("{{ '%1000000000d' % 1 }}", "requests more than 1,000 characters"),
    ("{{ [s.x] * 1000000000 }}", "produces a list of more than 100,000 items"),
]


def peak(pid):
    """The peak memory of a process in MiB."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123  # No file.
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


@pytest.fixture
def agent(bao, sidecar, folder, memory):
    bao.put(f"testing/{folder}/db", x=CANARY)
    sidecar.template("app.env.j2", f'X={{{{ secret("{folder}/db").x }}}}\n')
    sidecar.start()
    sidecar.config["apps"]["bomb"] = {"directory": str(memory / "bomb"), "files": [{"template": "bomb.j2"}]}
    return sidecar


@pytest.mark.thorough
def test_bombs_are_reported_by_file_and_line_and_harm_no_other_app(agent, bao, folder):
    before = peak(agent.pid)
    for number, (bomb, said) in enumerate(BOMBS):
        (agent.disk / "bomb.j2").write_text(f'{{% set s = secret("{folder}/db") %}}\n{bomb}\n{{# {number} #}}')
        agent.write_config()
        agent.until(
            lambda status, said=said: [one for one in status["problems"] if "bomb.j2:2: " in one and said in one]
        )
        bao.put(f"testing/{folder}/db", x=f"{CANARY} {number}")
        agent.until_file("app.env", f"X='{CANARY} {number}'\n")
    assert not (agent.disk / "bomb").exists()
    assert peak(agent.pid) - before < 128
    assert CANARY not in agent.log.read_text()
    # The app recovers after an edit, as from any other error.
    (agent.disk / "bomb.j2").write_text("fine\n")
    # The file may be read while it is still empty, which is valid too.
    written = agent.memory / "bomb/bomb"
    eventually(lambda: written.exists() and written.read_text() == "fine\n", "the corrected file")
    agent.until(lambda status: status["ready"])


def test_render_exits_with_65_for_a_bomb_and_writes_the_other_apps(agent, folder):
    for bomb, said in BOMBS[:4]:
        (agent.disk / "bomb.j2").write_text(f'{{% set s = secret("{folder}/db") %}}\n{bomb}')
        agent.write_config()
        done = agent.command("render", "--output", "out")
        assert done.returncode == 65
        assert "bomb.j2:2: " in done.stderr
        assert said in done.stderr
        assert CANARY not in done.stdout + done.stderr
        assert (agent.disk / "out/web/app.env").exists()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("bomb", "said"),
    [
        (
            "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
            "bomb.j2:1: the expression is nested more than 100 levels deep",
        ),
        ("{{ 1" + " + 1" * 2000 + " }}", "bomb.j2:1: the expression is nested more than 100 levels deep"),
        ("{{ 1 }}\n" * 20_000, "a template's tags have at most 50,000 tokens"),
        ("x" * 2_000_000, "a template has at most 1,048,576 characters"),
    ],
    ids=["nested", "chained", "many", "long"],
)
def test_check_reports_templates_that_are_too_deep_or_too_long(agent, bomb, said):
    (agent.disk / "bomb.j2").write_text(bomb)
    agent.write_config()
    done = agent.command("check")
    assert done.returncode == 65
    assert said in done.stderr
    assert len(done.stderr) < 1000


# An error never contains a value, wherever it is printed.

LEAKS = [
    "{{ s.x.nope }}",
    "{{ s[s.x] }}",
    "{{ s.x | int + s.x }}",
    "{{ s.x() }}",
    "{{ s.x | b64decode }}",
    "{{ s.x | fromjson }}",
    "{{ (s.x ~ '{nope}').format(1) }}",
    "{{ {s.x: 1}[s.x ~ s.x] }}",
    "{{ [s.x] | map(s.x) | list }}",
    "{{ '%d' % s.x }}",
]


def test_no_failing_expression_prints_a_value_in_the_output_of_render(agent, folder):
    for number, leak in enumerate(LEAKS):
        agent.config["apps"][f"leak{number}"] = {
            "directory": str(agent.memory / f"leak{number}"),
            "files": [{"template": f"leak{number}.j2"}],
        }
        (agent.disk / f"leak{number}.j2").write_text(f'{{% set s = secret("{folder}/db") %}}\n{leak}')
    (agent.disk / "bomb.j2").write_text("fine")
    agent.write_config()
    done = agent.command("render", "--output", "out", "--log-level", "debug")
    assert done.returncode == 65
    assert [line for line in done.stderr.splitlines() if line.startswith("lessee: ")]
    for number in range(len(LEAKS)):
        assert f"leak{number}.j2:2: " in done.stderr
    assert CANARY.lower() not in (done.stdout + done.stderr).lower()
    agent.until(
        lambda status: all(any(f"leak{n}.j2:2: " in one for one in status["problems"]) for n in range(len(LEAKS)))
    )
    assert CANARY.lower() not in agent.log.read_text().lower() + str(agent.status()).lower()


def test_a_binary_file_is_rendered_byte_for_byte(agent, bao, folder):
    content = bytes(range(256)) * 40
    bao.put(f"testing/{folder}/db", x=base64.b64encode(content).decode())
    (agent.disk / "bomb.j2").write_text(f'{{{{ secret("{folder}/db").x | b64decode }}}}')
    agent.write_config()
    path = agent.memory / "bomb/bomb"
    eventually(lambda: path.exists() and path.read_bytes() == content, "the keystore")
