#!/bin/sh
# dpkg: postrm remove | purge | upgrade … ; rpm: postun 0 | 1. The package manager removes the configuration files of
# the package; what an operator made in /etc/lessee, /run/lessee and /var/lib/lessee, and the user, stay.
set -e
case "${1-}" in
    remove | 0) if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi ;;
    purge) rmdir --ignore-fail-on-non-empty /etc/lessee 2>/dev/null || true ;;
esac
