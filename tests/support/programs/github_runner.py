"""Runs the steps of a job like GitHub's runner, and masks values in its log.

A separate program like Runner.Worker: `python github_runner.py JOB.json`. It follows the documentation of steps
in bash: https://docs.github.com/actions/reference/workflow-commands-for-github-actions and …/workflow-syntax.
JOB.json: `steps` (of `run`, `id`, `if`, `env`, `uses` an action's folder, `with`), `env`, `workspace`, `log`, and
`contexts` of expressions, such as `github`.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import yaml

_BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


class Job:
    def __init__(self, workspace, log, env):
        self.workspace, self.log = Path(workspace), Path(log)
        self.temp = Path(tempfile.mkdtemp(dir=self.workspace.parent))
        self.env, self.path, self.masks, self.failed = dict(env), [], [], False
        self._lock = threading.Lock()

    def run(self, steps, contexts, inherited=None, where=None):
        """Run all steps; after a failure, only those with `if: always()`. Stores outputs by the step's id."""
        for step in steps:
            if self.failed and step.get("if") != "always()":
                continue
            env = {**(inherited or {}), **{key: _filled(value, contexts) for key, value in step.get("env", {}).items()}}
            if "uses" in step:
                self._use(Path(step["uses"]), step.get("with", {}))
            else:
                outputs = self._step(_filled(step["run"], contexts), env, where)
                contexts["steps"].setdefault(step.get("id"), {})["outputs"] = outputs

    def _use(self, folder, given):
        action = yaml.safe_load((folder / "action.yml").read_text())
        assert action["runs"]["using"] == "composite"
        assert given.keys() <= action["inputs"].keys(), given
        inputs = {name: given.get(name, about["default"]) for name, about in action["inputs"].items()}
        assert all(step["shell"] == "bash" for step in action["runs"]["steps"])
        self.run(action["runs"]["steps"], {"inputs": inputs, "steps": {}}, where=folder)

    def _step(self, script, env, where):
        files = {name: self.temp / name.lower() for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH")}
        for file in files.values():
            file.write_text("")
        text = self.temp / "step.sh"
        text.write_text(script)
        environ = {
            **os.environ,
            **self.env,
            **env,
            **{name: str(file) for name, file in files.items()},
            **({"GITHUB_ACTION_PATH": str(where)} if where else {}),
            "PATH": os.pathsep.join([*reversed(self.path), os.environ["PATH"]]),
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "RUNNER_TRACKING_ID": "github_of-this-job",
        }
        process = subprocess.Popen(
            [*_BASH, str(text)],
            cwd=self.workspace,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        readers = [threading.Thread(target=self._read, args=(pipe,)) for pipe in (process.stderr, process.stdout)]
        for reader in readers:
            reader.start()
        code = process.wait()
        for reader in readers:
            reader.join()
        if code:
            self.failed = True
            self.say(f"##[error]Process completed with exit code {code}.")
        self.env.update(assignments(files["GITHUB_ENV"].read_text()))
        self.path += files["GITHUB_PATH"].read_text().splitlines()
        return assignments(files["GITHUB_OUTPUT"].read_text())

    def _read(self, pipe):
        for raw in pipe:
            line = raw.decode(errors="replace").rstrip("\r\n")
            if line.lstrip().startswith("::add-mask::"):
                # Like the runner: masks the text and each of its lines. A command is not logged.
                value = _unescaped(line.lstrip().removeprefix("::add-mask::"))
                assert value.strip(), "the runner warns of an empty mask"
                self.masks += [value, *(part for part in re.split(r"[\r\n]+", value) if part.strip())]
            else:
                self.say(line)

    def say(self, line):
        with self._lock, self.log.open("a") as log:
            for mask in sorted(self.masks, key=len, reverse=True):
                line = line.replace(mask, "***")
            log.write(f"{line}\n")


def assignments(text):
    """Parse $GITHUB_ENV or $GITHUB_OUTPUT: NAME=VALUE, or NAME<<WORD, lines, and WORD."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        before_equals, _, value = line.partition("=")
        name, heredoc, word = line.partition("<<")
        if heredoc and len(name) < len(before_equals):
            values = []
            while (one := next(lines)) != word:
                values.append(one)
            found[name] = "\n".join(values)
        else:
            found[before_equals] = value
    assert "NODE_OPTIONS" not in found, "the runner refuses it"
    return found


def _unescaped(text):
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def _filled(text, contexts):
    def value(match):
        node = contexts
        for key in match[1].split("."):
            node = node[key]
        return str(node)

    return _EXPRESSION.sub(value, str(text))


def main():
    job_file = json.loads(Path(sys.argv[1]).read_text())
    job = Job(job_file["workspace"], job_file["log"], job_file["env"])
    job.run(job_file["steps"], {"steps": {}, **job_file.get("contexts", {})})
    Path(sys.argv[1]).with_suffix(".masks").write_text(json.dumps(job.masks))
    sys.exit(job.failed)


if __name__ == "__main__":
    main()
