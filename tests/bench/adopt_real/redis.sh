#!/bin/sh
# What the official images of Redis and Valkey do.
set -eu
case "${1:-}" in -*|*.conf) set -- redis-server "$@" ;; esac
case "${1:-}" in
    redis-server|valkey-server)
        if [ "$(id -u)" = 0 ]; then
            chown -R "$IDS" /data
            exec setpriv --reuid "${IDS%:*}" --regid "${IDS#*:}" --init-groups "$0" "$@"
        fi ;;
esac
exec "$@"
