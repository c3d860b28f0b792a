"""Starts programs as other users, who may not be able to enter the folder of this Python."""

import sys

# No other user may enter root's home, where this Python may be: the command sees a home with Python alone.
_AS_USER = """
python=$1 work=$2 uid=$3 gid=$4; shift 4
top=/$(echo "$python" | cut -d/ -f2)
if ! setpriv --reuid="$uid" --regid="$gid" --clear-groups test -x "$python/bin"; then
    mount -t tmpfs -o mode=0755 tmpfs "$work"
    mkdir -p "$work/${python#"$top"/}"
    mount --bind "$python" "$work/${python#"$top"/}"
    mount --rbind "$work" "$top"
fi
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --bounding-set=-all --inh-caps=-all -- "$@"
"""


def as_user(memory, uid, gid):
    """The start of a command that runs as this user, without capabilities.

    `memory`: a folder that this user may enter.
    """
    work = memory / "python"
    work.mkdir(exist_ok=True)
    return ["unshare", "--mount", "sh", "-euc", _AS_USER, "sh", sys.base_prefix, str(work), str(uid), str(gid)]
