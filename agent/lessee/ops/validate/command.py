"""`lessee validate`: checks whether the environment works for its apps."""

import argparse
import os
import time
from contextlib import closing

from lessee.core.errors import ConfigError, LesseeError
from lessee.core.severity import Level
from lessee.host.console import escape_unknown
from lessee.host.progress import progress
from lessee.host.project import find, read
from lessee.ops.validate.components import check_components, checks
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.policy.attribution import attribute
from lessee.ops.validate.policy.coverage import require
from lessee.ops.validate.policy.reports import REPORTS, Report
from lessee.ops.validate.policy.results import Result, Skip
from lessee.ops.validate.runner import run as run_checks


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 1 where a check fails with the level `arguments.fail_on` or a higher one, otherwise 0."""
    environ = dict(os.environ)
    path = find(arguments.config, environ)
    config = read(path, environ, blocks=("validate", "rotation"))
    if config.environment is None:
        todo = "write `environment: NAME`, or set $LESSEE_ENVIRONMENT"
        raise ConfigError([LesseeError("`environment` is missing", where=path.name, todo=todo)])
    context = ValidationContext(config, path, environ, now=time.time())
    with closing(context), progress(quiet=arguments.quiet) as shown:
        check_components(context, arguments.expect)
        only = arguments.component and dict.fromkeys((*arguments.component, *arguments.expect))
        results = run_checks(checks(context, only), context.timeout, shown)
        if only and "vault" not in only and _lacks_access(results):
            # The checks of Vault say why others were skipped.
            results = [*run_checks(checks(context, ["vault"]), context.timeout, shown), *results]
    results = require(attribute(results), arguments.expect)
    report = Report(config.environment, context.now, tuple(results))
    # Programs read UTF-8; a terminal may have another encoding.
    escape_unknown(None if arguments.format == "text" else "utf-8")
    print(REPORTS[arguments.format](report, verbose=arguments.verbose), end="")
    return 1 if any(_fails(result, arguments.fail_on) for result in results) else 0


def _lacks_access(results: list[Result]) -> bool:
    return any(result.skip is Skip.IMPOSSIBLE for result in results)


def _fails(result: Result, fail_on: str) -> bool:
    levels = {Level.CRITICAL} if fail_on == Level.CRITICAL else {Level.CRITICAL, Level.WARNING}
    return result.passed is False and result.level in levels
