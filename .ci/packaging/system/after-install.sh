#!/bin/sh
# dpkg: postinst configure [OLD-VERSION] | abort-…; rpm: posttrans. Starts, restarts and stops nothing.
set -e
case "${1-}" in abort-*) exit 0 ;; esac

# The agent's user and folder; a system without systemd needs neither.
if command -v systemd-sysusers >/dev/null 2>&1; then systemd-sysusers lessee.conf; fi
if command -v systemd-tmpfiles >/dev/null 2>&1; then systemd-tmpfiles --create lessee.conf || true; fi

# Agents are not root, and could not write bytecode. That of the version before is gone, and folders that it left.
/opt/lessee/bin/python -I - <<'PYTHON' || echo "lessee: modules not compiled; each start compiles them" >&2
import compileall, os, shutil, sys
here = "/opt/lessee/lib"
for folder, folders, files in os.walk(here, topdown=False):
    if folder.endswith("/__pycache__"):
        shutil.rmtree(folder)
    elif not os.listdir(folder):
        os.rmdir(folder)
tag = "cp%d%d" % sys.version_info[:2]
sys.exit(not all(compileall.compile_dir(f"{here}/{name}", quiet=2) for name in ("any", tag)))
PYTHON

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    running=$(systemctl list-units --plain --no-legend --state=active,activating 'lessee@*.service' | cut -d' ' -f1)
    if [ -n "$running" ]; then
        echo "lessee: these agents run the version before; restart them when it suits you. Apps keep their files:"
        echo "    systemctl restart" $running
    fi
fi
