#!/bin/sh
# What PostgreSQL's official image does with its variables and the files in /docker-entrypoint-initdb.d.
set -eu
. /usr/local/lib/entrypoint.sh
case "${1:-}" in -*) set -- postgres "$@" ;; esac
if [ "${1:-}" = postgres ] && [ "$(id -u)" = 0 ]; then
    install -d -o "${IDS%:*}" -g "${IDS#*:}" -m 0700 "$PGDATA"
    chown -R "$IDS" "$PGDATA"
    install -d -o "${IDS%:*}" -g "${IDS#*:}" -m 3777 /var/run/postgresql
    exec setpriv --reuid "${IDS%:*}" --regid "${IDS#*:}" --init-groups "$0" "$@"
fi
[ "${1:-}" = postgres ] || exec "$@"
file_env POSTGRES_PASSWORD; file_env POSTGRES_USER; file_env POSTGRES_DB
: "${POSTGRES_USER:=postgres}"; : "${POSTGRES_DB:=$POSTGRES_USER}"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then echo "Error: superuser password is not specified." >&2; exit 1; fi
    printf %s "$POSTGRES_PASSWORD" > /tmp/pw
    initdb -D "$PGDATA" --no-sync --username="$POSTGRES_USER" --pwfile=/tmp/pw --auth-host=scram-sha-256 \
        --auth-local=trust --locale=C --encoding=UTF8 >/dev/null
    rm /tmp/pw
    pg_ctl -D "$PGDATA" -w -s -o "-c listen_addresses='' -k /var/run/postgresql" -l /tmp/log start
    export PGHOST=/var/run/postgresql
    [ "$POSTGRES_DB" = postgres ] || psql -q -U "$POSTGRES_USER" -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) psql -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f "$file" ;;
        esac
    done
    pg_ctl -D "$PGDATA" -w -s stop
    unset PGHOST
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
exec "$@" -c fsync=off -k /var/run/postgresql -c 'listen_addresses=*'
