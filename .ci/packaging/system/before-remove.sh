#!/bin/sh
# dpkg: prerm remove | upgrade NEW-VERSION | …; rpm: preun 0 (removal) | 1 (upgrade). Stops nothing.
set -e
case "${1-}" in remove | 0) ;; *) exit 0 ;; esac

find /opt/lessee/lib -name __pycache__ -prune -exec rm -rf {} +
if [ -d /run/systemd/system ]; then
    running=$(systemctl list-units --plain --no-legend --state=active,activating 'lessee@*.service' | cut -d' ' -f1)
    if [ -n "$running" ]; then
        echo "lessee: these agents go on until they are stopped. Files and state in /run/lessee stay:"
        echo "    systemctl stop" $running
    fi
fi
