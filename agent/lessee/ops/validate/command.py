"""`lessee validate`: does the environment work, as its apps will find it?"""

import argparse
import os
import time
from contextlib import closing

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.severity import Level
from lessee.host.console import escape_unknown
from lessee.host.project import find, read
from lessee.ops.validate.components import checks
from lessee.ops.validate.context import Subject
from lessee.ops.validate.policy.reports import REPORTS, Report
from lessee.ops.validate.policy.results import Result
from lessee.ops.validate.runner import run as run_checks


def run(arguments: argparse.Namespace) -> int:
    """1 where a check fails that is as bad as `arguments.fail_on`, else 0."""
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    config = read(path, environ, blocks=("validate", "rotation"))
    if config.environment is None:
        todo = "write `environment: NAME`, or set $LESSEE_ENVIRONMENT"
        raise ConfigError([LesseeError("it names no environment to look at", where=path.name, todo=todo)])
    with closing(Subject(config, path, environ, now=time.time())) as subject:
        results = run_checks(checks(subject, arguments.component), subject.timeout)
        if arguments.component and "vault" not in arguments.component and _is_blind(results):
            # What was asked for could not be looked at: the reason is part of the answer.
            results = [*run_checks(checks(subject, ["vault"]), subject.timeout), *results]
    report = Report(config.environment, subject.now, tuple(results))
    # Programs read UTF-8; a terminal may have another encoding.
    escape_unknown(None if arguments.format == "text" else "utf-8")
    print(REPORTS[arguments.format](report, verbose=arguments.verbose), end="")
    return 1 if any(_counts(result, arguments.fail_on) for result in results) else 0


def _is_blind(results: list[Result]) -> bool:
    return any(result.passed is None for result in results)


def _counts(result: Result, fail_on: str) -> bool:
    levels = {Level.CRITICAL} if fail_on == Level.CRITICAL else {Level.CRITICAL, Level.WARNING}
    return result.passed is False and result.level in levels
