"""A large value, and a template with much work, delay no other app, and take a bounded amount of memory."""

import itertools
import json
import os
import signal
import threading
import time

import pytest

from e2e.test_bombs import peak
from support.programs.sidecar import eventually

FORKED_AGENTS = True
LINES = "1234567\n"
LAYERS = "{% for i in range(900) %}{% for j in range(300) %}x{% endfor %}{% endfor %}"
"""Nearly as many steps as a template may take."""
VARIABLES = "{% for i in range(4000) %}K{{ i }}=v\n{% endfor %}"
"""Much work for the parsers of the format."""
SLOW = {
    "dotenv": "A={{ %s }}\nB='{%% for i in range(19000) %%}${E={%% endfor %%}'\n",
    "dotenv-node": "A={{ %s }}\nB=x{%% for i in range(30000) %%}\u2028'x{%% endfor %%}\n",
    "sh": "A={{ %s }}\nB={%% for i in range(45000) %%}$%%{%% endfor %%}\n",
}
"""Short templates of files that took minutes to verify, while no other thread could run."""
LONG = "{{ %d }}\n" * 12_000
"""Nearly as many tokens as a template may have: to compile it takes seconds."""


@pytest.fixture
def agent(bao, sidecar, folder, memory):
    bao.put(f"testing/{folder}/db", x="0")
    sidecar.template("good.j2", f'{{{{ secret("{folder}/db").x }}}}\n')
    sidecar.config["apps"]["author"] = {"directory": str(memory / "author"), "files": [{"template": "author.j2"}]}
    (sidecar.disk / "author.j2").write_text("fine\n")
    return sidecar


class Refreshes:
    """Changes the good app's secret again and again, and notes how long each change took to arrive."""

    def __init__(self, agent, bao, folder):
        self._agent, self._bao, self._path = agent, bao, f"testing/{folder}/db"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest = 0.0

    def _run(self):
        for number in itertools.count(1):
            if self._ended.is_set():
                return
            self._bao.put(self._path, x=str(number))
            began = time.monotonic()
            self._agent.until_file("good", f"{number}\n")
            self.longest = max(self.longest, time.monotonic() - began)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


@pytest.mark.thorough
def test_templates_with_much_work_stall_no_other_app(agent, bao, folder):
    agent.start()
    files = []
    for number in range(6):
        (agent.disk / f"steps{number}.j2").write_text(LAYERS)
        (agent.disk / f"words{number}.j2").write_text(VARIABLES)
        files += [
            {"template": f"steps{number}.j2"},
            {"template": f"words{number}.j2", "format": "dotenv-vite"},
        ]
    agent.config["apps"]["author"]["files"] = files
    with Refreshes(agent, bao, folder) as refreshes:
        began = time.monotonic()
        agent.write_config()
        eventually((agent.memory / "author/words5").exists, "the files")
        took = time.monotonic() - began
    # In the loop's thread, one change would wait for all twelve files.
    assert refreshes.longest < took / 2


def test_files_that_are_built_to_be_slow_to_verify_stall_no_other_app(agent, bao, folder):
    files = []
    for name, text in SLOW.items():
        (agent.disk / f"{name}.j2").write_text(text % f'secret("{folder}/db").x')
        files.append({"template": f"{name}.j2", "format": name})
    agent.config["apps"]["author"]["files"] = files
    agent.start()
    for number in range(1, 6):  # Each change makes both apps render again.
        bao.put(f"testing/{folder}/db", x=str(number))
        agent.until_file("good", f"{number}\n")
    for name in SLOW:
        path = agent.memory / "author" / name
        eventually(lambda path=path: "A='5'" in path.read_text(), f"the last change in {name}")


@pytest.fixture
def slow_edit(agent):
    """An edit after which an app's templates take many seconds to compile, and of which the agent knows."""
    agent.start()

    def edit(*numbers):
        texts = [LONG.replace("%d", str(number)) for number in numbers]
        for index, text in enumerate(texts):
            (agent.disk / f"long{index}.j2").write_text(text)
        agent.config["apps"]["author"]["files"] = [{"template": f"long{index}.j2"} for index in range(len(texts))]
        agent.write_config()
        os.kill(agent.process.pid, signal.SIGHUP)

    return edit


@pytest.mark.thorough
def test_a_template_that_takes_seconds_to_compile_stalls_no_other_app(agent, bao, folder, slow_edit):
    slow_edit(1, 2, 3)
    changes = 0
    for number in itertools.count(1):
        bao.put(f"testing/{folder}/db", x=str(number))
        agent.until_file("good", f"{number}\n")
        assert agent.get("/healthz")[0] == 200
        if (agent.memory / "author/long0").exists():
            break
        changes += 1
    # In the loop's thread, not even the first change would be published before the new templates are compiled.
    assert changes > 1
    assert (agent.memory / "author/long2").read_text() == "3\n" * 12_000


def test_sigterm_is_obeyed_while_a_template_is_compiled(agent, bao, folder, slow_edit):
    slow_edit(1, 2, 3)
    bao.put(f"testing/{folder}/db", x="1")
    agent.until_file("good", "1\n")
    assert agent.stop() == 0
    assert (agent.memory / "author/author").read_text() == "fine\n"


@pytest.mark.thorough
def test_edits_while_a_template_is_compiled_are_one_further_reload(agent, bao, folder, slow_edit):
    slow_edit(1, 2, 3)
    for number in range(4, 34):
        slow_edit(number)
    bao.put(f"testing/{folder}/db", x="1")
    agent.until_file("good", "1\n")
    eventually((agent.memory / "author/long0").exists, "a result")
    eventually(lambda: (agent.memory / "author/long0").read_text() == "33\n" * 12_000, "the last edit")
    reloads = [event for event in agent.events() if event["event"] == "configuration reloaded"]
    assert len(reloads) < 10


@pytest.mark.thorough
def test_a_template_that_python_cannot_compile_is_that_apps_error_alone(agent, bao, folder):
    agent.start()
    (agent.disk / "author.j2").write_text("{% if 1 %}" + "{% elif 1 %}" * 9_000 + "{% endif %}")
    os.kill(agent.process.pid, signal.SIGHUP)
    agent.until(lambda status: any("author.j2: a part of the template is too long" in p for p in status["problems"]))
    bao.put(f"testing/{folder}/db", x="1")
    agent.until_file("good", "1\n")


@pytest.mark.thorough
def test_a_secret_of_many_mebibytes_is_that_apps_error_alone(agent, bao, folder):
    bao.put(f"testing/{folder}/large", x="small")
    (agent.disk / "author.j2").write_text(f'{{{{ secret("{folder}/large").x }}}}\n')
    agent.start()
    before = peak(agent.pid)
    with Refreshes(agent, bao, folder):
        bao.put(f"testing/{folder}/large", x=LINES * (26 * 2**20 // (len(LINES) + 1)))
        agent.until(lambda status: any("the answer is larger than 9 MiB" in problem for problem in status["problems"]))
    assert agent.get("/healthz")[0] == 200
    assert peak(agent.pid) - before < 256
    assert (agent.memory / "author/author").read_text() == "small\n"
    bao.put(f"testing/{folder}/large", x="small again")
    eventually(lambda: (agent.memory / "author/author").read_text() == "small again\n", "the smaller one")


def test_a_secret_of_some_mebibytes_is_rendered(agent, bao, folder):
    text = LINES * (6 * 2**20 // len(LINES))
    bao.put(f"testing/{folder}/large", x=text)
    (agent.disk / "author.j2").write_text(f'{{{{ secret("{folder}/large").x }}}}')
    agent.start()
    assert (agent.memory / "author/author").read_text() == text


def test_a_deeply_nested_secret_ends_no_agent(agent, bao, folder):
    agent.start()
    (agent.disk / "author.j2").write_text(f'{{{{ secret("{folder}/deep").x | json }}}}\n')
    agent.write_config()
    bao.put(f"testing/{folder}/deep", x=json.loads("[" * 280 + "]" * 280))
    agent.until(lambda status: any("nested more than 100 levels" in problem for problem in status["problems"]))
    bao.put(f"testing/{folder}/db", x="1")
    agent.until_file("good", "1\n")
