#!/bin/sh
# dpkg: prerm remove | upgrade NEW-VERSION | …; rpm: preun 0 (removal) | 1 (upgrade). Stops nothing.
set -e
case "${1-}" in remove | 0) ;; *) exit 0 ;; esac

# The package manager knows nothing of the bytecode.
/opt/lessee/bin/python -I -B - <<'PYTHON' || true
import os, shutil
for folder, folders, files in os.walk("/opt/lessee/lib", topdown=False):
    if folder.endswith("/__pycache__"):
        shutil.rmtree(folder)
PYTHON
if [ -d /run/systemd/system ]; then
    running=$(systemctl list-units --plain --no-legend --state=active,activating 'lessee@*.service' | cut -d' ' -f1)
    if [ -n "$running" ]; then
        echo "lessee: these agents go on until they are stopped. Files and state in /run/lessee stay:"
        echo "    systemctl stop" $running
    fi
fi
