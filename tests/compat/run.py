"""Tries an agent's jobs on your Vault, and on your Kubernetes: `make compat`.

    VAULT_ADDR=… VAULT_TOKEN=… make compat
    make compat CONTEXT=kind-kind IMAGE=registry.example/lessee:0.2.0      # on Kubernetes too
    make compat CLEAN=yes       # removes what a killed run left

It works in mounts, policies and a namespace of its own, whose names begin with lessee-compat-, and removes them at the
end. It prints a report without addresses, names or values. $VAULT_CACERT and $VAULT_NAMESPACE count as for `vault`.
"""

import argparse
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

from compat.cluster import JOBS as CLUSTER_JOBS
from compat.cluster import Cluster, ClusterError
from compat.report import FAILS, NOT_TRIED, WORKS, NotTriedError, Result, markdown, plain, reason, server_name
from compat.space import POLICY, PREFIX, Space, client, missing_rights, remains
from compat.vault_jobs import FOLDERS, JOBS, Jobs
from lessee.core.errors import LesseeError

NO_RIGHTS = 77
"""The exit code of a run that created nothing, because the token may not do what it needs."""


INTERRUPTED = 130
FILES = ("VAULT_CACERT", "VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY")


def main(arguments):
    """Return 0 if no job failed and nothing is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", action="store_true", help="remove what killed runs left, and try nothing")
    parser.add_argument("--policy", action="store_true", help="print the policy that the token needs")
    parser.add_argument("--database", default=os.environ.get("COMPAT_DATABASE"), help="the URL of a PostgreSQL")
    parser.add_argument("--context", help="a context of kubectl: try the sidecar on this cluster too")
    parser.add_argument("--image", help="the agent's image, which the cluster can pull")
    options = parser.parse_args(arguments)
    if options.context and not (options.image or options.clean):
        return stop("--context needs --image, the agent's image, which the cluster can pull")
    if options.policy:
        say(POLICY)
        return 0
    absent = [name for name in ("VAULT_ADDR", "VAULT_TOKEN") if not os.environ.get(name)]
    if absent:
        return stop(f"${' and $'.join(absent)} must be set: the server to try, and a token with the policy of --policy")
    for name in FILES:
        if os.environ.get(name):
            # An agent has a folder of its own.
            os.environ[name] = str(Path(os.environ[name]).resolve())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    namespace = os.environ.get("VAULT_NAMESPACE") or None
    try:
        with client(namespace) as admin:
            space = Space(admin, namespace)
            cluster = cluster_of(space, options)
            return clean(admin, cluster) if options.clean else try_all(space, cluster, options.database)
    except (LesseeError, ClusterError) as exc:
        return stop(str(exc))


def cluster_of(space, options):
    """The cluster of --context, or None."""
    if not options.context:
        return None
    address = os.environ.get("COMPAT_POD_VAULT_ADDR") or os.environ["VAULT_ADDR"]
    return Cluster(space, options.context, options.image, address, os.environ.get("VAULT_CACERT"))


def try_all(space, cluster, database):
    """Print the report."""
    admin = space.admin
    # A namespace has no health of its own.
    with client() as server:
        health = server.health()
    if lacks := list(missing_rights(admin, space.name)):
        needed = "\n".join(f"  {line}" for line in lacks)
        return stop(f"nothing was created: the token lacks\n{needed}\nIt needs this policy:\n\n{POLICY}", NO_RIGHTS)
    if cluster and (lacks := list(cluster.missing_rights())):
        needed = "\n".join(f"  {line}" for line in lacks)
        return stop(f"nothing was created: in its cluster, the context may not\n{needed}", NO_RIGHTS)
    if old := [path for path in remains(admin) if space.name not in path]:
        tell(f"an earlier run left {', '.join(old)}; make compat CLEAN=yes removes it")
    results, on_cluster = [], []
    try:
        jobs = Jobs(space, database)
        try_each(JOBS, jobs, results)
        if cluster:
            try_each(CLUSTER_JOBS, cluster, on_cluster)
    except KeyboardInterrupt:
        left = close(space, cluster)
        return stop(f"interrupted; left behind: {', '.join(left) or 'nothing'}", INTERRUPTED)
    except BaseException:
        close(space, cluster)
        raise
    left = close(space, cluster)
    say(markdown(server_name(health), results, left))
    if cluster:
        say(f"\n{markdown(f'Kubernetes {plain(cluster.version())}', on_cluster, left)}")
    return 1 if left or any(each.outcome == FAILS for each in results + on_cluster) else 0


def try_each(jobs, where, results):
    """Add a row for each job."""
    for name, job in jobs.items():
        results.append(result := attempt(name, job, where))
        tell(f"{result.outcome.strip('*'):>9}  {name}")


def close(space, cluster):
    """Remove everything; the cluster's side first, whose pods still use the server."""
    return (cluster.close() if cluster else []) + space.close()


def attempt(name, job, jobs):
    """The row of one job."""
    try:
        job(jobs)
    except NotTriedError as exc:
        return Result(name, NOT_TRIED, str(exc))
    except Exception as exc:  # noqa: BLE001  # A job that fails in an unknown way is a result as well.
        tell("".join(traceback.format_exception(exc)))
        return Result(name, FAILS, reason(exc))
    return Result(name, WORKS)


def clean(admin, cluster=None):
    """Remove what is there from all runs."""
    for name in cluster.remains() if cluster else ():
        cluster.kubectl("delete", "namespace", name, "--wait")
        say(f"removed: namespace {name}")
    found = remains(admin)
    for path in found:
        admin.delete(path)
    left = remains(admin)
    folders = [folder for parent in FOLDERS for folder in Path(parent).glob(f"{PREFIX}*")]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"removed: {', '.join(path for path in found if path not in left) or 'nothing'}")
    return stop(f"left: {', '.join(left)}") if left else 0


def stop(text, code=1):
    """Print an error; the exit code."""
    sys.stderr.write(f"compat: {text}\n")
    return code


def tell(text):
    """Progress, which is not part of the report."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def say(text):
    """A line of the report."""
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
